//! Cargo, called by a program that cargo itself has started.

use std::env;
use std::process::Command;

/// Cargo as a user calls it: what it tells the programs that it starts about their package would make dependencies that look at
/// these variables build anew, each time that one follows the other.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    cargo
}

//! The two binaries, as cargo builds them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

pub(super) const NAMES: [&str; 2] = ["brolly", "brolly-smol"];

/// A server binary.
pub(super) struct Binary {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
}

/// What was built, and below which target directory.
pub(super) struct Binaries {
    pub(super) list: Vec<Binary>,
    pub(super) target: PathBuf,
}

/// Builds both packages with a profile of cargo's and finds the binaries with these names.
pub(super) fn build(root: &Path, names: &[&'static str], profile: &str) -> Result<Binaries, String> {
    let built = cargo_build(root, &["--profile", profile, "-p", "brolly-tokio", "-p", "brolly-smol"])?;
    let find = |name: &'static str| {
        let path = built.iter().find(|path| path.file_name().is_some_and(|file| file == name));
        path.map(|path| Binary { name, path: path.clone() }).ok_or_else(|| format!("cargo built no binary `{name}`"))
    };
    let list: Vec<Binary> = names.iter().map(|name| find(name)).collect::<Result<_, _>>()?;
    let target = list.first().and_then(|binary| binary.path.ancestors().nth(2)).unwrap_or(root).to_path_buf();
    Ok(Binaries { list, target })
}

/// Builds the echo client of the same runtime: for debugging, it is not what takes time.
pub(super) fn example(root: &Path, binary: &Binary) -> Result<PathBuf, String> {
    let (package, example) =
        if binary.name == NAMES[0] { ("brolly-tokio", "tokio_echo") } else { ("brolly-smol", "smol_echo") };
    let built = cargo_build(root, &["-p", package, "--example", example])?;
    built.into_iter().next().ok_or_else(|| format!("cargo built no example `{example}`"))
}

/// What cargo builds with these arguments.
fn cargo_build(root: &Path, arguments: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut build = brolly_conformance::cargo();
    build.current_dir(root).arg("build").args(arguments).arg("--message-format=json-render-diagnostics");
    let output = build.stderr(Stdio::inherit()).output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo build {} failed", arguments.join(" ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(executable).collect())
}

/// The executable that one of cargo's JSON lines announces.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}

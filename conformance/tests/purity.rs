//! The core is sans-IO because it links without an operating system, not because it says so.
#![cfg(not(loom))]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

/// Targets without an operating system, of which those are built that are installed. The second has no 64-bit atomics.
const BARE_METAL: [&str; 2] = ["x86_64-unknown-none", "thumbv7em-none-eabihf"];

/// Builds `conformance/no_std` with the versions of the workspace's lock file, for the host or as `args` say.
fn build(args: &[&str]) -> Output {
    // Cargo would queue for the target folder anyway; and it rewrites the lock file to what this package needs.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let conformance = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = conformance.join("no_std");
    fs::copy(conformance.with_file_name("Cargo.lock"), package.join("Cargo.lock")).unwrap();

    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--manifest-path"]).arg(package.join("Cargo.toml")).args(args);
    cargo.arg("--target-dir").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("no_std"));
    // What the outer build was told (coverage, sanitizers, another target) is not for this one.
    for variable in
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
    {
        cargo.env_remove(variable);
    }
    cargo.output().unwrap()
}

fn is_installed(target: &str) -> bool {
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().unwrap();
    let sysroot = String::from_utf8(sysroot.stdout).unwrap();
    Path::new(sysroot.trim()).join("lib/rustlib").join(target).join("lib").is_dir()
}

fn assert_builds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_core_links_without_std() {
    assert_builds(&build(&[]));
}

#[test]
fn the_proof_fails_when_a_dependency_of_the_core_links_std() {
    let output = build(&["--features=leak"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "std leaked and nobody noticed");
    assert!(said.contains("E0152") && said.contains("panic_impl"), "it failed for another reason: {said}");
}

#[test]
fn the_core_links_on_bare_metal_where_the_targets_are_installed() {
    for target in BARE_METAL.into_iter().filter(|target| is_installed(target)) {
        assert_builds(&build(&["--target", target]));
    }
}

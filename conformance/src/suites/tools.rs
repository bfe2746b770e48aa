//! Finds the programs that suites need, and installs pinned packages into the target directory.

use super::Bench;
use super::child::quietly;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: &str = "node/package.json";

/// Python 3.11 or later.
pub(super) fn python3() -> Result<PathBuf, String> {
    let check = "import sys; sys.exit(sys.version_info < (3, 11))";
    program(&["python3"], &["-c", check], "Python 3.11 or later", "apt-get install python3")
}

/// A Python with the packages of `conformance/clients/CLIENT/requirements.txt`.
pub(super) fn python_with_packages(bench: &Bench, client: &str) -> Result<PathBuf, String> {
    let base = program(
        &["python3"],
        &["-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"],
        "Python 3.11 or later with venv",
        "apt-get install python3-venv",
    )?;
    let requirements = bench.home().join("clients").join(client).join("requirements.txt");
    let place = bench.scratch.join(client);
    let python = place.join("bin/python");
    install(&place, &requirements, || {
        quietly(Command::new(&base).args(["-m", "venv", "--clear"]).arg(&place))?;
        quietly(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements))
    })?;
    Ok(python)
}

/// The `wstest` of the Autobahn test suite, in a virtual environment of Python 2.7.
pub(super) fn wstest(bench: &Bench) -> Result<PathBuf, String> {
    let base = python27()?;
    let requirements = bench.home().join("autobahn/requirements.txt");
    let place = bench.scratch.join("autobahn");
    install(&place, &requirements, || {
        // Python 2.7 has no venv of its own.
        let tool = place.join("virtualenv");
        quietly(
            Command::new(&base).args(["-m", "pip", "install", "--quiet", "virtualenv==20.15.1", "--target"]).arg(&tool),
        )?;
        let mut make = Command::new(&base);
        quietly(make.env("PYTHONPATH", &tool).args(["-m", "virtualenv", "--quiet"]).arg(place.join("env")))?;
        quietly(
            Command::new(place.join("env/bin/python"))
                .args(["-m", "pip", "install", "--quiet", "-r"])
                .arg(&requirements),
        )
    })?;
    Ok(place.join("env/bin/wstest"))
}

fn python27() -> Result<PathBuf, String> {
    let mut candidates = vec![PathBuf::from("python2.7")];
    if let Some(home) = std::env::var_os("HOME") {
        let versions = fs::read_dir(Path::new(&home).join(".pyenv/versions"));
        let mut found: Vec<PathBuf> = versions.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("2.7")));
        found.sort();
        candidates.extend(found.into_iter().rev().map(|path| path.join("bin/python2.7")));
    }
    // A shim of pyenv is found but does not run when another version is chosen.
    let runs = |path: &PathBuf| quietly(Command::new(path).args(["-c", "import pip"])).is_ok();
    candidates.into_iter().find(runs).ok_or_else(|| {
        "Python 2.7 with pip is missing, which the Autobahn test suite needs; install it with `pyenv install 2.7.18`".into()
    })
}

/// Node.js 20 or later.
pub(super) fn node() -> Result<PathBuf, String> {
    let check = "process.exit(Number(process.versions.node.split('.')[0]) < 20 ? 1 : 0)";
    program(&["node"], &["-e", check], "Node.js 20 or later", "apt-get install nodejs")
}

/// Go.
#[cfg(not(loom))]
pub(super) fn go() -> Result<PathBuf, String> {
    program(&["go"], &["version"], "Go", "apt-get install golang-go")
}

/// Node.js and a directory of modules with the packages of `conformance/clients/node/package.json`.
pub(super) fn node_with_packages(bench: &Bench) -> Result<(PathBuf, PathBuf), String> {
    let node = node()?;
    let npm = program(&["npm"], &["--version"], "npm", "apt-get install npm")?;
    let packages = bench.home().join("clients").join(PACKAGES);
    let place = bench.scratch.join("node");
    install(&place, &packages, || {
        fs::copy(&packages, place.join("package.json")).map_err(|error| error.to_string())?;
        let options = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"];
        quietly(Command::new(&npm).current_dir(&place).args(options))
    })?;
    Ok((node, place.join("node_modules")))
}

/// Chromium as Debian packages it, or Chrome.
pub(super) fn chromium() -> Result<PathBuf, String> {
    let names = ["/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"];
    program(&names, &["--version"], "Chromium", "apt-get install chromium")
}

/// nginx, which Debian keeps where only administrators look.
pub(super) fn nginx() -> Result<PathBuf, String> {
    program(&["/usr/sbin/nginx", "/usr/local/sbin/nginx", "nginx"], &["-v"], "nginx", "apt-get install nginx")
}

/// curl, which every check of its suite runs.
pub(super) fn curl() -> Result<PathBuf, String> {
    program(&["curl"], &["--version"], "curl", "apt-get install curl")
}

/// The first of `names` that runs with `arguments`.
fn program(names: &[&str], arguments: &[&str], what: &str, how: &str) -> Result<PathBuf, String> {
    let runs = |name: &&&str| quietly(Command::new(name).args(arguments)).is_ok();
    let found = names.iter().find(runs).map(PathBuf::from);
    found.ok_or_else(|| format!("{what} is missing; install it with `{how}`"))
}

/// Installs into `place`, unless that was done with the same list of packages before.
fn install(place: &Path, list: &Path, steps: impl FnOnce() -> Result<String, String>) -> Result<(), String> {
    let read =
        |path: &Path| fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let wanted = read(list)?;
    let done = place.join("installed");
    if read(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing the packages of {}", list.display());
    let prepare = || {
        let _ = fs::remove_dir_all(place);
        fs::create_dir_all(place)
    };
    prepare().map_err(|error| format!("cannot make {}: {error}", place.display()))?;
    steps().map_err(|why| format!("the packages of {} cannot be installed: {why}", list.display()))?;
    fs::write(&done, wanted).map_err(|error| format!("cannot write {}: {error}", done.display()))
}

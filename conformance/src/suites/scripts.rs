//! The suites that are scripts in `conformance/clients/`: each starts and stops servers of its own.

use super::binaries::{self, Binary};
use super::{Bench, Outcome, child, tools};
use std::process::Command;
use std::time::Duration;

pub(super) fn curl(bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    match tools::curl().and_then(|_| tools::python3()) {
        Ok(python) => script("curl", Command::new(python).arg(bench.home().join("clients/curl")), bench, binary, limit),
        Err(missing) => Outcome::Missing(missing),
    }
}

pub(super) fn crowd(bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    match tools::python3() {
        Ok(python) => {
            script("crowd", Command::new(python).arg(bench.home().join("clients/crowd")), bench, binary, limit)
        }
        Err(missing) => Outcome::Missing(missing),
    }
}

pub(super) fn python(bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    match tools::nginx().and_then(|_| tools::python_with_packages(bench, "python")) {
        Ok(python) => {
            let mut command = Command::new(python);
            command.arg(bench.home().join("clients/python"));
            with_client("python", &mut command, bench, binary, limit)
        }
        Err(missing) => Outcome::Missing(missing),
    }
}

pub(super) fn node(bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    match tools::node_with_packages(bench) {
        Ok((node, modules)) => {
            let mut command = Command::new(node);
            command.env("NODE_PATH", modules).arg(bench.home().join("clients/node/main.js"));
            with_client("node", &mut command, bench, binary, limit)
        }
        Err(missing) => Outcome::Missing(missing),
    }
}

pub(super) fn brolly_js(bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    in_node("script", bench, binary, limit)
}

fn in_node(suite: &str, bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    match tools::node_with_packages(bench) {
        Ok((node, modules)) => {
            let mut command = Command::new(node);
            command.env("NODE_PATH", modules).arg(bench.home().join("clients").join(suite).join("main.js"));
            script(suite, &mut command, bench, binary, limit)
        }
        Err(missing) => Outcome::Missing(missing),
    }
}

pub(super) fn browser(bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    // The backend of the chat on session pools is in Python.
    let needed = || Ok((tools::chromium()?, tools::python3()?, tools::node_with_packages(bench)?));
    match needed() {
        Ok((chromium, _, (node, modules))) => {
            let mut command = Command::new(node);
            command.env("NODE_PATH", modules).arg(bench.home().join("clients/browser/main.js"));
            command.arg("--chromium").arg(chromium);
            script("browser", &mut command, bench, binary, limit)
        }
        Err(missing) => Outcome::Missing(missing),
    }
}

/// Runs a script that also tests the runtime's client: the example that says everything back.
fn with_client(suite: &str, command: &mut Command, bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    match binaries::example(&bench.root, binary) {
        Ok(client) => script(suite, command.env("BROLLY_ECHO_CLIENT", client), bench, binary, limit),
        Err(why) => Outcome::Failed(why),
    }
}

/// Runs a script to its end. Its exit code says whether all its checks passed; what failed stands in its output.
fn script(suite: &str, command: &mut Command, bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    command.arg("--binary").arg(&binary.path).arg("--artefacts").arg(bench.artefacts(suite, binary));
    if let Some(only) = &bench.only {
        command.args(["--only", only]);
    }
    match child::run(command.env("PYTHONDONTWRITEBYTECODE", "1"), limit) {
        Ok(Some(status)) if status.success() => Outcome::Passed,
        Ok(Some(status)) => Outcome::Failed(format!("{status}, see above")),
        Ok(None) => Outcome::Failed(format!("not over after {} s", limit.as_secs())),
        Err(error) => Outcome::Failed(format!("cannot be started: {error}")),
    }
}

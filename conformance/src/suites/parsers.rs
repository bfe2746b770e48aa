//! The programs that read messages for the differential checks (`conformance/clients/parsers/`).

use super::child::quietly;
use super::{Bench, tools};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are.
pub(crate) struct Parsers {
    clients: PathBuf,
    python: PathBuf,
    node: PathBuf,
    /// Built, if there is a Go.
    net_http: Option<PathBuf>,
}

impl Parsers {
    /// Finds or installs what they need, below cargo's target directory.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub(crate) fn find() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf();
        let program = env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
        let target = program.ancestors().nth(2).unwrap_or(&root);
        let bench = Bench { scratch: target.join("conformance"), root, only: None, roles: Vec::new() };
        let python = tools::python_with_packages(&bench, "parsers")?;
        let clients = bench.home().join("clients/parsers");
        let net_http = tools::go().ok().map(|go| {
            let built = bench.scratch.join("net_http");
            let mut build = Command::new(go);
            build.env("GO111MODULE", "off").env("GOCACHE", bench.scratch.join("go")).args(["build", "-o"]);
            quietly(build.arg(&built).arg(clients.join("net_http.go"))).map(|_| built)
        });
        Ok(Self { clients, python, node: tools::node()?, net_http: net_http.transpose()? })
    }

    /// Python's h11.
    pub(crate) fn h11(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(self.clients.join("h11_parser.py"));
        command
    }

    /// The llhttp of Node.
    pub(crate) fn llhttp(&self) -> Command {
        let mut command = Command::new(&self.node);
        // The parser itself is not a public module.
        command.arg("--no-deprecation").arg(self.clients.join("llhttp.js"));
        command
    }

    /// Go's net/http, if there is a Go.
    pub(crate) fn net_http(&self) -> Option<Command> {
        self.net_http.as_ref().map(Command::new)
    }
}

//! Which suites there are, and how a run of them goes.

mod autobahn;
mod binaries;
mod child;
#[cfg(not(loom))]
mod parsers;
mod scripts;
#[cfg(not(loom))]
pub(crate) mod table;
mod tools;

#[cfg(not(loom))]
pub(crate) use parsers::Parsers;

use autobahn::Role;
use binaries::{Binary, NAMES};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A set of checks that runs against one binary at a time.
struct Suite {
    name: &'static str,
    about: &'static str,
    needs: &'static str,
    /// How long it may take against one binary. When it is over, everything that was started is ended.
    limit: Duration,
    run: fn(&Bench, &Binary, Duration) -> Outcome,
}

const SUITES: [Suite; 7] = [
    Suite {
        name: "curl",
        about: "files, proxy, topics, limits, deadlines, command line and signals, by curl and raw sockets",
        needs: "curl, Python 3.11 or later",
        limit: Duration::from_secs(600),
        run: scripts::curl,
    },
    Suite {
        name: "python",
        about: "WebSockets, event streams and long-polls, by `websockets`, `aiohttp` and zlib; our client, also behind nginx",
        needs: "Python 3.11 or later with venv, PyPI, nginx",
        limit: Duration::from_secs(240),
        run: scripts::python,
    },
    Suite {
        name: "node",
        about: "WebSockets, event streams and session pools, by `ws`, `undici`, Node and a client as Swindon's is; our client",
        needs: "Node.js 20 or later, npm",
        limit: Duration::from_secs(120),
        run: scripts::node,
    },
    Suite {
        name: "script",
        about: "brolly.js in Node: random worlds for its machine, its types, and each transport against a server",
        needs: "Node.js 20 or later, npm",
        limit: Duration::from_secs(240),
        run: scripts::brolly_js,
    },
    Suite {
        name: "browser",
        about: "brolly.js, the chat room, session pools and their chat, in headless Chromium",
        needs: "Chromium, Node.js 20 or later, npm, Python 3.11 or later",
        limit: Duration::from_secs(600),
        run: scripts::browser,
    },
    Suite {
        name: "crowd",
        about: "10,000 idle, 2,000 dripping and 200 slow clients, and what others notice of them",
        needs: "Python 3.11 or later",
        limit: Duration::from_secs(150),
        run: scripts::crowd,
    },
    Suite {
        name: "autobahn",
        about: "the Autobahn test suite, all of it, against the echo endpoint and the client",
        needs: "Python 2.7, PyPI",
        limit: Duration::from_secs(1800),
        run: autobahn::run,
    },
];

/// How a suite ended.
enum Outcome {
    Passed,
    Failed(String),
    /// It could not run here; says what is missing and how to get it.
    Missing(String),
}

impl Outcome {
    fn describe(&self) -> String {
        match self {
            Self::Passed => "passed".into(),
            Self::Failed(why) => format!("FAILED: {why}"),
            Self::Missing(what) => format!("DID NOT RUN: {what}"),
        }
    }
}

/// Where suites find and leave things.
struct Bench {
    /// The checkout.
    root: PathBuf,
    /// For what is installed: kept from run to run, below cargo's target directory.
    scratch: PathBuf,
    /// Run the checks whose names contain this.
    only: Option<String>,
    /// Which ends of a connection are tested, where that is a choice.
    roles: Vec<Role>,
}

impl Bench {
    /// `conformance/` in the checkout.
    fn home(&self) -> PathBuf {
        self.root.join("conformance")
    }

    /// Where logs, reports and pictures of a run go.
    fn artefacts(&self, suite: &str, binary: &Binary) -> PathBuf {
        self.root.join("artefacts").join(format!("{suite}-{}", binary.name))
    }
}

/// What is to be run.
pub(crate) struct Plan {
    suites: Vec<&'static Suite>,
    binaries: Vec<&'static str>,
    /// How cargo builds them.
    profile: String,
    only: Option<String>,
    roles: Vec<Role>,
}

/// One line for each suite.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for suite in &SUITES {
        let _ = writeln!(text, "{:9} {}\n          needs {}", suite.name, suite.about, suite.needs);
    }
    text
}

impl Plan {
    /// Reads the command line.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let (binaries, roles) = (NAMES.to_vec(), Role::ALL.to_vec());
        let mut plan = Self { suites: Vec::new(), binaries, profile: "release".into(), only: None, roles };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--binary" => {
                    let name = value()?;
                    let known = NAMES.into_iter().find(|known| known == name);
                    plan.binaries = vec![known.ok_or_else(|| format!("there is no binary `{name}`"))?];
                }
                "--profile" => plan.profile = value()?.clone(),
                "--role" => {
                    let name = value()?;
                    let known = Role::ALL.into_iter().find(|known| known.name() == name);
                    plan.roles = vec![known.ok_or_else(|| format!("there is no role `{name}`"))?];
                }
                "--only" => plan.only = Some(value()?.clone()),
                "all" => plan.suites.extend(&SUITES),
                name => {
                    let suite = SUITES.iter().find(|suite| suite.name == name);
                    plan.suites.push(suite.ok_or_else(|| format!("there is no suite `{name}`; `list` names them"))?);
                }
            }
        }
        if plan.suites.is_empty() { Err("say which suite".into()) } else { Ok(plan) }
    }

    /// Builds the binaries, runs the suites against each, and says how it went.
    pub(crate) fn run(self) -> ExitCode {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf();
        let binaries = match binaries::build(&root, &self.binaries, &self.profile) {
            Ok(binaries) => binaries,
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        };
        let scratch = binaries.target.join("conformance");
        let bench = Bench { root, scratch, only: self.only, roles: self.roles };
        let mut results = Vec::new();
        for suite in self.suites {
            for binary in &binaries.list {
                println!("\n== {} on {}", suite.name, binary.name);
                let started = Instant::now();
                let outcome = (suite.run)(&bench, binary, suite.limit);
                let line = format!(
                    "{} on {}: {} ({:.0} s)",
                    suite.name,
                    binary.name,
                    outcome.describe(),
                    started.elapsed().as_secs_f64()
                );
                println!("== {line}");
                results.push((line, outcome));
            }
        }
        summarise(&results)
    }
}

fn summarise(results: &[(String, Outcome)]) -> ExitCode {
    println!();
    for (line, _) in results {
        println!("{line}");
    }
    let count = |wanted: fn(&Outcome) -> bool| results.iter().filter(|(_, outcome)| wanted(outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let missing = count(|outcome| matches!(outcome, Outcome::Missing(_)));
    let passed = results.len() - failed - missing;
    println!("suites: {passed} passed, {failed} failed, {missing} skipped");
    match (failed, missing) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(3),
        (_, _) => ExitCode::FAILURE,
    }
}

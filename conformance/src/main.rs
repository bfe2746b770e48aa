//! The checks that need more than the Rust toolchain: real clients, a browser, the Autobahn test suite.
//!
//! `cargo run -p brolly-conformance -- SUITE…` builds both binaries and runs suites against them; `list` names the suites.

#[cfg(not(loom))]
mod differential;
mod suites;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo run -p brolly-conformance -- COMMAND

  list                        the suites, and what each needs
  SUITE… [OPTION…]            run these suites against both binaries
  all [OPTION…]               run all suites
  differential [--messages N] [--seed S]
                              what is accepted, as it came and as it is passed on, is read alike by hyper, h11, llhttp and
                              Go's net/http, if that is installed (20,000 streams of messages if nothing is said)
  table [--peers] [OPTION…]   the table of requests over sockets; with --peers beside nginx, HAProxy, Caddy and Apache
  simulate [--worlds N] [--seed S]
                              the real drivers and shards in simulated worlds (10,000 if nothing is said)
  peers [OPTION…]             brolly beside nginx, nchan, HAProxy and Caddy: see `brolly-benches --bin compare`

Options:
  --binary NAME               only this binary: brolly or brolly-smol
  --only TEXT                 only the checks whose names contain TEXT; for autobahn a list of cases such as 5.*,7.1.1
  --role NAME                 autobahn: only this end of the connection, server or client
  --profile NAME              how cargo builds the binaries (release if nothing is said)

Exit codes: 0 all passed, 1 something failed, 2 wrong arguments, 3 a suite could not run here.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--help" | "-h" | "help") => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some("list") => {
            print!("{}", suites::list());
            ExitCode::SUCCESS
        }
        Some("peers") => peers(arguments.get(1..).unwrap_or_default()),
        // The simulator is not built for loom, which only wants the models.
        #[cfg(not(loom))]
        Some("simulate") => brolly_conformance::simulate::simulate(arguments.get(1..).unwrap_or_default()),
        #[cfg(not(loom))]
        Some("differential") => differential(arguments.get(1..).unwrap_or_default()),
        #[cfg(not(loom))]
        Some("table") => match suites::table::Plan::parse(arguments.get(1..).unwrap_or_default()) {
            Ok(plan) => plan.run(),
            Err(sentence) => wrong(&sentence),
        },
        Some(_) => match suites::Plan::parse(&arguments) {
            Ok(plan) => plan.run(),
            Err(sentence) => wrong(&sentence),
        },
        None => wrong("say which suite"),
    }
}

#[cfg(not(loom))]
fn differential(options: &[String]) -> ExitCode {
    let (mut messages, mut seed) = (20_000, 1);
    for option in options.chunks(2) {
        match option {
            [name, value] if let Ok(value) = value.parse() => match name.as_str() {
                "--messages" => messages = value,
                "--seed" => seed = value,
                _ => return wrong(&format!("{name} is not an option of differential")),
            },
            _ => return wrong("differential takes --messages NUMBER and --seed NUMBER"),
        }
    }
    match suites::Parsers::find() {
        Ok(parsers) => differential::run(&parsers, messages, seed),
        Err(missing) => {
            eprintln!("DID NOT RUN: {missing}");
            ExitCode::from(3)
        }
    }
}

/// Measuring wants optimised programs, which are built apart.
fn peers(options: &[String]) -> ExitCode {
    let mut compare = brolly_conformance::cargo();
    compare.args(["run", "--release", "--quiet", "-p", "brolly-benches", "--bin", "compare", "--"]).args(options);
    match compare.current_dir(env!("CARGO_MANIFEST_DIR")).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => wrong(&format!("cargo cannot be run: {error}")),
    }
}

fn wrong(sentence: &str) -> ExitCode {
    eprint!("{sentence}\n\n{USAGE}");
    ExitCode::from(2)
}

//! Instructions in user mode per operation, under callgrind: `cargo run --release -p brolly-benches --bin instructions`
//!
//! The same binaries as ever serve a number of operations, and then another number; the difference is what the operations
//! between took. That is nearly the same on every run, whatever else the machine does.

use brolly_benches::floor::Mode;
use brolly_benches::load::{self, Transport, Until, Work};
use brolly_benches::servers::{Peer, Server, Stage};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: instructions [--only TEXT] [--functions N]
  --only TEXT     only the rows whose name contains it
  --functions N   also print the N functions that take most";

/// What is counted.
struct Count {
    name: &'static str,
    /// The budget of the design; for 1 KiB and 64 KiB, what fastwebsockets takes.
    budget: u64,
    work: Work,
    /// Two numbers of operations.
    operations: [u64; 2],
}

fn counts() -> Vec<Count> {
    let get = |path: &str, connections| Work::Get { path: path.into(), connections };
    let echo = |connections, bytes, in_flight| Work::Echo { path: "/-/echo".into(), connections, bytes, in_flight };
    let fan_out = |burst| Work::FanOut {
        subscribe: "/-/ws?topic=a".into(),
        transport: Transport::WebSocket,
        publish: "/-/publish/a".into(),
        subscribers: 1_000,
        burst,
    };
    let count = |name, budget, work, operations| Count { name, budget, work, operations };
    vec![
        count("64 B echo, one connection", 1_000, echo(1, 64, 1), [2_000, 10_000]),
        count("64 B echo, 64 connections", 1_000, echo(64, 64, 1), [2_000, 10_000]),
        count("64 B echo, 16 in flight on each", 1_000, echo(64, 64, 16), [10_000, 50_000]),
        count("1 KiB echo, one connection", 2_500, echo(1, 1024, 1), [2_000, 10_000]),
        count("64 KiB echo, one connection", 31_000, echo(1, 64 * 1024, 1), [200, 1_000]),
        count("tiny GET, one connection", 3_500, get("/tiny.txt", 1), [2_000, 10_000]),
        count("tiny GET, 64 connections", 3_500, get("/tiny.txt", 64), [2_000, 10_000]),
        count("proxied GET, one connection", 12_000, get("/api/tiny", 1), [2_000, 10_000]),
        count("proxied GET, 64 connections", 12_000, get("/api/tiny", 64), [2_000, 10_000]),
        count("delivery of 100 B to 1,000", 250, fan_out(1), [10_000, 60_000]),
        count("delivery in bursts of 16", 250, fan_out(16), [32_000, 160_000]),
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (mut only, mut functions) = (String::new(), 0);
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--only" => only.clone_from(value),
            [name, value] if name == "--functions" && value.parse::<usize>().is_ok() => {
                functions = value.parse().unwrap_or_default();
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    if !Path::new("/usr/bin/valgrind").exists() {
        eprintln!("instructions: valgrind is missing: apt-get install valgrind");
        return ExitCode::FAILURE;
    }
    match run(&only, functions) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(only: &str, functions: usize) -> io::Result<()> {
    let stage = Stage::new()?;
    let backend = stage.start(Peer::Floor(Mode::Http), ([127, 0, 0, 1], 0).into(), &[])?;
    let peers = [Peer::Brolly, Peer::BrollySmol];
    println!("| user instructions per | budget | {} | {} |\n|---|---|---|---|", peers[0].name(), peers[1].name());
    let mut annotations = String::new();
    for count in counts().iter().filter(|count| count.name.contains(only)) {
        let mut cells = Vec::new();
        for peer in peers {
            let [(few, first, _), (many, second, profile)] = {
                let [few, many] = count.operations;
                [
                    measure(&stage, &backend, peer, &count.work, few)?,
                    measure(&stage, &backend, peer, &count.work, many)?,
                ]
            };
            cells.push(format!("{:.0}", second.abs_diff(first) as f64 / (many - few).max(1) as f64));
            if functions > 0 {
                let title = format!("\n{}, {}:\n", count.name, peer.name());
                annotations += &(title + &annotate(&profile, functions)?);
            }
        }
        println!("| {} | {} | {} |", count.name, count.budget, cells.join(" | "));
    }
    print!("{annotations}");
    Ok(())
}

/// Serves some operations in a process of its own: how many they were, the instructions from its beginning to its end,
/// and the profile.
fn measure(
    stage: &Stage,
    backend: &Server,
    peer: Peer,
    work: &Work,
    operations: u64,
) -> io::Result<(u64, u64, PathBuf)> {
    let profile = stage.file(&format!("callgrind.{}.{operations}", peer.name()));
    let out = format!("--callgrind-out-file={}", profile.display());
    let wrapper = ["valgrind", "--quiet", "--tool=callgrind", &out].map(Into::into);
    let mut server = stage.start(peer, backend.address, &wrapper)?;
    let outcome = load::run(server.address, server.pid(), work, Until::Operations(operations))?;
    server.stop();
    let text = fs::read_to_string(&profile)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    let total = total.and_then(|total| total.trim().parse().ok());
    let total = total.ok_or_else(|| io::Error::other(format!("no totals in {}", profile.display())))?;
    Ok((outcome.operations, total, profile))
}

/// The functions that take most, with what was inlined into them.
fn annotate(profile: &Path, functions: usize) -> io::Result<String> {
    let output = Command::new("callgrind_annotate").args(["--auto=no", "--threshold=100"]).arg(profile).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut sums = BTreeMap::<&str, u64>::new();
    // ` 1,234 ( 5.67%)  /path/file.rs:function [/path/object]`
    for line in text.lines().skip_while(|line| !line.contains("file:function")).skip(2) {
        let Some((count, rest)) = line.split_once(" (") else { continue };
        let Ok(count) = count.trim().replace(',', "").parse::<u64>() else { continue };
        let function = rest.split_once("%)  ").map_or(rest, |(_, name)| name);
        let function = function.split_once(':').map_or(function, |(_, function)| function);
        *sums.entry(function.split_once(" [").map_or(function, |(function, _)| function)).or_default() += count;
    }
    let mut sums: Vec<_> = sums.into_iter().map(|(function, sum)| (sum, function)).collect();
    sums.sort_unstable_by(|a, b| b.cmp(a));
    Ok(sums.iter().take(functions).map(|(sum, function)| format!("{sum:12} {function}\n")).collect())
}

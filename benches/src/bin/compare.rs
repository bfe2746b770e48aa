//! brolly beside other servers: `cargo run --release -p brolly-benches --bin compare`
//!
//! Servers run on core 0, clients and backend on core 1. Every kind of work is done in rounds in which all servers take
//! their turns, after the floor; what is printed is the median of the ratios to the floor of the same round.

use brolly_benches::load::{self, Idle, Outcome, Transport, Until};
use brolly_benches::process::{memory, pin};
use brolly_benches::servers::{Peer, Server, Stage, Task};
use std::io;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SERVERS: usize = 0;
const CLIENTS: usize = 1;
/// Idle connections whose memory is measured.
const IDLE: usize = 5_000;
/// The whole run ends before this, with fewer rounds if need be.
const AT_MOST: Duration = Duration::from_secs(210);

const USAGE: &str = "usage: compare [--rounds N] [--seconds N] [--only TEXT]
  --rounds N    how often everything is measured (5)
  --seconds N   how long each time (0.5)
  --only TEXT   only the rows whose name contains it";

struct Options {
    rounds: usize,
    time: Duration,
    only: String,
}

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        eprintln!(
            "compare: only optimised programs are worth comparing: cargo run --release -p brolly-benches --bin compare"
        );
        return ExitCode::from(2);
    }
    let Some(options) = options(&std::env::args().skip(1).collect::<Vec<_>>()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match build().and_then(|()| compare(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Option<Options> {
    let mut options = Options { rounds: 5, time: Duration::from_millis(500), only: String::new() };
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--rounds" => options.rounds = value.parse().ok().filter(|rounds| *rounds > 0)?,
            [name, value] if name == "--seconds" => {
                options.time = Duration::try_from_secs_f64(value.parse().ok()?).ok()?;
            }
            [name, value] if name == "--only" => options.only.clone_from(value),
            _ => return None,
        }
    }
    Some(options)
}

/// What we compare is what stands here now.
fn build() -> io::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let packages = ["brolly-tokio", "brolly-smol", "brolly-benches"];
    let packages = packages.iter().flat_map(|package| ["-p", package]);
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--bins"])
        .args(packages)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("the programs cannot be built")) }
}

fn compare(options: &Options) -> io::Result<()> {
    let began = Instant::now();
    pin(SERVERS).map_err(|error| io::Error::other(format!("two cores are needed: {error}")))?;
    pin(CLIENTS).map_err(|error| io::Error::other(format!("two cores are needed: {error}")))?;
    let installed = |peers: &[Peer]| -> Vec<Peer> {
        let is_there =
            |peer: &Peer| peer.program().inspect_err(|how| println!("{} is missing: {how}", peer.name())).is_ok();
        peers.iter().copied().filter(is_there).collect()
    };
    let peers = installed(&Peer::EDGE);
    let stage = Stage::new()?;
    let backend = stage.start(Peer::Floor(brolly_benches::floor::Mode::Http), ([127, 0, 0, 1], 0).into(), &[])?;

    for (tasks, peers) in [(&Task::ECHO[..], &installed(&Peer::ECHO)), (&Task::EDGE, &peers)] {
        heading("CPU time per operation, relative to the floor", peers, "floor");
        for task in tasks.iter().filter(|task| task.name().contains(&options.only)) {
            let rest = AT_MOST.saturating_sub(began.elapsed());
            row(*task, peers, &stage, &backend, options, rest)?;
        }
    }
    heading(&format!("User memory of an idle connection, of {IDLE}"), &peers, "");
    for (name, budget, open) in MEMORY {
        if name.contains(&options.only) {
            let cells = peers.iter().map(|peer| idle_memory(*peer, &stage, &backend, open));
            let cells = cells.map(|bytes| Ok(bytes?.map_or("–".into(), |bytes| format!("{bytes} B"))));
            let cells = cells.collect::<io::Result<Vec<String>>>()?;
            println!("| {name} | {budget} B | | {} |", cells.join(" | "));
        }
    }
    println!("\n{:.0?} in all.", began.elapsed());
    Ok(())
}

fn heading(title: &str, peers: &[Peer], floor: &str) {
    let names: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
    println!("\n**{title}**\n\n| what | budget | {floor} | {} |", names.join(" | "));
    println!("|---|---|---|{}", "---|".repeat(peers.len()));
}

/// Starts a server on its core.
fn start(stage: &Stage, peer: Peer, backend: &Server) -> io::Result<Server> {
    pin(SERVERS)?;
    let server = stage.start(peer, backend.address, &[]);
    pin(CLIENTS)?;
    server
}

/// Measures one kind of work, and prints it.
fn row(
    task: Task,
    peers: &[Peer],
    stage: &Stage,
    backend: &Server,
    options: &Options,
    rest: Duration,
) -> io::Result<()> {
    let (base, mode) = task.floor();
    let mut contenders = vec![(base, Peer::Floor(mode))];
    contenders.extend(peers.iter().map(|peer| (task, *peer)));
    let mut running = Vec::new();
    for (task, peer) in contenders {
        let work = task.work(peer);
        let server = work.is_some().then(|| start(stage, peer, backend)).transpose()?;
        running.push((work.zip(server), Vec::new()));
    }
    let began = Instant::now();
    for round in 0..options.rounds {
        if round > 0 && began.elapsed() > rest {
            break;
        }
        for (contender, outcomes) in &mut running {
            if let Some((work, server)) = contender {
                let outcome = load::run(server.address, server.pid(), work, Until::Time(options.time));
                outcomes.push(outcome.map_err(|error| io::Error::other(format!("{}: {error}", task.name())))?);
            }
        }
    }
    let outcomes: Vec<_> = running.into_iter().map(|(_, outcomes)| outcomes).collect();
    let [floor, outcomes @ ..] = &outcomes[..] else { return Ok(()) };
    let cells: Vec<_> = outcomes.iter().map(|outcomes| cell(floor, outcomes)).collect();
    let floor = median(floor.iter().map(Outcome::micros).collect()).unwrap_or_default();
    println!("| {} | {} | {floor:.2} µs | {} |", task.name(), task.budget(), cells.join(" | "));
    Ok(())
}

fn cell(floor: &[Outcome], outcomes: &[Outcome]) -> String {
    let ratios = outcomes.iter().zip(floor).map(|(outcome, floor)| outcome.micros() / floor.micros());
    median(ratios.collect()).map_or("–".into(), |ratio| format!("{ratio:.2}"))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Opens idle connections, if the server has such.
type Open = fn(Peer, &Server, usize) -> Option<io::Result<Idle>>;

const MEMORY: [(&str, u64, Open); 2] =
    [("WebSocket, subscribed", 1024, open_websockets), ("HTTP connection, kept alive", 512, open_kept_alive)];

fn open_websockets(peer: Peer, server: &Server, count: usize) -> Option<io::Result<Idle>> {
    let load::Work::FanOut { subscribe, .. } = Task::FanOut.work(peer)? else { return None };
    Some(load::open(server.address, &subscribe, Transport::WebSocket, count))
}

fn open_kept_alive(peer: Peer, server: &Server, count: usize) -> Option<io::Result<Idle>> {
    let load::Work::Get { path, .. } = Task::TinyGet.work(peer)? else { return None };
    Some(load::open_kept_alive(server.address, &path, count))
}

/// In a new process, so that no memory is left from before.
fn idle_memory(peer: Peer, stage: &Stage, backend: &Server, open: Open) -> io::Result<Option<u64>> {
    let server = start(stage, peer, backend)?;
    // What is needed once, for any number of connections.
    let Some(few) = open(peer, &server, 10) else { return Ok(None) };
    drop(few?);
    sleep(Duration::from_millis(200));
    let before = memory(server.pid())?;
    let idle = open(peer, &server, IDLE).transpose()?;
    sleep(Duration::from_millis(200));
    let after = memory(server.pid())?;
    drop(idle);
    Ok(Some(after.saturating_sub(before) / IDLE as u64))
}

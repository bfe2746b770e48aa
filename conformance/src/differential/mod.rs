//! Differential checks: what brolly accepts, as it came and as brolly passes it on, is read by other parsers as the same
//! messages. Nothing may be read in two ways.
//!
//! | file | what |
//! |---|---|
//! | `generate.rs`, `pieces.rs` | messages: by the grammar, odd, damaged |
//! | `edge.rs` | a shard that passes them on |
//! | `ours.rs`, `hyper.rs`, `peers.rs` | what brolly reads; what the others read |
//! | `faithful.rs` | what is passed on is what came |
//! | `reading.rs`, `compare.rs` | readings, and where they part |
//! | `classes.rs` | the differences that are known: `conformance/cases/differences.toml` |

mod classes;
mod compare;
mod edge;
mod faithful;
mod generate;
mod hyper;
mod ours;
mod peers;
mod pieces;
mod reading;

use crate::suites::Parsers;
use brolly_conformance::sim::random::Random;
use brolly_conformance::table;
use brolly_core::http1::Method;
use classes::Classes;
use compare::{Difference, compare};
use peers::Peer;
use reading::Reading;
use std::path::Path;
use std::process::ExitCode;
use std::{fs, thread};

/// What a parser is given.
#[derive(Clone, Debug)]
enum Input {
    /// Bytes of a client.
    Requests(Vec<u8>),
    /// Bytes of a server that was asked once, and whether with HEAD.
    Response(Vec<u8>, bool),
}

/// How many inputs the parsers get at a time.
const BATCH: u64 = 250;
/// How many differences without a class are printed.
const SHOWN: usize = 10;
/// A request behind the ones that were accepted: whoever reads another one has not found their end.
const SENTINEL: &[u8] = b"GET /sentinel HTTP/1.1\r\nHost: a\r\n\r\n";

/// Something to be read by all: what we read in it, and where it comes from.
struct Case {
    seed: u64,
    way: &'static str,
    is_passed_on: bool,
    input: Input,
    ours: Reading,
}

/// Runs `messages` streams of requests and as many responses, from this seed on.
pub(crate) fn run(parsers: &Parsers, messages: u64, seed: u64) -> ExitCode {
    match check(parsers, messages, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("differential: {why}");
            ExitCode::FAILURE
        }
    }
}

fn check(parsers: &Parsers, messages: u64, seed: u64) -> Result<bool, String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(home.join(path)).map_err(|error| format!("cannot read {path}: {error}"));
    let mut classes = Classes::parse(&read("cases/differences.toml")?)?;
    let mut corpus = [corpus(home, "http1_request"), corpus(home, "http1_response")];
    corpus[0].extend(table::load()?.iter().flat_map(|group| &group.rows).map(table::Row::sent));
    let mut peers = start(parsers)?;
    let names: Vec<_> = peers.iter().map(|peer| peer.name).collect();
    println!("peers: {}", names.join(", "));
    let (mut accepted, mut readings, mut unknown) = (0, 0, 0);
    for from in (0..messages).step_by(BATCH as usize) {
        let seeds = (from..messages.min(from + BATCH)).map(|at| seed.wrapping_add(at));
        let mut cases = Vec::new();
        for seed in seeds {
            let (more, unfaithful) = self::cases(seed, &corpus);
            if let Some(what) = unfaithful {
                unknown += 1;
                println!("\nnot passed on as it came (--messages 1 --seed {seed}): {what}");
                more.iter().for_each(|case| println!("    {}", shown(&case.input)));
            }
            cases.extend(more);
        }
        accepted += cases.iter().map(|case| case.ours.messages.len()).sum::<usize>();
        readings += cases.len() * peers.len();
        for (case, difference) in differences(&mut peers, &cases)? {
            if classes.knows(&difference, case.is_passed_on) {
                continue;
            }
            unknown += 1;
            if unknown <= SHOWN {
                let passed_on = if case.is_passed_on { " passed on" } else { "" };
                println!("\nno class has this ({}{passed_on}, --messages 1 --seed {})", case.way, case.seed);
                println!("  {difference}\n    of {}", shown(&case.input));
            }
        }
    }
    println!("\n{}", classes.report());
    println!(
        "{messages} streams, {accepted} accepted messages, {readings} readings: {unknown} differences without a class"
    );
    Ok(unknown == 0)
}

fn start(parsers: &Parsers) -> Result<Vec<Peer>, String> {
    let program = |name, hides, command| Peer::start(name, hides, command).map_err(|error| format!("{name}: {error}"));
    let mut peers = vec![Peer::hyper(), program("h11", &[], parsers.h11())?, program("llhttp", &[], parsers.llhttp())?];
    match parsers.net_http() {
        Some(command) => peers.push(program("net/http", &["host", "transfer-encoding", "trailer"], command)?),
        None => println!("without Go's net/http: `go` is missing (apt-get install golang-go)"),
    }
    Ok(peers)
}

/// The inputs of a fuzz target, without the eight bytes that say how they are cut.
fn corpus(home: &Path, target: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(home.join("fuzz/corpus").join(target)) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()?.get(8..).map(<[u8]>::to_vec)).collect()
}

/// One stream of requests and one response, as they came and as they are passed on; and whether that is something else.
fn cases(seed: u64, corpus: &[Vec<Vec<u8>>; 2]) -> (Vec<Case>, Option<String>) {
    let mut random = Random::new(seed);
    let mut cases = Vec::new();
    let is_old = random.chance(20);
    let known = |random: &mut Random, from: &[Vec<u8>]| {
        let known = from.get(random.index(from.len())).cloned().unwrap_or_default();
        generate::damage(random, known)
    };
    let requests = if is_old { known(&mut random, &corpus[0]) } else { generate::requests(&mut random) };
    let (response, is_head) =
        if is_old { (known(&mut random, &corpus[1]), false) } else { generate::response(&mut random) };
    let method = if is_head { Method::Head } else { Method::Get };

    let (came, _) = ours::requests(&requests);
    let mut passed_on = Vec::new();
    for forwarded in edge::forward_requests(&requests) {
        passed_on.push(ours::requests(&forwarded).0);
        add_requests(&mut cases, seed, true, forwarded);
    }
    let unfaithful = faithful::requests(&came, &passed_on);
    add_requests(&mut cases, seed, false, requests);

    let forwarded = edge::forward_response(&response, is_head);
    let (came, passed_on) = (ours::response(&response, method), ours::response(&forwarded, method));
    let unfaithful = unfaithful.or_else(|| faithful::response(&came, &passed_on));
    for (is_passed_on, input, ours) in [(true, forwarded, passed_on), (false, response, came)] {
        cases.push(Case { seed, way: "response", is_passed_on, input: Input::Response(input, is_head), ours });
    }
    (cases, unfaithful)
}

/// As they came, and with a sentinel behind those that were accepted.
fn add_requests(cases: &mut Vec<Case>, seed: u64, is_passed_on: bool, input: Vec<u8>) {
    let (ours, complete) = ours::requests(&input);
    let prefix = [&input[..complete], SENTINEL].concat();
    let behind = ours::requests(&prefix).0;
    for (input, ours) in [(input, ours), (prefix, behind)] {
        cases.push(Case { seed, way: "requests", is_passed_on, input: Input::Requests(input), ours });
    }
}

/// Lets every peer read every input.
fn differences<'c>(peers: &mut [Peer], cases: &'c [Case]) -> Result<Vec<(&'c Case, Difference)>, String> {
    let inputs: Vec<&Input> = cases.iter().map(|case| &case.input).collect();
    let readings: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = peers.iter_mut().map(|peer| scope.spawn(|| peer.read(&inputs))).collect();
        started.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut found = Vec::new();
    for (peer, theirs) in peers.iter().zip(readings) {
        let theirs = theirs.map_err(|_| format!("{} panicked", peer.name))?;
        let theirs = theirs.map_err(|error| format!("{} cannot be asked: {error}", peer.name))?;
        let pairs = cases.iter().zip(&theirs);
        found.extend(pairs.filter_map(|(case, theirs)| Some((case, compare(peer, &case.ours, theirs)?))));
    }
    Ok(found)
}

fn shown(input: &Input) -> String {
    let (Input::Requests(bytes) | Input::Response(bytes, _)) = input;
    bytes.escape_ascii().to_string().replace("\\n", "\\n\n       ")
}

//! A deterministic simulator: the real drivers and shards over simulated sockets, files, names, clocks and peers, all
//! from one seed. Same seed, same world, byte for byte.
//!
//! | file | what |
//! |---|---|
//! | `knobs.rs` | what a world is like: chosen once per seed, so that each has a few kinds of trouble |
//! | `net.rs`, `wire.rs`, `runtime.rs` | sockets, the peers' ends, the shards' ends (with files, names, timers) |
//! | `peers/` | HTTP clients, subscribers on all transports, backends, senders of nonsense |
//! | `closing.rs` | close handshakes that are cut off at every byte |
//! | `ledger.rs` | who was told what about topics, and whether it adds up |
//! | `stage.rs` | the same sockets and drivers, for the table of exchanges |
//! | `world.rs` | the executor, the phases, what is looked at again and again |
//!
//! A world is wild first, then calm: everything must be caught up with. Then everybody goes, and nothing may be left.

mod closing;
mod knobs;
mod ledger;
mod net;
mod peers;
pub mod random;
mod runtime;
mod site;
mod stage;
mod wire;
mod world;

pub use closing::close_handshakes;
pub use net::Canary;
pub use stage::Simulated;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// What was wrong in a world.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The world.
    pub seed: u64,
    /// What was seen.
    pub faults: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "world {} failed:", self.seed)?;
        for fault in &self.faults {
            writeln!(f, "  {fault}")?;
        }
        write!(f, "replay: cargo run --release -p brolly-conformance -- simulate --worlds 1 --seed {}", self.seed)
    }
}

impl std::error::Error for Failure {}

/// What happened in worlds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Worlds.
    pub worlds: u64,
    /// Polls of drivers.
    pub polls: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Messages that were published.
    pub messages: u64,
    /// Statements of subscribers that were compared with what was published.
    pub claims: u64,
    /// Bytes over sockets.
    pub bytes: u64,
    /// The longest queue for a connection (bytes).
    pub longest_outbox: usize,
    /// The most mail that waited for room.
    pub waiting_mail: usize,
}

impl Summary {
    fn add(&mut self, report: &world::Report) {
        self.worlds += 1;
        self.polls += report.polls;
        self.requests += report.requests;
        self.messages += report.messages as u64;
        self.claims += report.claims as u64;
        self.bytes += report.moved;
        self.longest_outbox = self.longest_outbox.max(report.peak.outbox);
        self.waiting_mail = self.waiting_mail.max(report.peak.waiting_mail);
    }

    /// Both together.
    pub fn merge(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.polls += other.polls;
        self.requests += other.requests;
        self.messages += other.messages;
        self.claims += other.claims;
        self.bytes += other.bytes;
        self.longest_outbox = self.longest_outbox.max(other.longest_outbox);
        self.waiting_mail = self.waiting_mail.max(other.waiting_mail);
    }
}

/// One world. Every eighth is run twice, and must be the same; every fourth seed is also a quiet world whose bytes
/// travel in two ways, which nobody may notice.
///
/// # Errors
/// Something was wrong.
pub fn run(seed: u64, summary: &mut Summary) -> Result<(), Failure> {
    let report = world(seed, || World::wild(seed, None))?;
    summary.add(&report);
    if seed.is_multiple_of(8) {
        let again = world(seed, || World::wild(seed, None))?;
        if again.trace != report.trace {
            return Err(Failure { seed, faults: vec!["the same seed twice made two different worlds".into()] });
        }
    }
    if seed.is_multiple_of(4) {
        let [one, other] = [1, 2].map(|travel| world(seed, || World::quiet(seed, seed.wrapping_mul(7) + travel)));
        let (one, other) = (one?, other?);
        if one.transcript != other.transcript {
            let pairs = one.transcript.iter().flatten().zip(other.transcript.iter().flatten());
            let differing = pairs.filter(|(one, other)| one != other).take(2);
            let faults = differing.map(|(one, other)| format!("depends on fragmentation:\n    {one}\n    {other}"));
            let lengths = [one.transcript.iter().flatten().count(), other.transcript.iter().flatten().count()];
            let last = format!("transcripts of {lengths:?} answers differ");
            return Err(Failure { seed, faults: faults.chain([last]).collect() });
        }
    }
    Ok(())
}

/// One world with a planted fault: succeeds if nobody noticed.
///
/// # Errors
/// The fault was noticed, as it should be.
pub fn run_with(seed: u64, canary: Canary) -> Result<(), Failure> {
    world(seed, || World::wild(seed, Some(canary))).map(drop)
}

fn world(seed: u64, make: impl FnOnce() -> World) -> Result<world::Report, Failure> {
    let report = catch_unwind(AssertUnwindSafe(|| make().run()));
    let faults = match report {
        Ok(report) if report.faults.is_empty() => return Ok(report),
        Ok(report) => report.faults,
        Err(panic) => vec![format!("panicked: {}", message(&*panic))],
    };
    Err(Failure { seed, faults })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

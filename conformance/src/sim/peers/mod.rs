//! Those who talk to the shards: each a small state machine of its own.

pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod end;
pub(crate) mod garbage;
pub(crate) mod http;
pub(crate) mod socket;
pub(crate) mod stream;

use super::ledger::Ledger;
use super::net::{Alarm, Net};
use super::random::Random;
use super::site::TOPICS;
use std::rc::Rc;

/// How far a world has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Phase {
    /// Everybody makes trouble.
    Wild,
    /// Nobody does; everything has to be caught up with.
    Calm,
    /// Subscribers and connections without an end of their own are gone.
    Ebb,
    /// Everybody goes.
    Over,
}

/// What a peer may use.
#[derive(Debug)]
pub(crate) struct Cx<'w> {
    pub(crate) net: &'w Rc<Net>,
    pub(crate) id: usize,
    pub(crate) phase: Phase,
    pub(crate) ledger: &'w mut Ledger,
    /// The shards were told to shut down.
    pub(crate) is_ending: bool,
}

impl Cx<'_> {
    pub(crate) fn now(&self) -> u64 {
        self.net.now.get()
    }

    /// Comes back after so many nanoseconds.
    pub(crate) fn sleep(&self, nanos: u64) -> u64 {
        let at = self.now() + nanos;
        self.net.alarm(at, Alarm::Peer(self.id));
        at
    }

    /// Whether to cut the connection now.
    pub(crate) fn resets(&self) -> bool {
        self.net.chance(self.net.knobs.resets)
    }
}

/// A peer.
pub(crate) trait Peer {
    /// Something happened that may concern it.
    fn step(&mut self, cx: &mut Cx<'_>);

    /// At rest: what it still waits for.
    fn stuck(&self, ledger: &Ledger, phase: Phase) -> Option<String>;

    /// How long it stays.
    fn stays(&self) -> Phase;

    /// For the comparison of worlds: what it was told.
    fn transcript(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Up to three different topics.
fn some_topics(random: &mut Random) -> Vec<&'static str> {
    let mut topics: Vec<&'static str> = (0..random.between(1, 3)).map(|_| random.pick(&TOPICS)).collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}

/// Text that makes a message long, odd, or neither.
fn filler(random: &mut Random) -> String {
    match random.below(8) {
        0 => "x".repeat(random.index(3000)),
        1 | 2 => "y".repeat(random.index(300)),
        3 => "\n\n \n \"\\".into(),
        4 => "ünïcödé ☃".repeat(random.index(20)),
        _ => String::new(),
    }
}

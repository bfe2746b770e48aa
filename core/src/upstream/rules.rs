//! What is configured about an upstream, as far as choosing a server and a connection goes.

use alloc::boxed::Box;
use core::time::Duration;

/// How servers are chosen, how many connections they get, and when they are left alone.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Rules {
    /// Which server is next.
    pub balance: Balance,
    /// Connections per server, those of upgraded connections apart. Beyond: the queue.
    pub connections: usize,
    /// Idle connections kept per server. Beyond: the one longest idle is closed.
    pub idle: usize,
    /// Requests that wait for a connection. Beyond: 503.
    pub queue: usize,
    /// When a server that fails is left alone for a while.
    pub eject: Option<Eject>,
    /// How many probes in a row decide.
    pub probing: Probing,
    /// How long a server that comes back gets less than its share; zero: not at all.
    pub slow_start: Duration,
}

/// Which server is next.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Balance {
    /// One of those with the fewest requests under way.
    LeastOutstanding,
    /// One after the other.
    RoundRobin,
    /// Equal keys get the same server as long as it is up and has room. Other keys stay where they are when a server comes
    /// or goes (rendezvous hashing).
    Hash(Key),
}

/// What stands for the client or the content in [`Balance::Hash`]. A request without it goes anywhere.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Key {
    /// The client's IP address.
    Client,
    /// The path, without the query.
    Path,
    /// The cookie with this name.
    Cookie(Box<str>),
    /// The field with this name.
    Field(Box<str>),
}

/// When a server rests.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Eject {
    /// After so many failures in a row.
    pub failures: u32,
    /// For so long; then the next failure is enough, until something succeeds.
    pub period: Duration,
}

/// How many probes in a row change a server's state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Probing {
    /// Good ones, until it is up.
    pub healthy: u32,
    /// Bad ones, until it is down.
    pub unhealthy: u32,
}

impl Default for Probing {
    fn default() -> Self {
        Self { healthy: 2, unhealthy: 3 }
    }
}

//! Backends: their addresses and the connections to them.

use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;

/// The state of one backend. `C` names connections.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Pool<C> {
    /// Open, clean, waiting for a request; the latest used is last.
    idle: VecDeque<C>,
    /// Being opened, in use, or idle.
    open: usize,
    addresses: Vec<SocketAddr>,
    next: usize,
    valid_until: Option<Instant>,
    /// Connections that wait for an address.
    waiting: Vec<C>,
    is_resolving: bool,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        let (idle, addresses, waiting) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { idle, open: 0, addresses, next: 0, valid_until: None, waiting, is_resolving: false }
    }
}

impl<C: Copy + Eq> Pool<C> {
    /// The idle connection that was used last: the likeliest to be alive.
    pub fn take_idle(&mut self) -> Option<C> {
        self.idle.pop_back()
    }

    /// Keeps a connection for the next request; returns the one that has to go for it, if there are more than `limit`.
    pub fn keep(&mut self, conn: C, limit: usize) -> Option<C> {
        self.idle.push_back(conn);
        if self.idle.len() > limit { self.idle.pop_front() } else { None }
    }

    /// All idle connections, to be closed.
    pub fn drain_idle(&mut self) -> impl Iterator<Item = C> + use<C> {
        mem::take(&mut self.idle).into_iter()
    }

    /// Counts a new connection, unless there are `limit` of them.
    pub fn open(&mut self, limit: usize) -> bool {
        let room = self.open < limit;
        self.open += usize::from(room);
        room
    }

    /// A connection has gone.
    pub fn closed(&mut self, conn: C) {
        self.open = self.open.saturating_sub(1);
        self.idle.retain(|idle| *idle != conn);
        self.waiting.retain(|waiting| *waiting != conn);
    }

    /// The next address in turn, if there are addresses that still hold.
    pub fn address(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.valid_until.is_none_or(|until| until <= now) {
            return None;
        }
        self.next_address()
    }

    /// Lets `conn` wait for an address; says whether a look-up has to be started.
    pub fn wait(&mut self, conn: C) -> bool {
        self.waiting.push(conn);
        !mem::replace(&mut self.is_resolving, true)
    }

    /// The look-up is done (nothing found: it failed); returns who waited for it, and where each goes.
    pub fn resolved(&mut self, addresses: Vec<SocketAddr>, valid_until: Instant) -> Vec<(C, Option<SocketAddr>)> {
        self.is_resolving = false;
        self.addresses = addresses;
        self.valid_until = Some(valid_until);
        mem::take(&mut self.waiting).into_iter().map(|conn| (conn, self.next_address())).collect()
    }

    fn next_address(&mut self) -> Option<SocketAddr> {
        let address = self.addresses.get(self.next.checked_rem(self.addresses.len())?).copied();
        self.next = self.next.wrapping_add(1);
        address
    }
}

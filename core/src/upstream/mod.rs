//! One named destination: which of its servers gets the next request, on which connection, and who waits.
//!
//! ```text
//! rules.rs      what is configured: limits, balance, when a server rests
//! endpoint.rs   one address of a server: the connections to it
//! health.rs     whether it is up, and how much it gets after a rest
//! balance.rs    which of several is next
//! names.rs      the addresses behind names: looking up again, letting old ones go
//! queue.rs      requests that wait for a connection
//! ```
//!
//! Nothing in here knows what a connection or an address is: `C` names connections (of both directions), `A` is an address.

mod balance;
mod endpoint;
mod health;
mod names;
mod queue;
mod rules;
#[cfg(test)]
mod tests;

pub use balance::hash;
pub use endpoint::{Endpoint, EndpointId};
pub use health::{Health, State};
pub use queue::Queue;
pub use rules::{Balance, Eject, Key, Probing, Rules};

use crate::arena::Arena;
use crate::rng::Rng;
use crate::time::Instant;
use alloc::vec::Vec;
use core::hash::Hash;
use core::time::Duration;
use names::Names;

/// The state of one upstream in one shard.
#[derive(Clone, Debug)]
pub struct Upstream<C, A> {
    endpoints: Arena<Endpoint<C, A>>,
    /// One for each configured server, fallbacks behind the others.
    servers: Vec<Names>,
    /// From this server on they are fallbacks.
    first_fallback: usize,
    /// Requests that wait for a connection.
    pub queue: Queue<C>,
    turn: usize,
}

/// What is wanted of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w, C, A> {
    /// Equal keys get the same server, if the balance says so.
    pub key: u64,
    /// Servers that have failed this request already: others are better.
    pub tried: &'w [EndpointId<C, A>],
    /// A connection that was idle for longer than this is of no use; `None`: only a new one is.
    pub idle_for: Option<Duration>,
}

/// Where a request goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Placed<C, A> {
    /// Over this connection, which was idle.
    Reused(EndpointId<C, A>, C),
    /// Over a new connection, which counts from now on: say when it is [`closed`](Upstream::closed).
    New {
        /// Of which endpoint.
        endpoint: EndpointId<C, A>,
        /// Where to.
        address: A,
        /// An idle connection that has to go for it.
        instead_of: Option<C>,
    },
    /// Every server has as many connections as it may: wait.
    Full,
    /// Not an address is known yet: wait for a look-up.
    Unresolved,
    /// There is no server: no name has an address.
    Nowhere,
}

impl<C: Copy + Eq, A: Clone + Eq + Hash> Upstream<C, A> {
    /// The state of an upstream with these servers, each with its address if that needs no look-up.
    pub fn new(servers: impl Iterator<Item = Option<A>>, fallbacks: impl Iterator<Item = Option<A>>) -> Self {
        let mut this =
            Self { endpoints: Arena::new(), servers: Vec::new(), first_fallback: 0, queue: Queue::default(), turn: 0 };
        for address in servers {
            this.add_server(address);
        }
        this.first_fallback = this.servers.len();
        for address in fallbacks {
            this.add_server(address);
        }
        this
    }

    /// Connections to all of its servers that are open or being opened.
    pub fn connections(&self) -> usize {
        self.endpoints.iter().map(|(_, endpoint)| endpoint.connections()).sum()
    }

    fn add_server(&mut self, address: Option<A>) {
        let server = self.servers.len();
        self.servers.push(if address.is_some() { Names::Literal } else { Names::new() });
        if let Some(address) = address {
            self.endpoints.insert(Endpoint::new(server, address));
        }
    }

    /// Finds a server and a connection for a request. Those that have failed it come last; among the others, servers that
    /// are up, then fallbacks that are up, then the rest: better a doubtful server than none.
    pub fn place(&mut self, now: Instant, rules: &Rules, rng: &mut Rng, wanted: &Wanted<'_, C, A>) -> Placed<C, A> {
        let Some(group) = self.group(now, wanted.tried) else {
            return if self.is_resolving() { Placed::Unresolved } else { Placed::Nowhere };
        };
        let mut turn = self.turn;
        let candidates = self.endpoints.iter().filter(|(id, endpoint)| {
            self.rank(now, endpoint, wanted.tried.contains(id)) == group && endpoint.has_room(rules.connections)
        });
        let chosen = balance::choose(candidates, now, rules, &mut turn, rng, wanted.key);
        self.turn = turn;
        let Some((id, endpoint)) = chosen.and_then(|id| Some((id, self.endpoints.get_mut(id)?))) else {
            return Placed::Full;
        };
        match wanted.idle_for.and_then(|limit| endpoint.take_idle(now, limit)) {
            Some(conn) => Placed::Reused(id, conn),
            None => {
                let instead_of = endpoint.open(rules.connections);
                Placed::New { endpoint: id, address: endpoint.address().clone(), instead_of }
            }
        }
    }

    /// The best rank that a server has.
    fn group(&self, now: Instant, tried: &[EndpointId<C, A>]) -> Option<u8> {
        let live = self.endpoints.iter().filter(|(_, endpoint)| !endpoint.is_retired());
        live.map(|(id, endpoint)| self.rank(now, endpoint, tried.contains(&id))).min()
    }

    fn rank(&self, now: Instant, endpoint: &Endpoint<C, A>, is_tried: bool) -> u8 {
        if endpoint.is_retired() {
            return u8::MAX;
        }
        let is_fallback = endpoint.server() >= self.first_fallback;
        let is_down = !endpoint.health.is_up(now);
        u8::from(is_tried) << 2 | u8::from(is_down) << 1 | u8::from(is_fallback)
    }

    /// An endpoint, unless its address is gone.
    pub fn endpoint(&self, id: EndpointId<C, A>) -> Option<&Endpoint<C, A>> {
        self.endpoints.get(id)
    }

    /// An endpoint, unless its address is gone.
    pub fn endpoint_mut(&mut self, id: EndpointId<C, A>) -> Option<&mut Endpoint<C, A>> {
        self.endpoints.get_mut(id)
    }

    /// All endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = (EndpointId<C, A>, &Endpoint<C, A>)> {
        self.endpoints.iter()
    }

    /// Keeps a connection for another request. The answer is a connection to be closed: another one that is too many, or
    /// this one.
    pub fn keep(&mut self, now: Instant, rules: &Rules, id: EndpointId<C, A>, conn: C) -> Option<C> {
        match self.endpoints.get_mut(id) {
            Some(endpoint) if !endpoint.is_retired() => endpoint.keep(now, conn, rules.idle),
            Some(_) | None => Some(conn),
        }
    }

    /// A connection is gone, or is none of ours any more.
    pub fn closed(&mut self, id: EndpointId<C, A>, conn: C) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            endpoint.closed(conn);
            if endpoint.is_retired() && endpoint.is_unused() {
                self.endpoints.remove(id);
            }
        }
    }

    /// Whether requests that wait have nothing to wait for but a look-up.
    pub fn is_resolving(&self) -> bool {
        self.servers.iter().any(Names::is_resolving)
    }

    /// A server whose name has to be looked up now; it counts as being looked up from then on.
    pub fn due_lookup(&mut self, now: Instant) -> Option<usize> {
        self.servers.iter_mut().position(|names| names.begin(now))
    }

    /// A look-up is done. Addresses that are new get an endpoint, those that are gone take no more requests; if it has
    /// failed (`None`), everything stays as it is. Returns idle connections to be closed.
    pub fn resolved(&mut self, server: usize, addresses: Option<Vec<A>>, valid_until: Instant) -> Vec<C> {
        let mut surplus = Vec::new();
        if let Some(names) = self.servers.get_mut(server) {
            names.end(valid_until);
        }
        let Some(addresses) = addresses else { return surplus };
        for id in self.endpoints.ids() {
            let Some(endpoint) = self.endpoints.get_mut(id) else { continue };
            if endpoint.server() != server {
                continue;
            }
            if addresses.contains(endpoint.address()) {
                endpoint.revive();
            } else {
                surplus.extend(endpoint.retire());
                if endpoint.is_unused() {
                    self.endpoints.remove(id);
                }
            }
        }
        for address in addresses {
            let is_known = |(_, of): (_, &Endpoint<C, A>)| of.server() == server && *of.address() == address;
            if !self.endpoints.iter().any(is_known) {
                self.endpoints.insert(Endpoint::new(server, address));
            }
        }
        surplus
    }

    /// An endpoint that is to be probed now. Each is probed every `interval`; the first time somewhere within it, so that
    /// shards and servers do not do it all at once.
    pub fn due_probe(&mut self, now: Instant, interval: Duration, rng: &mut Rng) -> Option<EndpointId<C, A>> {
        self.endpoints.ids().into_iter().find(|id| {
            self.endpoints
                .get_mut(*id)
                .is_some_and(|endpoint| !endpoint.is_retired() && endpoint.is_probe_due(now, interval, rng))
        })
    }

    /// When [`due_probe`](Self::due_probe) has something.
    pub fn next_probe(&self) -> Option<Instant> {
        self.endpoints.iter().filter(|(_, of)| !of.is_retired()).filter_map(|(_, of)| of.probe_at()).min()
    }
}

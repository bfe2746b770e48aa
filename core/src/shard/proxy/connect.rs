//! A connection for a call: one that was kept, a new one, or a place in the queue.

use super::super::slot::{Client, Role, Slot};
use super::super::{Address, Completion, ConnId, Effect, IoError, Operation, Shard};
use super::Purpose;
use super::call::{EndpointId, Stage};
use super::retry::Failure;
use crate::config::{Server, Upstream};
use crate::conn::{ClientConn, earlier};
use crate::proxy_protocol::{self, Endpoints};
use crate::time::Now;
use crate::upstream::{Placed, Wanted};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;
use core::time::Duration;

impl Shard {
    /// Finds a connection for the call of `conn`. Whoever waits already comes first.
    pub(super) fn place(&mut self, now: Now, conn: ConnId) {
        let Some(call) = self.call(conn) else { return };
        let index = call.upstream;
        call.stage = Stage::Waiting;
        let is_first = self.upstreams.get(index).is_some_and(|upstream| upstream.queue.is_empty());
        if is_first && self.try_place(now, conn) {
            return;
        }
        let config = Arc::clone(&self.config);
        let (Some(configured), Some(upstream)) = (config.upstreams.get(index), self.upstreams.get(index)) else {
            return;
        };
        // Before its first look-up an upstream has no capacity that could be exceeded.
        let is_resolving = upstream.endpoints().next().is_none();
        if !is_resolving && upstream.queue.len() >= configured.rules.queue && !self.make_way(now, index) {
            return self.fail_call(now, conn, Failure::QueueFull);
        }
        if let Some(upstream) = self.upstreams.get_mut(index) {
            upstream.queue.push(conn);
        }
        let wait = if is_resolving { configured.connect_timeout } else { configured.queue_timeout };
        let Some(call) = self.call(conn) else { return };
        call.wait_until = Some(now.instant + wait);
        if call.is_streaming()
            && let Some(server) = self.server(conn)
        {
            server.conn.pause();
        }
        self.settle(now, conn);
    }

    /// The queue is full. A client that has ended its direction may listen still, but more likely it has gone: it loses its
    /// place before another is turned away.
    fn make_way(&mut self, now: Now, index: usize) -> bool {
        let Self { slots, upstreams, .. } = self;
        let Some(upstream) = upstreams.get_mut(index) else { return false };
        let is_half_closed = |conn: &ConnId| matches!(slots.get(*conn), Some(Slot { role: Role::Server(server), .. }) if server.conn.is_half_closed());
        let Some(conn) = upstream.queue.iter().find(is_half_closed) else { return false };
        upstream.queue.remove(conn);
        self.fail_call(now, conn, Failure::QueueFull);
        true
    }

    /// There may be room again: whoever has waited longest goes on.
    pub(in crate::shard) fn pump(&mut self, now: Now, index: usize) {
        while let Some(conn) = self.upstreams.get_mut(index).and_then(|upstream| upstream.queue.pop()) {
            if self.call(conn).is_some_and(|call| call.is_waiting()) && !self.try_place(now, conn) {
                if let Some(upstream) = self.upstreams.get_mut(index) {
                    upstream.queue.put_back(conn);
                }
                return;
            }
        }
    }

    /// Whether the call waits no longer: it has a connection, or has failed.
    fn try_place(&mut self, now: Now, conn: ConnId) -> bool {
        let config = Arc::clone(&self.config);
        let Some(call) = self.call(conn) else { return true };
        let (index, key, tried) = (call.upstream, call.key, call.tried.clone());
        let (needs_new, is_repeatable) = (call.needs_new, call.is_idempotent && !call.is_streaming());
        let Some(configured) = config.upstreams.get(index) else { return true };
        let idle_for = match (needs_new, is_repeatable) {
            (true, _) => None,
            (false, true) => Some(Duration::MAX),
            (false, false) => (!configured.fresh.is_zero()).then_some(configured.fresh),
        };
        self.look_up(now, index);
        loop {
            let Self { upstreams, rng, .. } = self;
            let Some(upstream) = upstreams.get_mut(index) else { return true };
            let wanted = Wanted { key, tried: &tried, idle_for };
            match upstream.place(now.instant, &configured.rules, rng, &wanted) {
                Placed::Full | Placed::Unresolved => return false,
                Placed::Nowhere => self.fail_call(now, conn, Failure::NoAddress),
                Placed::Reused(_, client) if self.slots.get(client).is_none_or(|slot| slot.interest().close) => {
                    continue;
                }
                Placed::Reused(_, client) => self.give(now, conn, client),
                Placed::New { endpoint, address, instead_of } => {
                    let is_full = self.slots.len() >= config.limits.connections;
                    if is_full {
                        upstream.closed(endpoint, conn);
                    }
                    if let Some(idle) = instead_of {
                        self.drop_client(now, idle);
                    }
                    if is_full {
                        self.fail_call(now, conn, Failure::NoRoom);
                    } else {
                        let preface = configured.proxy_protocol.then(|| introduction(self.slots.get(conn)));
                        let preface = preface.unwrap_or_default();
                        let client = self.open(now, configured, (index, endpoint), (address, preface));
                        self.give(now, conn, client);
                    }
                }
            }
            return true;
        }
    }

    /// A new connection, which exists from now on.
    pub(super) fn open(
        &mut self,
        now: Now,
        configured: &Upstream,
        (upstream, endpoint): (usize, EndpointId),
        (to, preface): (Address, Vec<u8>),
    ) -> ConnId {
        let server = self.upstreams.get(upstream).and_then(|of| of.endpoint(endpoint)).map_or(0, |of| of.server());
        let tls = match configured.all().nth(server) {
            Some(Server::Tcp { tls, .. }) => *tls,
            Some(Server::Unix(_)) | None => None,
        };
        let conn = ClientConn::new(self.http, now.instant + configured.connect_timeout);
        let (purpose, since, is_reused, is_counted) = (Purpose::Idle, now.instant, false, true);
        let client = Client { conn, upstream, endpoint, server, purpose, since, is_reused, is_counted };
        let conn = self.slots.insert(Slot::new(Role::Client(Box::new(client)), None));
        self.effects.push_back(Effect::Connect { conn, to, tls, preface: preface.into() });
        conn
    }

    /// The client connection gets the call, and as soon as it stands, the content.
    fn give(&mut self, now: Now, conn: ConnId, client_id: ConnId) {
        let config = Arc::clone(&self.config);
        let slots = &self.slots;
        let Some(Slot { role: Role::Client(client), .. }) = slots.get(client_id) else { return };
        let (upstream, server, is_connected) = (client.upstream, client.server, client.conn.is_connected());
        let Some(configured) = config.upstreams.get(upstream) else { return };
        let Some(call) = self.call(conn) else { return };
        call.stage = Stage::Sent(client_id);
        call.wait_until = None;
        let (message, needs_host, is_streaming) = (call.message.clone(), call.needs_host, call.is_streaming());
        if is_streaming
            && !is_connected
            && let Some(downstream) = self.server(conn)
        {
            downstream.conn.pause();
        }
        let Self { slots, timeouts, .. } = self;
        let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(client_id) else { return };
        let host = needs_host.then(|| configured.authority(server));
        client.conn.request(&message, host.as_deref());
        client.purpose = Purpose::Call(conn);
        client.is_reused = is_connected;
        client.since = now.instant;
        client.conn.sent(now, timeouts, &configured.patience());
        self.settle(now, client_id);
        if is_connected {
            self.want_content(now, conn);
        }
    }

    /// The connection stands: now the client's content is wanted (RFC 9110 §10.1.1).
    fn want_content(&mut self, now: Now, conn: ConnId) {
        let Self { slots, timeouts, .. } = self;
        let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn) else { return };
        if !server.call().is_some_and(|call| call.is_streaming()) {
            return;
        }
        server.conn.resume(now, timeouts);
        server.conn.send_continue(now, timeouts);
        self.resume(conn);
        self.settle(now, conn);
    }

    /// The host has opened a connection, as [`Effect::Connect`] asked.
    pub fn handle_connected(&mut self, now: Now, conn: ConnId) {
        let Self { slots, timeouts, config, .. } = self;
        if let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(conn)
            && let Some(configured) = config.upstreams.get(client.upstream)
        {
            client.conn.handle_connected(now, timeouts, &configured.patience());
            if let Purpose::Call(downstream) = client.purpose {
                self.want_content(now, downstream);
            }
        }
        self.settle(now, conn);
        self.work(now);
    }

    /// The exchange is over. The connection is looked at again when all that has arrived with the answer is known.
    pub(super) fn release(&mut self, client: ConnId) {
        if let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(client) {
            client.purpose = Purpose::Idle;
        }
        self.released.push_back(client);
    }

    /// Keeps a connection whose exchange was complete and clean in both directions, with nothing behind it.
    pub(in crate::shard) fn keep(&mut self, now: Now, client_id: ConnId) {
        let config = Arc::clone(&self.config);
        let Some(Slot { role: Role::Client(client), leftover, .. }) = self.slots.get_mut(client_id) else { return };
        let index = client.upstream;
        let Some((configured, upstream)) = config.upstreams.get(index).zip(self.upstreams.get_mut(index)) else {
            return;
        };
        if client.purpose != Purpose::Idle {
            return;
        }
        let is_shared = !configured.proxy_protocol && self.shutdown.is_none();
        let mut surplus = Some(client_id);
        if is_shared && leftover.is_empty() && client.conn.reuse() {
            client.conn.idle_until(now.instant + configured.idle_connection_timeout);
            surplus = upstream.keep(now.instant, &configured.rules, client.endpoint, client_id);
        }
        if let Some(surplus) = surplus {
            self.drop_client(now, surplus);
        }
        self.settle(now, client_id);
        self.pump(now, index);
    }

    /// Closes a connection; it does not count any more. Returns what it was there for.
    pub(super) fn drop_client(&mut self, now: Now, client_id: ConnId) -> Purpose {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(client_id) else { return Purpose::Idle };
        client.conn.abort();
        let purpose = mem::replace(&mut client.purpose, Purpose::Idle);
        if mem::take(&mut client.is_counted)
            && let Some(upstream) = self.upstreams.get_mut(client.upstream)
        {
            upstream.closed(client.endpoint, client_id);
        }
        self.settle(now, client_id);
        purpose
    }

    /// Looks names up whose addresses have grown old; they are used meanwhile.
    pub(super) fn look_up(&mut self, now: Now, index: usize) {
        let config = Arc::clone(&self.config);
        let Some(configured) = config.upstreams.get(index) else { return };
        while let Some(server) = self.upstreams.get_mut(index).and_then(|of| of.due_lookup(now.instant)) {
            if let Some(Server::Tcp { host, port, .. }) = configured.all().nth(server) {
                let op = self.next_op(Operation::Resolve(index, server));
                self.effects.push_back(Effect::Resolve { op, host: host.clone(), port: *port });
            }
        }
    }

    /// Names that could not be looked up are tried again soon.
    pub(in crate::shard) fn handle_resolved(
        &mut self,
        now: Now,
        (index, server): (usize, usize),
        result: Result<Completion, IoError>,
    ) {
        let addresses = match result {
            Ok(Completion::Resolved(found)) => Some(found.into_iter().map(Address::Tcp).collect::<Vec<_>>()),
            Ok(_) | Err(_) => None,
        };
        let ttl = self.config.limits.resolve_ttl;
        let until = now.instant + if addresses.is_some() { ttl } else { ttl.min(Duration::from_secs(1)) };
        let is_known = addresses.is_some();
        let Some(upstream) = self.upstreams.get_mut(index) else { return };
        for idle in upstream.resolved(server, addresses, until) {
            self.drop_client(now, idle);
        }
        // New addresses have no time for their first probe yet; a look-up that has failed is tried again.
        if self.config.upstreams.get(index).is_some_and(|of| of.health.is_some()) {
            self.upkeep = earlier(self.upkeep, Some(if is_known { now.instant } else { until }));
        }
        self.pump(now, index);
    }
}

/// The PROXY header of a connection on behalf of a client.
fn introduction(client: Option<&Slot>) -> Vec<u8> {
    let endpoints = client.and_then(|slot| {
        let source = slot.peer?;
        let unknown = match source {
            SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
            SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
        };
        let destination = slot.about.as_ref().and_then(|about| about.local).unwrap_or(unknown);
        Some(Endpoints { source, destination })
    });
    proxy_protocol::encode(endpoints.as_ref())
}

//! Sockets: bytes in, bytes out, ends, deadlines.

use super::calls::SocketKind;
use super::proxy::Purpose;
use super::slot::{Exchange, Role, Server, Slot};
use super::{ConnId, FAN_OUT, HIGH_WATER, IoError, LOW_WATER, Shard};
use crate::http1::StatusCode;
use crate::time::Now;
use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;

impl Shard {
    /// Bytes were read from a connection. They are used, changed (unmasked) or copied before this returns.
    pub fn handle_read(&mut self, now: Now, conn: ConnId, input: &mut [u8]) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        self.storage.lend(slot.outbox());
        if slot.leftover.is_empty() {
            let used = self.consume(now, conn, input);
            if let (Some(slot), Some(rest)) = (self.slots.get_mut(conn), input.get(used..)) {
                slot.leftover.extend_from_slice(rest);
            }
        } else {
            slot.leftover.extend_from_slice(input);
            self.consume_leftover(now, conn);
        }
        self.settle(now, conn);
        self.work(now);
    }

    /// The peer ended its direction.
    pub fn handle_eof(&mut self, now: Now, conn: ConnId) {
        self.lend(conn);
        let Some(slot) = self.slots.get_mut(conn) else { return };
        match &mut slot.role {
            Role::Server(server) => {
                server.conn.handle_eof();
                // Nobody is left to listen to a stream; an ordinary request is answered still.
                if matches!(server.exchange, Exchange::Greeting(_) | Exchange::Stream(_) | Exchange::Poll(_)) {
                    server.conn.abort();
                }
            }
            Role::WebSocket(socket) => socket.conn.handle_eof(),
            Role::Client(_) => self.handle_upstream_eof(now, conn),
            Role::Errand(_) => {}
            Role::Tunnel(_) => self.handle_tunnel_eof(now, conn),
        }
        self.settle(now, conn);
        self.work(now);
    }

    /// The first `bytes` of what [`outgoing`](Self::outgoing) gave were written.
    pub fn handle_write(&mut self, now: Now, conn: ConnId, bytes: usize) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let out = slot.outbox();
        out.advance(bytes);
        let pending = out.len();
        self.storage.reclaim(out);
        let is_paced = slot.grant.is_some();
        match &mut slot.role {
            Role::Client(client) => {
                if let Some(configured) = self.config.upstreams.get(client.upstream) {
                    client.conn.wrote(now, &self.timeouts, &configured.patience());
                }
            }
            Role::Errand(_) => {}
            Role::Server(server) => server.conn.wrote(now, &self.timeouts),
            Role::Tunnel(tunnel) => tunnel.conn.wrote(now, &self.timeouts),
            Role::WebSocket(socket) => socket.conn.wrote(now, &self.timeouts),
        }
        if is_paced {
            self.spend(now, conn, bytes);
        }
        if pending < LOW_WATER {
            self.handle_room(now, conn);
        }
        self.settle(now, conn);
        self.work(now);
    }

    /// What [`outgoing`](Self::outgoing) gave was offered to the socket, and not taken as a whole: some of it may have left.
    pub fn handle_offered(&mut self, conn: ConnId) {
        if let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(conn) {
            client.conn.offered();
        }
    }

    /// The outgoing direction was ended, as asked.
    pub fn handle_shutdown_done(&mut self, now: Now, conn: ConnId) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        match &mut slot.role {
            Role::Client(_) | Role::Errand(_) => {}
            Role::Server(server) => server.conn.handle_shutdown(),
            Role::Tunnel(tunnel) => tunnel.conn.handle_shutdown(),
            Role::WebSocket(socket) => socket.conn.handle_shutdown(),
        }
        self.settle(now, conn);
    }

    /// The socket is gone: dropped as asked, broken, or never opened.
    pub fn handle_closed(&mut self, now: Now, conn: ConnId, error: Option<IoError>) {
        if let Some(Slot { role: Role::Client(_), .. }) = self.slots.get(conn) {
            self.handle_upstream_closed(now, conn, error);
        }
        self.end_grant(now, conn, true);
        let Some(slot) = self.slots.remove(conn) else { return };
        match slot.role {
            // There may be room for another.
            Role::Client(client) => self.pump(now, client.upstream),
            Role::Errand(_) => {}
            Role::Server(server) => self.abandon(now, conn, slot.peer, server),
            Role::Tunnel(tunnel) => self.handle_tunnel_closed(now, &tunnel, error.is_some()),
            Role::WebSocket(socket) => {
                self.leave(&socket.members);
                match socket.kind {
                    SocketKind::Session(talk) => self.end_talk(now, conn, *talk),
                    SocketKind::Relay(relay) => self.handle_relay_closed(now, relay),
                    SocketKind::Calls | SocketKind::Echo | SocketKind::Refused => {}
                }
            }
        }
        self.work(now);
    }

    /// A deadline may have passed, or there is work left over. Calling it for nothing costs nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        // Each entry once: a deadline that does not move cannot hold everybody up.
        for _ in 0..self.agenda.wheel.len() {
            let Some((at, conn)) = self.agenda.wheel.pop_due(now.instant) else { break };
            let Some(slot) = self.slots.get_mut(conn) else { continue };
            if slot.armed != Some(at) {
                continue;
            }
            slot.armed = None;
            if slot.deadline().is_some_and(|deadline| deadline <= now.instant) {
                self.lend(conn);
                self.handle_deadline(now, conn);
            }
            self.settle(now, conn);
        }
        self.home.handle_timeout(now.instant);
        self.handle_pools_timeout(now);
        self.keep_up(now);
        if self.shutdown.is_some_and(|at| at <= now.instant) {
            self.abort_all(now);
        }
        self.work(now);
    }

    fn handle_deadline(&mut self, now: Now, conn: ConnId) {
        if self.slots.get(conn).and_then(Slot::paused_until).is_some_and(|at| at <= now.instant) {
            self.refill(now, conn);
        }
        if self.slots.get(conn).and_then(Slot::allowed_until).is_some_and(|at| at <= now.instant) {
            self.end_authorization(now, conn);
        }
        let Self { slots, rng, timeouts, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        match &mut slot.role {
            Role::WebSocket(socket) => socket.conn.handle_timeout(now, timeouts, || rng.next_key()),
            Role::Tunnel(tunnel) => tunnel.conn.handle_timeout(now),
            Role::Client(_) => self.handle_upstream_deadline(now, conn),
            Role::Errand(_) => self.handle_call_deadline(now, conn),
            Role::Server(server) => {
                let is_refused = server.conn.handle_timeout(now);
                match &mut server.exchange {
                    _ if is_refused => {
                        let (unread, reason) = (mem::take(&mut slot.leftover), "the request took too long");
                        self.refuse_unread(now, conn, StatusCode::REQUEST_TIMEOUT, reason, &unread);
                    }
                    Exchange::Poll(poll) if poll.deadline() <= now.instant => self.answer_poll(now, conn),
                    Exchange::Stream(stream) if stream.heartbeat <= now.instant => self.send_heartbeat(now, conn),
                    Exchange::Asking(_) | Exchange::Proxying(_) => self.handle_call_deadline(now, conn),
                    Exchange::Api(_)
                    | Exchange::Greeting(_)
                    | Exchange::Idle
                    | Exchange::Opening(_)
                    | Exchange::Sending(_)
                    | Exchange::Poll(_)
                    | Exchange::Publishing(_)
                    | Exchange::Published(_)
                    | Exchange::Stream(_)
                    | Exchange::Entering(_)
                    | Exchange::Counting(_)
                    | Exchange::Verifying(_) => {}
                }
            }
        }
    }

    /// Uses as many of the bytes as it can; returns how many.
    fn consume(&mut self, now: Now, conn: ConnId, input: &mut [u8]) -> usize {
        let mut used_up = 0;
        loop {
            let Self { slots, rng, timeouts, config, codec, .. } = self;
            let (Some(slot), Some(rest)) = (slots.get_mut(conn), input.get_mut(used_up..)) else { return input.len() };
            // A reader that does not read its answers gets no more of them.
            let unsent = slot.unsent().len();
            if unsent > HIGH_WATER
                && unsent > slot.answers_cap(config.limits.websocket.message_bytes)
                && matches!(slot.role, Role::Server(_) | Role::WebSocket(_))
            {
                return used_up;
            }
            let (used, is_event) = match &mut slot.role {
                Role::Server(server) => {
                    let (used, event) = server.conn.receive(now, timeouts, rest);
                    let is_event = event.is_some();
                    if let Some(event) = event {
                        self.handle_server_event(now, conn, event);
                    }
                    (used, is_event)
                }
                Role::WebSocket(socket) => {
                    let unread = rest.len();
                    let (used, event) = socket.conn.receive(now, timeouts, codec, || rng.next_key(), rest);
                    // Nothing comes of no bytes.
                    let is_event = event.is_some() && used < unread;
                    if let Some(event) = event {
                        self.handle_websocket_event(now, conn, event);
                    }
                    (used, is_event)
                }
                Role::Client(client) => {
                    let Some(configured) = config.upstreams.get(client.upstream) else { return input.len() };
                    let (used, event) = client.conn.receive(now, &configured.patience(), rest);
                    let is_event = event.is_some();
                    if let Some(event) = event {
                        self.handle_client_event(now, conn, event);
                    }
                    (used, is_event)
                }
                Role::Tunnel(_) => (self.pass_through(now, conn, rest), false),
                Role::Errand(_) => return input.len(),
            };
            used_up += used;
            if !is_event && (used == 0 || used_up >= input.len()) {
                return used_up;
            }
        }
    }

    fn consume_leftover(&mut self, now: Now, conn: ConnId) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let mut bytes = mem::take(&mut slot.leftover);
        let used = self.consume(now, conn, &mut bytes);
        let Some(slot) = self.slots.get_mut(conn) else { return };
        slot.leftover = if used >= bytes.len() {
            Vec::new()
        } else {
            bytes.drain(..used);
            bytes
        };
    }

    /// Work that other work left behind: bytes that can be used now, mail to ourselves, a piece of the fan-out.
    pub(super) fn work(&mut self, now: Now) {
        let mut budget = FAN_OUT;
        loop {
            if let Some(conn) = self.resumed.pop_front() {
                self.lend(conn);
                self.consume_leftover(now, conn);
                self.settle(now, conn);
            } else if let Some(client) = self.released.pop_front() {
                self.keep(now, client);
            } else if let Some(mail) = self.loopback.pop_front() {
                self.handle_mail_now(now, mail);
            } else if budget > 0 && self.subscribers.is_pending() {
                budget = budget.saturating_sub(self.fan_out(now, budget));
            } else {
                break;
            }
        }
        self.say_drained();
    }

    /// Gives a connection storage for its send queue, if it has none.
    pub(super) fn lend(&mut self, conn: ConnId) {
        if let Some(slot) = self.slots.get_mut(conn) {
            self.storage.lend(slot.outbox());
        }
    }

    /// A client has gone in the middle of something.
    fn abandon(&mut self, now: Now, conn: ConnId, peer: Option<SocketAddr>, mut server: Server) {
        if let Some(line) = &mut server.line
            // Nothing else ends a stream.
            && !matches!(server.exchange, Exchange::Stream(_))
        {
            line.reason = Some("the connection ended before the answer".into());
        }
        self.log(now, peer, &mut server);
        match server.exchange {
            Exchange::Sending(sending) => self.close_file(sending.file),
            Exchange::Poll(poll) => self.leave_poll(*poll),
            Exchange::Stream(stream) => self.leave(&stream.members),
            Exchange::Asking(asking) => self.abandon_call(now, conn, &asking.call),
            Exchange::Proxying(call) => self.abandon_call(now, conn, &call),
            Exchange::Greeting(greeting) => self.abandon_greeting(now, *greeting),
            Exchange::Api(_)
            | Exchange::Idle
            | Exchange::Opening(_)
            | Exchange::Publishing(_)
            | Exchange::Published(_)
            | Exchange::Entering(_)
            | Exchange::Counting(_)
            | Exchange::Verifying(_) => {}
        }
    }

    /// There is room in a connection's send queue: let its source go on.
    fn handle_room(&mut self, now: Now, conn: ConnId) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        if slot.wants_more() {
            self.resumed.push_back(conn);
        }
        match &mut slot.role {
            Role::Server(server) => match &server.exchange {
                Exchange::Sending(_) => self.send_file(now, conn),
                Exchange::Proxying(call) => {
                    if let Some(client) = call.client() {
                        self.resume_upstream(now, client);
                    }
                }
                Exchange::Api(_)
                | Exchange::Asking(_)
                | Exchange::Greeting(_)
                | Exchange::Idle
                | Exchange::Opening(_)
                | Exchange::Poll(_)
                | Exchange::Publishing(_)
                | Exchange::Published(_)
                | Exchange::Stream(_)
                | Exchange::Entering(_)
                | Exchange::Counting(_)
                | Exchange::Verifying(_) => {}
            },
            Role::Client(client) => {
                if let Purpose::Call(downstream) = client.purpose
                    && client.conn.is_connected()
                {
                    self.resume_downstream(now, downstream);
                }
            }
            Role::Tunnel(tunnel) => {
                let other = tunnel.other;
                self.resume_tunnel(now, other);
            }
            Role::WebSocket(socket) => match socket.kind {
                SocketKind::Relay(relay) => self.resume_relay(now, relay),
                SocketKind::Calls | SocketKind::Echo | SocketKind::Refused | SocketKind::Session(_) => {
                    self.send_pending(now, conn);
                }
            },
            Role::Errand(_) => {}
        }
    }
}

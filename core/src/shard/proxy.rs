//! Requests to backends, and their answers.

use super::slot::{Client, Exchange, Role, Slot};
use super::{Address, Completion, ConnId, Effect, HIGH_WATER, IoError, LOW_WATER, Operation, Shard};
use crate::config::Proxy;
use crate::conn::{ClientConn, ClientEvent, Content};
use crate::handler::forward;
use crate::http1::{self, Fields, Framing, Method, RequestHead, ResponseHead, StatusCode};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};

impl Shard {
    pub(super) fn start_proxy(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        framing: Framing,
        (proxy, prefix): (&Proxy, &str),
    ) {
        // What a backend makes of `/a/../b` or `/a/%2e%2e/b` nobody knows; browsers never send it.
        if http1::has_dot_segment(head.target.path()) {
            return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the path of the request has dot segments");
        }
        if head.method == Method::Connect {
            return self.refuse(now, conn, StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served");
        }
        let target = forward::target(&head.target, prefix, proxy.replace_prefix.as_deref());
        let (Some(upstream), Some(origin)) =
            (self.config.upstreams.get(proxy.upstream).cloned(), self.origin(conn, head))
        else {
            return;
        };
        let edits = self.request_edits(conn, head);
        let Some(client_id) = self.take_client(now, proxy.upstream) else {
            return self.refuse(now, conn, StatusCode::SERVICE_UNAVAILABLE, "the backend has no free connection");
        };
        let silence = self.config.limits.upstream_timeout;
        let Self { slots, timeouts, .. } = self;
        let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(client_id) else { return };
        let is_reused = client.conn.is_connected();
        let sent = client.conn.request(head.method, &target, framing, |out| {
            forward::request(head, &origin, &upstream.host, out)?;
            edits.apply(out)
        });
        if sent.is_err() {
            // Only a field that we would not have accepted can do that.
            client.conn.abort();
            return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the request cannot be passed on");
        }
        // RFC 9110 §9.2.2, RFC 9112 §9.3.1: the server may have closed an idle connection while the request was on its way.
        let may_retry = is_reused && framing == Framing::Empty && head.method.is_idempotent();
        client.retry = may_retry.then(|| {
            let mut slices: [&[u8]; 4] = [&[]; 4];
            let filled = client.conn.unsent().slices(&mut slices);
            Bytes::from(slices.get(..filled).unwrap_or_default().concat())
        });
        client.downstream = Some(conn);
        client.is_answered = false;
        client.is_head = head.method == Method::Head;
        client.wants_upgrade = head.upgrade().is_some();
        client.conn.sent(now, timeouts, silence);
        if let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn) {
            server.exchange = Exchange::Proxying(client_id);
            server.conn.send_continue(now, timeouts);
        }
        self.settle(now, client_id);
    }

    /// A connection to the backend: idle or new. `None`: there is no room for another.
    fn take_client(&mut self, now: Now, upstream: usize) -> Option<ConnId> {
        while let Some(conn) = self.pools.get_mut(upstream)?.take_idle() {
            if let Some(Slot { role: Role::Client(client), .. }) = self.slots.get(conn)
                && !client.conn.interest().close
            {
                return Some(conn);
            }
        }
        if self.slots.len() >= self.config.limits.connections
            || !self.pools.get_mut(upstream)?.open(self.config.limits.upstream_connections)
        {
            return None;
        }
        let conn = ClientConn::new(self.http, now.instant + self.config.limits.connect_timeout);
        let client = Client {
            conn,
            upstream,
            downstream: None,
            retry: None,
            is_answered: false,
            wants_upgrade: false,
            is_head: false,
        };
        let conn = self.slots.insert(Slot::new(Role::Client(Box::new(client)), None));
        self.connect(now, conn, upstream);
        Some(conn)
    }

    fn connect(&mut self, now: Now, conn: ConnId, upstream: usize) {
        let config = Arc::clone(&self.config);
        let (Some(to), Some(pool)) = (config.upstreams.get(upstream), self.pools.get_mut(upstream)) else { return };
        if let Ok(ip) = to.host.parse::<IpAddr>() {
            return self.effects.push_back(connect(conn, SocketAddr::new(ip, to.port)));
        }
        if let Some(address) = pool.address(now.instant) {
            return self.effects.push_back(connect(conn, address));
        }
        if pool.wait(conn) {
            let op = self.next_op(Operation::Resolve(upstream));
            self.effects.push_back(Effect::Resolve { op, host: to.host.clone(), port: to.port });
        }
    }

    pub(super) fn handle_resolved(&mut self, now: Now, upstream: usize, result: Result<Completion, IoError>) {
        let addresses = match result {
            Ok(Completion::Resolved(addresses)) => addresses,
            Ok(_) | Err(_) => alloc::vec::Vec::new(),
        };
        let until = now.instant + self.config.limits.resolve_ttl;
        let Some(pool) = self.pools.get_mut(upstream) else { return };
        for (conn, address) in pool.resolved(addresses, until) {
            match address {
                Some(to) => self.effects.push_back(connect(conn, to)),
                None => self.handle_closed(now, conn, Some(IoError::NotFound)),
            }
        }
    }

    /// The host has opened a connection, as [`Effect::Connect`] asked.
    pub fn handle_connected(&mut self, now: Now, conn: ConnId) {
        let silence = self.config.limits.upstream_timeout;
        let Self { slots, timeouts, .. } = self;
        if let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(conn) {
            client.conn.handle_connected(now, timeouts, silence);
        }
        self.settle(now, conn);
        self.work(now);
    }

    pub(super) fn forward_content(&mut self, now: Now, conn: ConnId, upstream: ConnId, data: &[u8]) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) else { return };
        client.conn.send_content(data);
        let is_full = client.conn.unsent().len() > HIGH_WATER;
        client.conn.sent(now, &self.timeouts, self.config.limits.upstream_timeout);
        if is_full && let Some(server) = self.server(conn) {
            server.conn.pause();
        }
        self.settle(now, upstream);
    }

    pub(super) fn forward_end(&mut self, now: Now, upstream: ConnId, trailers: Option<&Fields<'_>>) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) else { return };
        client.conn.end(trailers);
        client.conn.sent(now, &self.timeouts, self.config.limits.upstream_timeout);
        self.settle(now, upstream);
    }

    /// The backend takes request content again.
    pub(super) fn resume_downstream(&mut self, now: Now, conn: ConnId) {
        let Self { slots, timeouts, .. } = self;
        if let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn) {
            server.conn.resume(now, timeouts);
            self.resume(conn);
            self.settle(now, conn);
        }
    }

    /// The client takes response content again.
    pub(super) fn resume_upstream(&mut self, now: Now, upstream: ConnId) {
        let silence = self.config.limits.upstream_timeout;
        if let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) {
            client.conn.resume(now, silence);
            self.resume(upstream);
            self.settle(now, upstream);
        }
    }

    pub(super) fn handle_client_event(&mut self, now: Now, upstream: ConnId, event: ClientEvent<'_>) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) else { return };
        let Some(conn) = client.downstream else { return client.conn.abort() };
        client.retry = None;
        match event {
            ClientEvent::Response(head, framing) => self.forward_response(now, conn, upstream, &head, framing),
            ClientEvent::Content(data) => {
                self.lend(conn);
                let Self { slots, timeouts, .. } = self;
                let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn) else { return };
                server.conn.send_content(now, timeouts, data);
                if let Some(line) = &mut server.line {
                    line.bytes += data.len() as u64;
                }
                let is_full = server.conn.unsent().len() > HIGH_WATER;
                if is_full && let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(upstream) {
                    client.conn.pause();
                }
                self.settle(now, conn);
            }
            ClientEvent::End(trailers) => self.finish_proxy(now, conn, upstream, trailers.as_ref()),
            ClientEvent::Failed(_) => self.fail_proxy(now, upstream, StatusCode::BAD_GATEWAY),
        }
    }

    fn forward_response(
        &mut self,
        now: Now,
        conn: ConnId,
        upstream: ConnId,
        head: &ResponseHead<'_>,
        framing: Framing,
    ) {
        self.lend(conn);
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) else { return };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if client.wants_upgrade {
                self.switch(now, conn, upstream, head);
            } else {
                // RFC 9110 §7.8: nobody asked.
                self.fail_proxy(now, upstream, StatusCode::BAD_GATEWAY);
            }
            return;
        }
        if head.status.is_informational() {
            // RFC 9110 §15.2: passed on, except the 100 that we have answered ourselves.
            if head.status != StatusCode::CONTINUE
                && let Some(server) = self.server(conn)
            {
                let _ = server.conn.respond_interim(head.status, |out| forward::response(head, Framing::Chunked, out));
                self.settle(now, conn);
            }
            return;
        }
        let is_head = client.is_head;
        if let Some(Slot { role: Role::Server(server), .. }) = self.slots.get(conn)
            && server.shape.intercepts(&self.config, head.status)
        {
            return self.replace_error(now, conn, head);
        }
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) else { return };
        client.is_answered = true;
        let content = match framing {
            Framing::Length(length) => Content::Length(length),
            // RFC 9110 §8.6: the length that the content would have.
            Framing::Empty if is_head || head.status.forbids_content() => Content::None,
            Framing::Empty => Content::Full(b""),
            Framing::Chunked | Framing::UntilClose => Content::Stream,
        };
        self.update_date(now);
        let Self { slots, timeouts, config, date: (date, _), .. } = self;
        let Some(Slot { role: Role::Server(server), listener, .. }) = slots.get_mut(conn) else { return };
        if let Some(line) = &mut server.line {
            line.status = head.status.as_u16();
        }
        let id = server.id.hyphenated().to_string();
        let has_date = head.fields.get("date").is_some();
        let keeps_length = is_head || head.status == StatusCode::NOT_MODIFIED;
        let sent = server.conn.respond(now, timeouts, head.status, content, |out| {
            forward::response(head, if keeps_length { Framing::Empty } else { Framing::Chunked }, out)?;
            if !has_date {
                out.field("date", date)?;
            }
            out.field("x-barium", id.as_bytes())?;
            server.shape.apply(config, *listener, out);
            Ok(())
        });
        if sent.is_err() {
            return self.fail_proxy(now, upstream, StatusCode::BAD_GATEWAY);
        }
        self.settle(now, conn);
    }

    fn switch(&mut self, now: Now, conn: ConnId, upstream: ConnId, head: &ResponseHead<'_>) {
        let Self { slots, timeouts, config, .. } = self;
        let Some(Slot { role: Role::Server(server), listener, .. }) = slots.get_mut(conn) else { return };
        let id = server.id.hyphenated().to_string();
        if let Some(line) = &mut server.line {
            line.status = 101;
        }
        let switched = server.conn.switch_protocols(now, timeouts, |out| {
            forward::upgrade(head, out)?;
            out.field("x-barium", id.as_bytes())?;
            server.shape.apply(config, *listener, out);
            Ok(())
        });
        if switched.is_err() {
            return self.fail_proxy(now, upstream, StatusCode::BAD_GATEWAY);
        }
        server.exchange = Exchange::Idle;
        self.finish(now, conn);
        if let Some(Slot { role: Role::Client(client), .. }) = self.slots.get(upstream)
            && let Some(pool) = self.pools.get_mut(client.upstream)
        {
            // A tunnel never comes back to the pool.
            pool.closed(upstream);
        }
        self.open_tunnel(now, conn, upstream);
    }

    /// The response is complete; the connection is kept if both sides of the exchange were clean.
    fn finish_proxy(&mut self, now: Now, conn: ConnId, upstream: ConnId, trailers: Option<&Fields<'_>>) {
        let Self { slots, timeouts, .. } = self;
        if let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn) {
            server.conn.end(now, timeouts, trailers);
            server.exchange = Exchange::Idle;
        }
        self.finish(now, conn);
        let limits = &self.config.limits;
        let (idle, idle_until) = (limits.upstream_idle, now.instant + limits.upstream_idle_timeout);
        let Some(Slot { role: Role::Client(client), leftover, .. }) = self.slots.get_mut(upstream) else { return };
        client.downstream = None;
        if self.shutdown.is_none() && leftover.is_empty() && client.conn.reuse() {
            client.conn.idle_until(idle_until);
            let surplus = self.pools.get_mut(client.upstream).and_then(|pool| pool.keep(upstream, idle));
            if let Some(surplus) = surplus
                && let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(surplus)
            {
                client.conn.abort();
                self.settle(now, surplus);
            }
        } else {
            client.conn.abort();
        }
        self.settle(now, upstream);
    }

    /// The exchange cannot be completed: an error if nothing was said yet, a cut connection otherwise.
    pub(super) fn fail_proxy(&mut self, now: Now, upstream: ConnId, status: StatusCode) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) else { return };
        client.conn.abort();
        let (downstream, is_answered) = (client.downstream.take(), client.is_answered);
        self.settle(now, upstream);
        let Some(conn) = downstream else { return };
        let Some(server) = self.server(conn) else { return };
        server.exchange = Exchange::Idle;
        self.lend(conn);
        if is_answered {
            self.finish(now, conn);
            return self.abort(now, conn);
        }
        let reason = match status {
            StatusCode::GATEWAY_TIMEOUT => "the backend did not answer in time",
            _ => "the backend cannot be reached, or its answer cannot be read",
        };
        self.refuse(now, conn, status, reason);
    }

    /// The client has gone, or was answered otherwise: the backend's answer is of no use.
    pub(super) fn abandon_upstream(&mut self, now: Now, upstream: ConnId) {
        if let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) {
            client.downstream = None;
            client.conn.abort();
        }
        self.settle(now, upstream);
    }

    pub(super) fn handle_upstream_eof(&mut self, now: Now, upstream: ConnId) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) else { return };
        if client.retry.is_some() {
            return client.conn.abort();
        }
        match client.conn.handle_eof() {
            Some(event) if client.downstream.is_some() => self.handle_client_event(now, upstream, event),
            Some(_) | None => {}
        }
    }

    pub(super) fn handle_upstream_deadline(&mut self, now: Now, upstream: ConnId) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) else { return };
        if client.conn.handle_timeout(now) && client.downstream.is_some() {
            client.retry = None;
            self.fail_proxy(now, upstream, StatusCode::GATEWAY_TIMEOUT);
        }
    }

    /// The connection is gone. A request that was sent over a connection that had been idle, and may be repeated, goes
    /// over a new one.
    pub(super) fn handle_upstream_closed(&mut self, now: Now, upstream: ConnId, error: Option<IoError>) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(upstream) else { return };
        let Some(conn) = client.downstream else { return };
        let (retry, index, is_head, wants) =
            (client.retry.take(), client.upstream, client.is_head, client.wants_upgrade);
        let Some(request) = retry else {
            let status = match error {
                Some(IoError::TimedOut) => StatusCode::GATEWAY_TIMEOUT,
                Some(_) | None => StatusCode::BAD_GATEWAY,
            };
            return self.fail_proxy(now, upstream, status);
        };
        client.downstream = None;
        let fresh = self.pools.get_mut(index).map(|pool| pool.drain_idle());
        for idle in fresh.into_iter().flatten() {
            // They are as old as this one was.
            self.abandon_upstream(now, idle);
        }
        let Some(again) = self.take_client(now, index) else {
            if let Some(server) = self.server(conn) {
                server.exchange = Exchange::Idle;
            }
            return self.refuse(now, conn, StatusCode::SERVICE_UNAVAILABLE, "the backend has no free connection");
        };
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(again) else { return };
        client.conn.repeat(request, if is_head { Method::Head } else { Method::Get });
        (client.downstream, client.is_head, client.wants_upgrade) = (Some(conn), is_head, wants);
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Proxying(again);
        }
        self.settle(now, again);
    }
}

const _: () = assert!(LOW_WATER < HIGH_WATER);

fn connect(conn: ConnId, to: SocketAddr) -> Effect {
    Effect::Connect { conn, to: Address::Tcp(to), tls: None }
}

//! The backend's answer on its way to the client, with back-pressure.

use super::super::relay::{Agreement, Handshakes};
use super::super::reload::CHANGED;
use super::super::slot::{Exchange, Role, Slot};
use super::super::{ConnId, HIGH_WATER, LOW_WATER, Shard};
use super::Purpose;
use super::retry::Failure;
use crate::conn::{ClientEvent, Content};
use crate::handler::forward;
use crate::handler::origin::write_id;
use crate::http1::{Fields, Framing, HeadWriter, ResponseHead, StatusCode};
use crate::time::Now;
use alloc::boxed::Box;

/// Content of an answer that is read to its end although nobody wants it (bytes).
const DRAINED: u64 = 64 * 1024;

impl Shard {
    pub(in crate::shard) fn handle_client_event(&mut self, now: Now, client_id: ConnId, event: ClientEvent<'_>) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(client_id) else { return };
        let conn = match client.purpose {
            Purpose::Call(conn) => conn,
            Purpose::Probe => return self.handle_probe_event(now, client_id, &event),
            Purpose::Drain => {
                return match event {
                    ClientEvent::End(_) => self.release(client_id),
                    ClientEvent::Content(_) => {}
                    ClientEvent::Response(..) | ClientEvent::Failed(_) => _ = self.drop_client(now, client_id),
                };
            }
            Purpose::Idle => return client.conn.abort(),
        };
        match event {
            ClientEvent::Response(head, framing) => {
                if !head.status.is_informational() {
                    self.note_success(client_id);
                    self.note_server(now, conn, client_id);
                }
                if self.is_errand(conn) {
                    return self.note_errand_head(now, conn, client_id, &head);
                }
                let is_asking = self.server(conn).is_some_and(|server| matches!(server.exchange, Exchange::Asking(_)));
                if is_asking {
                    self.take_answer(now, conn, client_id, &head, framing);
                } else {
                    self.forward_response(now, conn, client_id, &head, framing);
                }
            }
            ClientEvent::Content(data) if self.is_errand(conn) => self.note_errand_content(now, conn, client_id, data),
            ClientEvent::Content(data) => {
                self.lend(conn);
                let Self { slots, timeouts, .. } = self;
                let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn) else { return };
                server.conn.send_content(now, timeouts, data);
                if let Some(line) = &mut server.line {
                    line.bytes += data.len() as u64;
                }
                // With its last byte the connection is ready for the next request: the end must not wait for room.
                let is_full = server.conn.is_responding() && server.conn.unsent().len() > HIGH_WATER;
                if is_full && let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(client_id) {
                    client.conn.pause();
                }
                self.settle(now, conn);
            }
            ClientEvent::End(_) if self.is_errand(conn) => self.finish_errand(now, conn, client_id),
            ClientEvent::End(trailers) => self.finish_proxy(now, conn, client_id, trailers.as_ref()),
            ClientEvent::Failed(error) => self.fail_client(now, client_id, Failure::Unreadable(error)),
        }
    }

    fn forward_response(
        &mut self,
        now: Now,
        conn: ConnId,
        client_id: ConnId,
        head: &ResponseHead<'_>,
        framing: Framing,
    ) {
        self.lend(conn);
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get(client_id) else { return };
        let is_request_sent = client.conn.is_request_sent();
        if head.status.as_u16() > 599 {
            // RFC 9110 §15: invalid, and to be treated as a server's error.
            return self.fail_client(now, client_id, Failure::Unusable);
        }
        let Some(call) = self.call(conn) else { return };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let is_wanted = call.upgrade.as_deref().is_some_and(|wanted| forward::is_switch_to(head, wanted));
            if !is_wanted || !is_request_sent {
                // RFC 9110 §7.8: nobody asked, or not before the request is complete.
                return self.fail_client(now, client_id, Failure::Unusable);
            }
            if call.is_past {
                return self.refuse(now, conn, StatusCode::SERVICE_UNAVAILABLE, CHANGED);
            }
            let verified = call.websocket.as_ref().map(|handshakes| handshakes.verify(head)).transpose();
            let Ok(agreement) = verified else { return self.fail_client(now, client_id, Failure::Unusable) };
            let websocket = call.websocket.take().zip(agreement);
            return self.switch(now, [conn, client_id], head, websocket);
        }
        if head.status.is_informational() {
            // RFC 9110 §15.2: passed on, except the 100 that we answer ourselves.
            let Self { slots, timeouts, .. } = self;
            if head.status != StatusCode::CONTINUE
                && let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn)
            {
                let fields = |out: &mut HeadWriter<'_>| forward::response(head, Framing::Chunked, out);
                let _ = server.conn.respond_interim(now, timeouts, head.status, fields);
                self.settle(now, conn);
            }
            return;
        }
        let is_head = call.message.is_head;
        if let Some(Slot { role: Role::Server(server), .. }) = self.slots.get(conn)
            && server.shape.intercepts(&self.config, head.status)
        {
            self.discard_answer(now, client_id, framing);
            return self.replace_error(now, conn, head);
        }
        if let Some(call) = self.call(conn) {
            call.is_answered = true;
        }
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
        let has_date = head.fields.get("date").is_some();
        let keeps_length = is_head || head.status == StatusCode::NOT_MODIFIED;
        let sent = server.conn.respond(now, timeouts, head.status, content, |out| {
            forward::response(head, if keeps_length { Framing::Empty } else { Framing::Chunked }, out)?;
            if !has_date {
                out.field("date", date)?;
            }
            write_id(server.id, out)?;
            server.shape.apply(config, *listener, out);
            Ok(())
        });
        if sent.is_err() {
            if let Some(call) = self.call(conn) {
                call.is_answered = false;
            }
            return self.fail_client(now, client_id, Failure::Unusable);
        }
        self.settle(now, conn);
    }

    /// Nobody wants the rest of an answer. If it is short, the connection will be of use again.
    pub(super) fn discard_answer(&mut self, now: Now, client_id: ConnId, framing: Framing) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(client_id) else { return };
        let Some(configured) = self.config.upstreams.get(client.upstream) else { return };
        if matches!(framing, Framing::Empty | Framing::Length(0..=DRAINED)) && client.conn.is_request_sent() {
            client.purpose = Purpose::Drain;
            client.conn.finish_by(now.instant + configured.idle_timeout);
            self.settle(now, client_id);
        } else {
            self.drop_client(now, client_id);
        }
    }

    /// With handshakes, and what came of them: WebSockets on both sides. Otherwise a tunnel.
    fn switch(
        &mut self,
        now: Now,
        [conn, client_id]: [ConnId; 2],
        head: &ResponseHead<'_>,
        websocket: Option<(Box<Handshakes>, Agreement)>,
    ) {
        let Self { slots, timeouts, config, .. } = self;
        let Some(Slot { role: Role::Server(server), listener, .. }) = slots.get_mut(conn) else { return };
        if let Some(line) = &mut server.line {
            line.status = 101;
        }
        let switched = server.conn.switch_protocols(now, timeouts, |out| {
            let response = |out: &mut HeadWriter<'_>| forward::response(head, Framing::Chunked, out);
            match &websocket {
                None => forward::upgrade(head, out)?,
                Some((handshakes, agreement)) => handshakes.write_response(agreement, out, response)?,
            }
            write_id(server.id, out)?;
            server.shape.apply(config, *listener, out);
            Ok(())
        });
        if switched.is_err() {
            return self.fail_client(now, client_id, Failure::Unusable);
        }
        server.exchange = Exchange::Idle;
        self.keep_grant(conn);
        self.finish(now, conn);
        if let Some(Slot { role: Role::Client(client), .. }) = self.slots.get(client_id) {
            let (index, endpoint) = (client.upstream, client.endpoint);
            if let Some(upstream) = self.upstreams.get_mut(index) {
                // A tunnel never comes back to the pool.
                upstream.closed(endpoint, client_id);
            }
            match websocket {
                None => self.open_tunnel(now, conn, client_id),
                Some((handshakes, agreement)) => self.open_relay(now, [conn, client_id], *handshakes, agreement),
            }
            self.pump(now, index);
        }
    }

    /// The response is complete.
    fn finish_proxy(&mut self, now: Now, conn: ConnId, client_id: ConnId, trailers: Option<&Fields<'_>>) {
        let Self { slots, timeouts, .. } = self;
        if let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn) {
            server.conn.end(now, timeouts, trailers);
            server.exchange = Exchange::Idle;
        }
        self.release(client_id);
        self.finish(now, conn);
    }

    /// Who has answered, or failed, for the log.
    pub(super) fn note_server(&mut self, now: Now, conn: ConnId, client_id: ConnId) {
        let Self { slots, upstreams, .. } = self;
        let Some(Slot { role: Role::Client(client), .. }) = slots.get(client_id) else { return };
        let (took, index, endpoint) = (now.instant.duration_since(client.since), client.upstream, client.endpoint);
        if let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn)
            && let Some(line) = &mut server.line
            && let Some(of) = upstreams.get(index).and_then(|upstream| upstream.endpoint(endpoint))
        {
            line.server = Some((of.address().clone(), took));
        }
    }

    /// The server has given an answer.
    fn note_success(&mut self, client_id: ConnId) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get(client_id) else { return };
        let of = self.upstreams.get_mut(client.upstream).and_then(|upstream| upstream.endpoint_mut(client.endpoint));
        if let Some(of) = of {
            of.health.succeeded();
        }
    }
}

const _: () = assert!(LOW_WATER < HIGH_WATER);

//! Whether servers are up: requests of our own, and what is said when it changes.

use super::super::slot::{Role, Slot};
use super::super::{ConnId, Effect, Notice, Shard};
use super::Purpose;
use super::call::EndpointId;
use crate::config::HealthCheck;
use crate::conn::{ClientEvent, Message, earlier, encode_request};
use crate::http1::{FieldLines, Framing, Method, StatusCode};
use crate::proxy_protocol;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// A connection for one question: whether the server accepts connections is a part of it.
const PROBE: FieldLines = FieldLines::new("user-agent: brolly\r\naccept: */*\r\nconnection: close\r\n");

impl HealthCheck {
    fn is_good(&self, status: StatusCode) -> bool {
        if self.status.is_empty() { status.is_success() } else { self.status.contains(&status) }
    }
}

impl Shard {
    /// What upstreams want from time to time, if it is time: look-ups and probes.
    pub(in crate::shard) fn keep_up(&mut self, now: Now) {
        if self.upkeep.is_none_or(|at| at > now.instant) || self.shutdown.is_some() {
            return;
        }
        let config = Arc::clone(&self.config);
        for (index, configured) in config.upstreams.iter().enumerate() {
            let Some(check) = &configured.health else { continue };
            self.look_up(now, index);
            loop {
                let Self { upstreams, rng, .. } = self;
                let due = upstreams.get_mut(index).and_then(|of| of.due_probe(now.instant, check.interval, rng));
                let Some(endpoint) = due else { break };
                self.probe(now, index, endpoint, check);
            }
        }
        self.plan_upkeep(now);
    }

    /// When [`keep_up`](Self::keep_up) has something to do. Not in the past, or everybody waits for it.
    pub(super) fn plan_upkeep(&mut self, now: Now) {
        let checked =
            self.config.upstreams.iter().zip(&self.upstreams).filter(|(configured, _)| configured.health.is_some());
        let next = checked.filter_map(|(_, upstream)| upstream.next_probe()).min();
        let is_new = |at: crate::time::Instant| at.max(now.instant);
        self.upkeep = earlier(self.upkeep.filter(|at| *at > now.instant), next.map(is_new));
    }

    /// One question over a connection of its own, which counts for nothing else.
    fn probe(&mut self, now: Now, index: usize, endpoint: EndpointId, check: &HealthCheck) {
        let config = Arc::clone(&self.config);
        let Some(configured) = config.upstreams.get(index) else { return };
        let Some(of) = self.upstreams.get(index).and_then(|upstream| upstream.endpoint(endpoint)) else { return };
        let (address, server) = (of.address().clone(), of.server());
        let authority = configured.authority(server);
        let out = &mut self.scratch;
        let encoded = encode_request(out, Method::Get, &check.path, Framing::Empty, |head| {
            head.field("host", authority.as_bytes())?.lines(PROBE);
            Ok(())
        });
        let head = Bytes::copy_from_slice(out.tail());
        out.tail().clear();
        if encoded.is_err() || self.slots.len() >= config.limits.connections {
            // Nothing is known.
            if let Some(of) = self.upstreams.get_mut(index).and_then(|upstream| upstream.endpoint_mut(endpoint)) {
                of.end_probe();
            }
            return;
        }
        // The connection is our own.
        let preface = if configured.proxy_protocol { proxy_protocol::encode(None) } else { Vec::new() };
        let client_id = self.open(now, configured, (index, endpoint), (address, preface));
        let Self { slots, timeouts, .. } = self;
        let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(client_id) else { return };
        client.is_counted = false;
        client.purpose = Purpose::Probe;
        client.conn.request(&Message { head, framing: Framing::Empty, is_head: false, content: None }, None);
        client.conn.finish_by(now.instant + check.timeout);
        client.conn.sent(now, timeouts, &configured.patience());
        self.settle(now, client_id);
    }

    /// What a server says to a probe.
    pub(super) fn handle_probe_event(&mut self, now: Now, client_id: ConnId, event: &ClientEvent<'_>) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get(client_id) else { return };
        let configured = self.config.upstreams.get(client.upstream);
        // A new configuration may ask this server nothing more.
        let Some(check) = configured.and_then(|configured| configured.health.as_ref()) else {
            self.drop_client(now, client_id);
            return;
        };
        match event {
            ClientEvent::Response(head, _) if head.status.is_informational() => {}
            ClientEvent::Response(head, _) => {
                let is_good = check.is_good(head.status);
                self.end_probe(now, client_id, is_good);
                self.drop_client(now, client_id);
            }
            ClientEvent::Content(_) | ClientEvent::End(_) | ClientEvent::Failed(_) => {
                self.end_probe(now, client_id, false);
                self.drop_client(now, client_id);
            }
        }
    }

    /// A probe is over.
    pub(super) fn end_probe(&mut self, now: Now, client_id: ConnId, is_good: bool) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get(client_id) else { return };
        let (index, endpoint) = (client.upstream, client.endpoint);
        let config = Arc::clone(&self.config);
        let Some(configured) = config.upstreams.get(index) else { return };
        let Some(of) = self.upstreams.get_mut(index).and_then(|upstream| upstream.endpoint_mut(endpoint)) else {
            return;
        };
        of.end_probe();
        if of.health.probed(now.instant, is_good, &configured.rules).is_some() {
            self.note_state(now, index, endpoint);
        }
        self.plan_upkeep(now);
    }

    /// A server is up, down or rests from now on.
    pub(super) fn note_state(&mut self, now: Now, index: usize, endpoint: EndpointId) {
        let of = self.upstreams.get(index).and_then(|upstream| upstream.endpoint(endpoint));
        if let (Some(of), Some(configured)) = (of, self.config.upstreams.get(index)) {
            let (upstream, server, state) = (configured.name.clone(), of.address().clone(), of.state(now.instant));
            self.effects.push_back(Effect::Notice(Box::new(Notice { at: now, upstream, server, state })));
        }
    }
}

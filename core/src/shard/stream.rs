//! Event streams: opening, replay, heartbeat, end.

use super::changes::Address;
use super::follow::{Members, TOO_SLOW};
use super::slot::{Exchange, Role};
use super::{ConnId, Shard};
use crate::conn::Content;
use crate::handler::follow::{Since, write_recovery};
use crate::http1::{FieldLines, Method, RequestHead, StatusCode};
use crate::pubsub::{Joined, MemberId, Recovery, Subscribers, Topic};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

const EVENT_STREAM: FieldLines = FieldLines::new(
    "content-type: text/event-stream\r\ncache-control: no-store, no-transform\r\nx-accel-buffering: no\r\n",
);

/// An open event stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) members: Members,
    pub(super) joining: usize,
    pub(super) since: Since,
    /// Only of a stream that can be changed.
    pub(super) address: Option<Box<Address>>,
    /// When a comment is due.
    pub(super) heartbeat: Instant,
}

impl Shard {
    pub(super) fn start_stream(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>) {
        let Some(wanted) = self.wanted(now, conn, head) else { return };
        let is_head = head.method == Method::Head;
        let content = if is_head { Content::None } else { Content::UntilClose };
        self.respond(now, conn, StatusCode::OK, content, |head| {
            head.lines(EVENT_STREAM);
        });
        if is_head {
            return self.finish(now, conn);
        }
        let heartbeat = now.instant + self.config.limits.heartbeat;
        let members = self.follow(conn, &wanted.topics, &wanted.since);
        let address = wanted.address.then(|| self.address(conn, &members, &wanted.since));
        let stream = Stream { joining: members.len(), members, since: wanted.since, address, heartbeat };
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Stream(Box::new(stream));
        }
        self.write_event(now, conn, b":\n\n");
        self.tell_address(now, conn, head.target.path());
        self.end_if_shutting_down(now, conn);
    }

    pub(super) fn joined_stream(&mut self, now: Now, conn: ConnId, member: MemberId, topic: &Topic, joined: &Joined) {
        let Some(Exchange::Stream(stream)) = self.server(conn).map(|server| &mut server.exchange) else { return };
        stream.joining -= 1;
        let (is_last, members, recovery) = (stream.joining == 0, stream.members.clone(), stream.since.recovery(joined));
        let mut out = Vec::new();
        if let Some(recovery) = recovery {
            out.extend_from_slice(b"event: brolly.recovery\ndata: ");
            write_recovery(topic, recovery, &mut out);
            out.extend_from_slice(b"\n\n");
            self.write_event(now, conn, &out);
            if let Recovery::Gap { to, .. } = recovery {
                self.subscribers.catch_up(member, to.offset);
            }
        }
        for message in &joined.missed {
            if self.is_slow(conn, message.sse.len()) {
                // It comes back from the last event that it has read, and gets the next part. The home has counted it.
                self.leave_home(topic.clone());
                return self.end_stream(now, conn, TOO_SLOW);
            }
            self.subscribers.catch_up(member, message.position.offset);
            out.clear();
            if members.len() > 1 {
                write_id(&self.subscribers, &members, &mut out);
                out.extend_from_slice(&message.sse_data);
            } else {
                out.extend_from_slice(&message.sse);
            }
            self.write_event(now, conn, &out);
        }
        self.subscribers.joined(member, joined.position);
        if is_last {
            self.tell_position(now, conn, &members);
        }
    }

    /// An event without data is not dispatched, but its id counts (WHATWG HTML §9.2.6): whoever leaves before the first
    /// message comes back with a position.
    pub(super) fn tell_position(&mut self, now: Now, conn: ConnId, members: &[MemberId]) {
        let mut out = Vec::new();
        write_id(&self.subscribers, members, &mut out);
        out.push(b'\n');
        self.write_event(now, conn, &out);
    }

    /// Ends an event stream with `event: brolly.end`, which says why; the client comes back after a second, with the id of the last
    /// event. To a slow reader that goes behind all that it has not read (one short event beyond its cap).
    pub(super) fn end_stream(&mut self, now: Now, conn: ConnId, reason: &'static str) {
        let Some(server) = self.server(conn) else { return };
        let Exchange::Stream(stream) = &mut server.exchange else { return };
        if let Some(line) = &mut server.line {
            line.reason = Some(reason.into());
        }
        let members = core::mem::take(&mut stream.members);
        self.leave(&members);
        let told = serde_json::json!({"reason": reason});
        self.write_event(now, conn, format!("event: brolly.end\nretry: 1000\ndata: {told}\n\n").as_bytes());
        let Self { slots, timeouts, .. } = self;
        if let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) {
            server.conn.end(now, timeouts, None);
        }
        self.finish(now, conn);
    }

    pub(super) fn send_heartbeat(&mut self, now: Now, conn: ConnId) {
        self.write_event(now, conn, b":\n\n");
    }

    pub(super) fn write_event(&mut self, now: Now, conn: ConnId, event: &[u8]) {
        let Self { slots, timeouts, config, .. } = self;
        let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        server.conn.send_content(now, timeouts, event);
        if let Exchange::Stream(stream) = &mut server.exchange {
            stream.heartbeat = now.instant + config.limits.heartbeat;
        }
        if let Some(line) = &mut server.line {
            line.bytes += event.len() as u64;
        }
    }
}

/// Appends an `id:` line that covers all of a stream's topics.
pub(super) fn write_id(subscribers: &Subscribers<ConnId>, members: &[MemberId], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(b"id: ");
    let empty = out.len();
    subscribers.token(members, out);
    if out.len() == empty {
        out.truncate(start);
    } else {
        out.push(b'\n');
    }
}

//! Event streams: opening, replay, heartbeat, end.

use super::changes::Address;
use super::follow::{Members, TOO_SLOW};
use super::gzip::{self, Gzip, Part};
use super::slot::{Exchange, Role};
use super::{ConnId, Shard};
use crate::conn::Content;
use crate::handler::files::{AcceptEncoding, Coding, Codings};
use crate::handler::follow::{Since, write_recovery};
use crate::http1::{FieldLines, Fields, Method, RequestHead, StatusCode};
use crate::pubsub::{Joined, MemberId, Message, Recovery, Subscribers, Topic};
use crate::time::{Instant, Now};
use crate::ws::deflate::Codec;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

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
    /// Only of one that is compressed.
    gzip: Option<Gzip>,
}

impl Stream {
    /// The bytes that stand for the next part of the stream.
    pub(super) fn encode<'e>(&mut self, codec: &mut Codec, plain: &'e [u8]) -> Cow<'e, [u8]> {
        match &mut self.gzip {
            Some(gzip) => gzip.piece(codec, plain).into(),
            None => plain.into(),
        }
    }

    /// The same for a part that others say too.
    pub(super) fn encode_shared<'m>(
        &mut self,
        codec: &mut Codec,
        shared: &'m mut gzip::Shared,
        message: &'m Arc<Message>,
        part: Part,
    ) -> &'m Bytes {
        match &mut self.gzip {
            Some(gzip) => gzip.shared(codec, shared, message, part),
            None => part.of(message),
        }
    }
}

impl Shard {
    pub(super) fn start_stream(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>, compress: bool) {
        let Some(wanted) = self.wanted(now, conn, head) else { return };
        let is_head = head.method == Method::Head;
        let content = if is_head { Content::None } else { Content::UntilClose };
        let compress = compress && Codec::IS_AVAILABLE;
        let gzip = (compress && takes_gzip(&head.fields)).then(Gzip::default);
        self.respond(now, conn, StatusCode::OK, content, |head| {
            head.lines(EVENT_STREAM);
            if compress {
                head.lines(FieldLines::new("vary: accept-encoding\r\n"));
            }
            if gzip.is_some() {
                head.lines(FieldLines::new("content-encoding: gzip\r\n"));
            }
        });
        if is_head {
            return self.finish(now, conn);
        }
        let heartbeat = now.instant + self.config.limits.heartbeat;
        let members = self.follow(conn, &wanted.topics, &wanted.since);
        let address = wanted.address.then(|| self.address(conn, &members, &wanted.since));
        let stream = Stream { joining: members.len(), members, since: wanted.since, address, heartbeat, gzip };
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Stream(Box::new(stream));
        }
        if gzip.is_some() {
            self.write_coded(now, conn, &gzip::HEADER);
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
        let gzip = match self.server(conn).map(|server| &server.exchange) {
            Some(Exchange::Stream(stream)) => stream.gzip,
            _ => None,
        };
        if let Some(gzip) = gzip {
            self.write_coded(now, conn, &gzip.end());
        }
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
        let Self { slots, config, codec, .. } = self;
        let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        let Exchange::Stream(stream) = &mut server.exchange else { return };
        stream.heartbeat = now.instant + config.limits.heartbeat;
        let coded = stream.encode(codec, event);
        self.write_coded(now, conn, &coded);
    }

    /// Writes what is coded as the stream is.
    fn write_coded(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        let Self { slots, timeouts, .. } = self;
        let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        server.conn.send_content(now, timeouts, bytes);
        if let Some(line) = &mut server.line {
            line.bytes += bytes.len() as u64;
        }
    }
}

fn takes_gzip(fields: &Fields<'_>) -> bool {
    let mut available = Codings::default();
    available.insert(Coding::Gzip);
    AcceptEncoding::new(fields).choose(available, [Coding::Gzip].into_iter()) == Coding::Gzip
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

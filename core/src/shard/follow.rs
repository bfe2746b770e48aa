//! Subscribers on all three transports: joining, what they missed, live delivery, leaving.

use super::slot::{Exchange, Role, Slot};
use super::{Agenda, ConnId, Mail, Shard};
use crate::arena::Arena;
use crate::conn::{Content, Timeouts, WebSocketConn};
use crate::handler::follow::{Since, Topics, Wanted, write_recovery};
use crate::http1::{FieldLines, Method, RequestHead, StatusCode};
use crate::outbox::Storage;
use crate::pubsub::{Delivery, Joined, MemberId, Message, Position, Positions, Recovery, Subscribers, Topic};
use crate::time::{Instant, Now};
use crate::ws::CloseCode;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use smallvec::SmallVec;

/// The subscriptions of one connection: one, nearly always.
pub(super) type Members = SmallVec<[MemberId; 1]>;

const EVENT_STREAM: FieldLines =
    FieldLines::new("content-type: text/event-stream\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n");

/// An open event stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) members: Members,
    pub(super) joining: usize,
    pub(super) since: Since,
    /// When a comment is due.
    pub(super) heartbeat: Instant,
}

/// A long-poll that waits.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) members: Members,
    pub(super) joining: usize,
    pub(super) since: Since,
    pub(super) until: Instant,
    pub(super) messages: Vec<Arc<Message>>,
    /// Members of a JSON array.
    pub(super) recovery: Vec<u8>,
    /// Topics whose home counts us although we never went live, because the answer was full.
    pub(super) full: Topics,
}

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) conn: WebSocketConn,
    pub(super) members: Members,
    pub(super) kind: SocketKind,
    /// What is not answered yet. No memory while there is nothing.
    pub(super) joins: Vec<Joining>,
    /// Publish calls that are not answered yet: the tag, and the meta object of the call.
    pub(super) publishes: Vec<(u64, Box<str>)>,
}

/// What a WebSocket is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SocketKind {
    Calls,
    Echo,
}

/// A WebSocket's subscriptions that are not answered yet: the answer comes first, then the messages.
#[derive(Debug)]
pub(super) struct Joining {
    /// The meta object of the call; none for the greeting.
    pub(super) meta: Option<Box<str>>,
    pub(super) members: Members,
    pub(super) waiting: usize,
    pub(super) since: Since,
    pub(super) starts: Positions,
    pub(super) recovery: Vec<u8>,
    pub(super) held: Vec<Arc<Message>>,
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
        let stream = Stream { joining: members.len(), members, since: wanted.since, heartbeat };
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Stream(Box::new(stream));
        }
        self.write_event(now, conn, b":\n\n");
    }

    pub(super) fn start_poll(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>) {
        let Some(wanted) = self.wanted(now, conn, head) else { return };
        let wait = wanted.wait.unwrap_or(Duration::from_secs(25)).min(self.config.limits.poll_wait);
        let members = self.follow(conn, &wanted.topics, &wanted.since);
        let poll = Poll {
            joining: members.len(),
            members,
            since: wanted.since,
            until: now.instant + wait,
            messages: Vec::new(),
            recovery: Vec::new(),
            full: Topics::new(),
        };
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Poll(Box::new(poll));
        }
    }

    fn wanted(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>) -> Option<Wanted> {
        let limit = self.config.limits.subscriptions;
        let reason = match Wanted::parse(head.target.query().unwrap_or_default(), &head.fields, limit) {
            Ok(wanted) if !wanted.topics.is_empty() => return Some(wanted),
            Ok(_) => "topic: at least one is wanted".into(),
            Err(reason) => reason,
        };
        self.refuse(now, conn, StatusCode::BAD_REQUEST, &reason);
        None
    }

    /// Asks the topics' homes to let the connection join.
    pub(super) fn follow(&mut self, conn: ConnId, topics: &[Topic], since: &Since) -> Members {
        let mut members = Members::new();
        for topic in topics {
            let since = since.position(topic, self.epoch);
            let member = self.subscribers.subscribe(conn, topic, since);
            let home = topic.home(self.shards);
            self.send(home, Mail::Join { from: self.number, conn, member, topic: topic.clone(), since });
            members.push(member);
        }
        members
    }

    /// Ends subscriptions, here and at their homes.
    pub(super) fn leave(&mut self, members: &[MemberId]) {
        for member in members {
            if let Some(topic) = self.subscribers.unsubscribe(*member) {
                self.leave_home(topic);
            }
        }
    }

    fn leave_home(&mut self, topic: Topic) {
        self.send(topic.home(self.shards), Mail::Leave { from: self.number, topic });
    }

    /// A topic's home let a subscriber in (or did not: no room).
    pub(super) fn handle_joined(
        &mut self,
        now: Now,
        conn: ConnId,
        member: MemberId,
        topic: Topic,
        joined: Option<Joined>,
    ) {
        if self.subscribers.topic(member).is_none() {
            // It has gone meanwhile; the home has counted it.
            if joined.is_some() {
                self.leave_home(topic);
            }
            return;
        }
        self.lend(conn);
        match self.slots.get(conn).map(|slot| &slot.role) {
            Some(Role::WebSocket(_)) => self.joined_socket(now, conn, member, &topic, joined),
            Some(Role::Server(server)) => match (&server.exchange, joined) {
                (Exchange::Stream(_), Some(joined)) => self.joined_stream(now, conn, member, &topic, &joined),
                (Exchange::Stream(_), None) => self.end_stream(now, conn),
                (Exchange::Poll(_), Some(joined)) => self.joined_poll(now, conn, member, topic, joined),
                (Exchange::Poll(_), None) => {
                    self.leave_poll(conn);
                    self.refuse(now, conn, StatusCode::SERVICE_UNAVAILABLE, "there are too many topics");
                }
                (
                    Exchange::Idle
                    | Exchange::Opening(_)
                    | Exchange::Sending(_)
                    | Exchange::Proxying(_)
                    | Exchange::Publishing(_)
                    | Exchange::Published(_),
                    _,
                ) => {}
            },
            Some(Role::Client(_) | Role::Tunnel(_)) | None => {}
        }
        self.settle(now, conn);
    }

    fn joined_stream(&mut self, now: Now, conn: ConnId, member: MemberId, topic: &Topic, joined: &Joined) {
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
                return self.end_stream(now, conn);
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
            // An event without data is not dispatched, but its id counts (WHATWG HTML §9.2.6): whoever leaves before the
            // first message comes back with a position.
            out.clear();
            write_id(&self.subscribers, &members, &mut out);
            out.push(b'\n');
            self.write_event(now, conn, &out);
        }
    }

    fn joined_poll(&mut self, now: Now, conn: ConnId, member: MemberId, topic: Topic, joined: Joined) {
        let Self { slots, subscribers, config, .. } = self;
        let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        let Exchange::Poll(poll) = &mut server.exchange else { return };
        poll.joining -= 1;
        let recovery = poll.since.recovery(&joined);
        if let Some(recovery) = recovery {
            if !poll.recovery.is_empty() {
                poll.recovery.push(b',');
            }
            write_recovery(&topic, recovery, &mut poll.recovery);
            if let Recovery::Gap { to, .. } = recovery {
                subscribers.catch_up(member, to.offset);
            }
            if recovery != Recovery::Resumed {
                poll.until = now.instant;
            }
        }
        let room = config.limits.poll_messages.saturating_sub(poll.messages.len());
        let is_full = joined.missed.len() > room;
        for message in joined.missed.into_iter().take(room) {
            subscribers.catch_up(member, message.position.offset);
            poll.messages.push(message);
        }
        if is_full {
            poll.full.push(topic);
        } else {
            subscribers.joined(member, joined.position);
        }
        if poll.joining == 0 && (!poll.messages.is_empty() || poll.until <= now.instant) {
            self.answer_poll(now, conn);
        }
    }

    /// Answers a long-poll with what there is.
    pub(super) fn answer_poll(&mut self, now: Now, conn: ConnId) {
        let Self { slots, subscribers, .. } = self;
        let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        let Exchange::Poll(poll) = &server.exchange else { return };
        let mut json = Vec::from(b"{\"position\":\"" as &[u8]);
        subscribers.token(&poll.members, &mut json);
        json.extend_from_slice(b"\",\"messages\":[");
        for (index, message) in poll.messages.iter().enumerate() {
            json.extend_from_slice(if index > 0 { b",{\"topic\":" } else { b"{\"topic\":" });
            json.extend_from_slice(serde_json::Value::from(message.topic.as_str()).to_string().as_bytes());
            json.extend_from_slice(b",\"data\":");
            json.extend_from_slice(&message.json);
            json.push(b'}');
        }
        json.extend_from_slice(b"],\"recovery\":");
        if poll.since.is_resume() {
            json.push(b'[');
            json.extend_from_slice(&poll.recovery);
            json.push(b']');
        } else {
            json.extend_from_slice(b"null");
        }
        json.push(b'}');
        self.leave_poll(conn);
        self.respond(now, conn, StatusCode::OK, Content::Full(&json), |head| {
            head.lines(super::request::JSON);
        });
        self.finish(now, conn);
    }

    fn leave_poll(&mut self, conn: ConnId) {
        let Some(Exchange::Poll(poll)) = self.server(conn).map(|server| &mut server.exchange) else { return };
        let (members, full) = (core::mem::take(&mut poll.members), core::mem::take(&mut poll.full));
        self.leave(&members);
        for topic in full {
            self.leave_home(topic);
        }
    }

    fn joined_socket(&mut self, now: Now, conn: ConnId, member: MemberId, topic: &Topic, joined: Option<Joined>) {
        let Some(Role::WebSocket(socket)) = self.slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        let Some(joining) = socket.joins.iter_mut().find(|joining| joining.members.contains(&member)) else { return };
        joining.waiting -= 1;
        let is_last = joining.waiting == 0;
        match joined {
            Some(joined) => {
                let recovery = joining.since.recovery(&joined);
                if let Some(recovery) = recovery {
                    if !joining.recovery.is_empty() {
                        joining.recovery.push(b',');
                    }
                    write_recovery(topic, recovery, &mut joining.recovery);
                }
                // The answer comes before the messages that were missed: its position must be before them too.
                let before = |message: &Arc<Message>| Position {
                    epoch: message.position.epoch,
                    offset: message.position.offset.saturating_sub(1),
                };
                let start = joined.missed.first().map_or(joined.position, before);
                let _ = joining.starts.push(topic, start);
                joining.held.extend(joined.missed);
                self.subscribers.joined(member, joined.position);
            }
            None => {
                joining.members.retain(|of| *of != member);
                socket.members.retain(|of| *of != member);
                self.subscribers.unsubscribe(member);
            }
        }
        if is_last {
            self.answer_joining(now, conn);
        }
    }

    /// Hands out up to `budget` pending deliveries; returns how many it looked at.
    pub(super) fn fan_out(&mut self, now: Now, budget: usize) -> usize {
        let Self { subscribers, slots, agenda, storage, timeouts, config, .. } = self;
        let limits = &config.limits;
        let mut hand = Hand {
            now,
            slots,
            agenda,
            storage,
            timeouts,
            cap: limits.outbox_bytes,
            heartbeat: limits.heartbeat,
            poll_messages: limits.poll_messages,
            slow: Vec::new(),
            polls: Vec::new(),
        };
        let looked_at = subscribers.fan_out(budget, |delivery| hand.over(&delivery));
        let (slow, polls) = (hand.slow, hand.polls);
        for conn in polls {
            self.answer_poll(now, conn);
        }
        for conn in slow {
            self.drop_slow(now, conn);
        }
        looked_at
    }

    fn is_slow(&self, conn: ConnId, bytes: usize) -> bool {
        let unsent = self.slots.get(conn).map_or(0, |slot| slot.unsent().len());
        unsent > 0 && unsent + bytes > self.config.limits.outbox_bytes
    }

    /// The policy for a slow reader: closed, with a cursor to come back with.
    fn drop_slow(&mut self, now: Now, conn: ConnId) {
        let Self { slots, rng, timeouts, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        if let Role::WebSocket(socket) = &mut slot.role {
            let reason = "too slow; resume from the last position";
            socket.conn.close(now, timeouts, CloseCode::TRY_AGAIN_LATER, reason, || rng.next_key());
            let members = core::mem::take(&mut socket.members);
            socket.joins = Vec::new();
            self.leave(&members);
        } else {
            self.end_stream(now, conn);
        }
        self.settle(now, conn);
    }

    /// Ends an event stream; the client comes back after a second, with the id of the last event.
    pub(super) fn end_stream(&mut self, now: Now, conn: ConnId) {
        let Some(Exchange::Stream(stream)) = self.server(conn).map(|server| &mut server.exchange) else { return };
        let members = core::mem::take(&mut stream.members);
        self.leave(&members);
        self.write_event(now, conn, b"retry: 1000\n\n");
        let Self { slots, timeouts, .. } = self;
        if let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) {
            server.conn.end(now, timeouts, None);
        }
        self.finish(now, conn);
    }

    pub(super) fn send_heartbeat(&mut self, now: Now, conn: ConnId) {
        self.write_event(now, conn, b":\n\n");
    }

    fn write_event(&mut self, now: Now, conn: ConnId, event: &[u8]) {
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

/// What handing a message over needs.
struct Hand<'s> {
    now: Now,
    slots: &'s mut Arena<Slot>,
    agenda: &'s mut Agenda,
    storage: &'s mut Vec<Box<Storage>>,
    timeouts: &'s Timeouts,
    cap: usize,
    heartbeat: Duration,
    poll_messages: usize,
    slow: Vec<ConnId>,
    polls: Vec<ConnId>,
}

impl Hand<'_> {
    fn over(&mut self, delivery: &Delivery<'_, ConnId>) {
        let Delivery { conn, member, message, subscribers } = *delivery;
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let unsent = slot.unsent().len();
        if unsent > 0 && unsent + message.ws.len() > self.cap {
            self.slow.push(conn);
            return;
        }
        slot.outbox().lend(|| self.storage.pop());
        match &mut slot.role {
            Role::WebSocket(socket) => {
                match socket.joins.iter_mut().find(|joining| joining.members.contains(&member)) {
                    Some(joining) => joining.held.push(Arc::clone(message)),
                    None => socket.conn.send_frame(self.now, self.timeouts, &message.ws),
                }
            }
            Role::Server(server) => match &mut server.exchange {
                Exchange::Stream(stream) => {
                    stream.heartbeat = self.now.instant + self.heartbeat;
                    if stream.members.len() > 1 {
                        let mut id = Vec::new();
                        write_id(subscribers, &stream.members, &mut id);
                        server.conn.send_content(self.now, self.timeouts, &id);
                        server.conn.send_shared(self.now, self.timeouts, &message.sse_data);
                    } else {
                        server.conn.send_shared(self.now, self.timeouts, &message.sse);
                    }
                    if let Some(line) = &mut server.line {
                        line.bytes += message.sse.len() as u64;
                    }
                }
                Exchange::Poll(poll) => {
                    if poll.joining == 0 && poll.messages.is_empty() {
                        self.polls.push(conn);
                    }
                    if poll.messages.len() < self.poll_messages.saturating_mul(2) {
                        poll.messages.push(Arc::clone(message));
                    } else {
                        self.slow.push(conn);
                    }
                }
                Exchange::Idle
                | Exchange::Opening(_)
                | Exchange::Sending(_)
                | Exchange::Proxying(_)
                | Exchange::Publishing(_)
                | Exchange::Published(_) => {}
            },
            Role::Client(_) | Role::Tunnel(_) => {}
        }
        self.agenda.settle(conn, slot);
    }
}

/// Appends an `id:` line that covers all of a stream's topics.
fn write_id(subscribers: &Subscribers<ConnId>, members: &[MemberId], out: &mut Vec<u8>) {
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

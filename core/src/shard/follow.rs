//! Subscribers on all three transports: joining, what they missed, live delivery, leaving.

use super::calls::SocketKind;
use super::changes::addressed;
use super::gzip::{self, Part};
use super::sessions::Held;
use super::slot::{Exchange, Role, Slot};
use super::stream::write_id;
use super::{Agenda, ConnId, Mail, Outcome, Shard};
use crate::arena::Arena;
use crate::conn::Timeouts;
use crate::handler::follow::{Since, Wanted};
use crate::http1::{RequestHead, StatusCode};
use crate::outbox::Storages;
use crate::pubsub::{Delivery, Joined, MemberId, Message, Topic};
use crate::time::Now;
use crate::ws::CloseCode;
use crate::ws::deflate::{Codec, SharedFrame};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use smallvec::SmallVec;

/// The subscriptions of one connection: one, nearly always.
pub(super) type Members = SmallVec<[MemberId; 1]>;

/// Why subscribers are sent away: they did not read what was sent.
pub(super) const TOO_SLOW: &str = "too slow; resume from the last position";
/// The home of a topic has no room for it.
pub(super) const NO_ROOM: &str = "there are too many topics";

impl Shard {
    pub(super) fn wanted(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>) -> Option<Wanted> {
        let limit = self.config.limits.subscriptions;
        let reason = match Wanted::parse(head.target.query().unwrap_or_default(), &head.fields, limit) {
            Ok(wanted) if !wanted.topics.is_empty() || wanted.address => return Some(wanted),
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
            self.end_joining(*member, &Outcome::Done);
            if let Some(topic) = self.subscribers.unsubscribe(*member) {
                self.leave_home(topic);
            }
        }
    }

    pub(super) fn leave_home(&mut self, topic: Topic) {
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
        if self.joined_session(conn, member, joined.as_ref()) {
            return;
        }
        match self.slots.get(conn).map(|slot| &slot.role) {
            Some(Role::WebSocket(_)) => self.joined_socket(now, conn, member, &topic, joined),
            Some(Role::Server(server)) => match (&server.exchange, joined) {
                (Exchange::Stream(stream), joined) if stream.address.is_some() => {
                    self.joined_addressed(now, conn, member, &topic, joined.as_ref());
                }
                (Exchange::Stream(_), Some(joined)) => self.joined_stream(now, conn, member, &topic, &joined),
                (Exchange::Stream(_), None) => self.end_stream(now, conn, NO_ROOM),
                (Exchange::Poll(_), Some(joined)) => self.joined_poll(now, conn, member, topic, joined),
                (Exchange::Poll(_), None) => self.refuse_poll(now, conn),
                (
                    Exchange::Api(_)
                    | Exchange::Asking(_)
                    | Exchange::Greeting(_)
                    | Exchange::Idle
                    | Exchange::Opening(_)
                    | Exchange::Sending(_)
                    | Exchange::Proxying(_)
                    | Exchange::Publishing(_)
                    | Exchange::Published(_)
                    | Exchange::Entering(_)
                    | Exchange::Counting(_)
                    | Exchange::Verifying(_),
                    _,
                ) => {}
            },
            Some(Role::Client(_) | Role::Errand(_) | Role::Tunnel(_)) | None => {}
        }
        self.settle(now, conn);
    }

    /// Hands out up to `budget` pending deliveries; returns how many it looked at.
    pub(super) fn fan_out(&mut self, now: Now, budget: usize) -> usize {
        let Self { subscribers, slots, agenda, storage, timeouts, config, codec, framed, gzipped, .. } = self;
        let limits = &config.limits;
        let mut hand = Hand {
            now,
            slots,
            agenda,
            storage,
            timeouts,
            codec,
            framed,
            gzipped,
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

    pub(super) fn is_slow(&self, conn: ConnId, bytes: usize) -> bool {
        let unsent = self.slots.get(conn).map_or(0, |slot| slot.unsent().len());
        unsent > 0 && unsent + bytes > self.config.limits.outbox_bytes
    }

    /// The policy for a slow reader: closed, with a cursor to come back with.
    fn drop_slow(&mut self, now: Now, conn: ConnId) {
        let Self { slots, rng, timeouts, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        if let Role::WebSocket(socket) = &mut slot.role {
            // Messages of a pool have no positions.
            let why = if matches!(socket.kind, SocketKind::Session(_)) { "too slow" } else { TOO_SLOW };
            socket.conn.close(now, timeouts, CloseCode::TRY_AGAIN_LATER, why, || rng.next_key());
            let members = core::mem::take(&mut socket.members);
            socket.joins = Vec::new();
            self.leave(&members);
        } else {
            self.end_stream(now, conn, TOO_SLOW);
        }
        self.settle(now, conn);
    }
}

/// What handing a message over needs.
struct Hand<'s> {
    now: Now,
    slots: &'s mut Arena<Slot>,
    agenda: &'s mut Agenda,
    storage: &'s mut Storages,
    timeouts: &'s Timeouts,
    codec: &'s mut Codec,
    framed: &'s mut Option<(Arc<Message>, SharedFrame)>,
    gzipped: &'s mut gzip::Shared,
    cap: usize,
    heartbeat: Duration,
    poll_messages: usize,
    slow: Vec<ConnId>,
    polls: Vec<ConnId>,
}

impl Hand<'_> {
    fn over(&mut self, delivery: &Delivery<'_, ConnId>) {
        let Delivery { conn, member, message, subscribers } = *delivery;
        // After a message that found no room, a smaller one must not slip in: its position would be beyond the lost one.
        if self.slow.contains(&conn) {
            return;
        }
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let unsent = slot.unsent().len();
        if unsent > 0 && unsent + message.ws.len() > self.cap {
            self.slow.push(conn);
            return;
        }
        self.storage.lend(slot.outbox());
        match &mut slot.role {
            Role::WebSocket(socket) => {
                match socket.joins.iter_mut().find(|joining| joining.members.contains(&member)) {
                    Some(joining) => joining.held.push(Arc::clone(message)),
                    None => {
                        let frame = framed(self.framed, message);
                        socket.conn.send_shared(self.now, self.timeouts, self.codec, frame);
                    }
                }
            }
            Role::Server(server) => match &mut server.exchange {
                Exchange::Stream(stream) => {
                    stream.heartbeat = self.now.instant + self.heartbeat;
                    let (own, shared) = if stream.address.is_some() {
                        (addressed(message, subscribers, &stream.members), None)
                    } else if stream.members.len() > 1 {
                        let mut id = Vec::new();
                        write_id(subscribers, &stream.members, &mut id);
                        (id, Some(Part::Data))
                    } else {
                        (Vec::new(), Some(Part::Whole))
                    };
                    let mut sent = 0;
                    if !own.is_empty() {
                        let own = stream.encode(self.codec, &own);
                        sent += own.len();
                        server.conn.send_content(self.now, self.timeouts, &own);
                    }
                    if let Some(part) = shared {
                        let event = stream.encode_shared(self.codec, self.gzipped, message, part);
                        sent += event.len();
                        server.conn.send_shared(self.now, self.timeouts, event);
                    }
                    if let Some(line) = &mut server.line {
                        line.bytes += sent as u64;
                    }
                }
                Exchange::Poll(poll) => {
                    poll.messages.push(Arc::clone(message));
                    // Answered once the slice is handed out, with all that it brought.
                    if poll.messages.len() == if poll.joining == 0 { 1 } else { self.poll_messages } {
                        self.polls.push(conn);
                    }
                }
                Exchange::Greeting(greeting) => {
                    greeting.hold(Held::Message(Arc::clone(message)), self.poll_messages, self.cap);
                }
                Exchange::Api(_)
                | Exchange::Asking(_)
                | Exchange::Idle
                | Exchange::Opening(_)
                | Exchange::Sending(_)
                | Exchange::Proxying(_)
                | Exchange::Publishing(_)
                | Exchange::Published(_)
                | Exchange::Entering(_)
                | Exchange::Counting(_)
                | Exchange::Verifying(_) => {}
            },
            Role::Client(_) | Role::Errand(_) | Role::Tunnel(_) => {}
        }
        self.agenda.settle(conn, slot);
    }
}

/// The frame of a message; kept until another one is wanted.
pub(super) fn framed<'f>(
    kept: &'f mut Option<(Arc<Message>, SharedFrame)>,
    message: &Arc<Message>,
) -> &'f mut SharedFrame {
    if !kept.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, message)) {
        *kept = None;
    }
    &mut kept.get_or_insert_with(|| (Arc::clone(message), SharedFrame::new(message.ws.clone()))).1
}

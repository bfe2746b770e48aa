//! Long-polls: waiting, and the answer.

use super::follow::{Members, NO_ROOM};
use super::slot::{Exchange, Role};
use super::{ConnId, Shard};
use crate::conn::Content;
use crate::handler::follow::{Since, Topics, write_recovery};
use crate::http1::{RequestHead, StatusCode};
use crate::pubsub::{Joined, MemberId, Message, Positions, Recovery, Topic};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// Long for a message to another shard and back.
const JOIN_GRACE: Duration = Duration::from_secs(5);

/// A long-poll that waits.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) members: Members,
    pub(super) joining: usize,
    pub(super) since: Since,
    /// When the client has waited enough.
    pub(super) until: Instant,
    /// The homes of the topics have answered by then: even who does not want to wait gets what they say.
    pub(super) joined_by: Instant,
    pub(super) messages: Vec<Arc<Message>>,
    /// Members of a JSON array.
    pub(super) recovery: Vec<u8>,
    /// Topics whose home counts us although we never went live, because the answer was full.
    pub(super) full: Topics,
}

impl Poll {
    /// When it has to be answered, whatever there is.
    pub(super) fn deadline(&self) -> Instant {
        if self.joining > 0 { self.joined_by } else { self.until }
    }
}

impl Shard {
    pub(super) fn start_poll(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>) {
        let Some(wanted) = self.wanted(now, conn, head) else { return };
        let longest = if self.is_shutting_down() { Duration::ZERO } else { self.config.limits.poll_wait };
        let wait = wanted.wait.unwrap_or(Duration::from_secs(25)).min(longest);
        let members = self.follow(conn, &wanted.topics, &wanted.since);
        let poll = Poll {
            joining: members.len(),
            members,
            since: wanted.since,
            until: now.instant + wait,
            joined_by: now.instant + wait.max(JOIN_GRACE),
            messages: Vec::new(),
            recovery: Vec::new(),
            full: Topics::new(),
        };
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Poll(Box::new(poll));
        }
    }

    pub(super) fn joined_poll(&mut self, now: Now, conn: ConnId, member: MemberId, topic: Topic, joined: Joined) {
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
        let Some(poll) = self.take_poll(conn) else { return };
        let mut json = Vec::from(b"{\"position\":\"" as &[u8]);
        self.subscribers.token(&poll.members, &mut json);
        json.extend_from_slice(b"\",\"messages\":[");
        for (index, message) in poll.messages.iter().enumerate() {
            json.extend_from_slice(if index > 0 { b",{\"topic\":" } else { b"{\"topic\":" });
            json.extend_from_slice(serde_json::Value::from(message.topic.as_str()).to_string().as_bytes());
            json.extend_from_slice(b",\"position\":\"");
            let mut position = Positions::new();
            // One topic always has room.
            let _ = position.push(&message.topic, message.position);
            position.write(&mut json);
            json.extend_from_slice(b"\",\"data\":");
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
        self.leave_poll(poll);
        self.respond(now, conn, StatusCode::OK, Content::Full(&json), |head| {
            head.lines(super::answer::JSON);
        });
        self.finish(now, conn);
    }

    pub(super) fn leave_poll(&mut self, poll: Poll) {
        self.leave(&poll.members);
        for topic in poll.full {
            self.leave_home(topic);
        }
    }

    /// No home has room for another topic.
    pub(super) fn refuse_poll(&mut self, now: Now, conn: ConnId) {
        if let Some(poll) = self.take_poll(conn) {
            self.leave_poll(poll);
            self.refuse(now, conn, StatusCode::SERVICE_UNAVAILABLE, NO_ROOM);
        }
    }

    fn take_poll(&mut self, conn: ConnId) -> Option<Poll> {
        let server = self.server(conn)?;
        match core::mem::replace(&mut server.exchange, Exchange::Idle) {
            Exchange::Poll(poll) => Some(*poll),
            other => {
                server.exchange = other;
                None
            }
        }
    }
}

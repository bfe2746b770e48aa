//! Event streams whose set of topics changes by requests to the stream's own address, which its first event tells: a browser opens few
//! connections, and an event stream has no way up.

use super::follow::{Members, TOO_SLOW};
use super::slot::{Exchange, Posted, Publishing};
use super::{ConnId, Mail, Shard};
use crate::conn::Content;
use crate::handler::follow::{Since, Topics, write_recovery};
use crate::http1::{FieldLines, Framing, RequestHead, StatusCode, query_pairs};
use crate::pubsub::{Joined, MemberId, Message, Positions, Recovery, Subscribers, Topic};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::Deserialize;
use uuid::Uuid;

/// Names a stream: where it is, and a secret, since whoever knows it may change the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamId {
    shard: u16,
    conn: ConnId,
    secret: Uuid,
}

impl StreamId {
    /// Reads what `Display` writes. `None`: it is none of ours.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let shard = u16::from_str_radix(parts.next()?, 16).ok()?;
        let conn = ConnId::from_u64(u64::from_str_radix(parts.next()?, 16).ok()?);
        let secret = Uuid::try_parse(parts.next()?).ok()?;
        parts.next().is_none().then_some(Self { shard, conn, secret })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}.{}", self.shard, self.conn.to_u64(), self.secret.simple())
    }
}

/// What an event stream is that can be changed.
#[derive(Debug)]
pub(super) struct Address {
    id: StreamId,
    /// Subscriptions whose home has not answered, and where their topics begin.
    joining: Vec<(MemberId, Since)>,
}

/// From the shard that got the request to that of the stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    from: u16,
    conn: ConnId,
    tag: u64,
    stream: StreamId,
    subscribe: Vec<(Topic, Since)>,
    unsubscribe: Topics,
}

/// What became of a change: the topics that are followed now, as JSON; or why it was not made.
pub(super) type Changed = Result<String, (StatusCode, String)>;

/// The content of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    subscribe: BTreeMap<String, Option<String>>,
    #[serde(default)]
    unsubscribe: Vec<String>,
}

impl Shard {
    /// The address of a new stream. Those of its topics that are there from the beginning are `members`.
    pub(super) fn address(&mut self, conn: ConnId, members: &Members, since: &Since) -> Box<Address> {
        let id = StreamId { shard: self.number, conn, secret: self.rng.next_uuid() };
        Box::new(Address { id, joining: members.iter().map(|member| (*member, since.clone())).collect() })
    }

    /// `event: brolly.stream`: where requests that change the stream go.
    pub(super) fn tell_address(&mut self, now: Now, conn: ConnId, path: &str) {
        let Some(Exchange::Stream(stream)) = self.server(conn).map(|server| &server.exchange) else { return };
        let Some(address) = &stream.address else { return };
        let told = serde_json::json!({"address": format!("{path}?stream={}", address.id)});
        self.write_event(now, conn, format!("event: brolly.stream\ndata: {told}\n\n").as_bytes());
    }

    /// A request to an event stream's route that is no GET: content for the stream that the query names.
    pub(super) fn start_change(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>, framing: Framing) {
        let named = query_pairs(head.target.query().unwrap_or_default())
            .filter_map(Result::ok)
            .find_map(|(name, value)| (name == "stream").then_some(value));
        match named.map(|id| StreamId::parse(&id)) {
            None => {
                self.refuse_method(now, conn, head.method, FieldLines::new("allow: GET, HEAD, OPTIONS\r\n"));
            }
            Some(Some(id)) if id.shard < self.shards => {
                self.start_posting(now, conn, head, framing, Posted::Change(id));
            }
            Some(_) => self.refuse(now, conn, StatusCode::NOT_FOUND, UNKNOWN),
        }
    }

    /// The content is complete.
    pub(super) fn send_change(&mut self, now: Now, conn: ConnId, tag: u64, stream: StreamId, posted: &Publishing) {
        let change = serde_json::from_slice::<Wanted>(&posted.content).map_err(|error| error.to_string());
        let change = change.and_then(|wanted| {
            let topic = |name: &str| Topic::new(name).map_err(|error| format!("{name:?}: {error}"));
            let subscribe = wanted.subscribe.iter();
            let since = |since: &Option<String>| Since::parse(since.as_deref().unwrap_or_default().as_bytes());
            Ok(Change {
                from: self.number,
                conn,
                tag,
                stream,
                subscribe: subscribe.map(|(name, at)| Ok((topic(name)?, since(at)))).collect::<Result<_, String>>()?,
                unsubscribe: wanted.unsubscribe.iter().map(|name| topic(name)).collect::<Result<_, String>>()?,
            })
        });
        match change {
            Ok(change) => self.send(stream.shard, Mail::Change(Box::new(change))),
            Err(reason) => self.refuse(now, conn, StatusCode::BAD_REQUEST, &reason),
        }
    }

    pub(super) fn handle_change(&mut self, now: Now, change: Change) {
        let Change { from, conn, tag, stream, subscribe, unsubscribe } = change;
        let changed = self.change_stream(now, stream, &subscribe, &unsubscribe);
        self.send(from, Mail::Changed { conn, tag, changed: Box::new(changed) });
    }

    /// All of the change or nothing.
    fn change_stream(&mut self, now: Now, id: StreamId, new: &[(Topic, Since)], old: &[Topic]) -> Changed {
        let limit = self.config.limits.subscriptions;
        let Self { slots, subscribers, .. } = self;
        let server = slots.get_mut(id.conn).and_then(|slot| match &mut slot.role {
            super::slot::Role::Server(server) => Some(server),
            _ => None,
        });
        let Some(Exchange::Stream(stream)) = server.map(|server| &mut server.exchange) else { return Err(unknown()) };
        let Some(address) = stream.address.as_mut().filter(|address| address.id == id) else { return Err(unknown()) };
        // What is followed already is followed anew, from the new position.
        let is_left = |topic: &Topic| old.contains(topic) || new.iter().any(|(one, _)| one == topic);
        let is_member_left = |member: &MemberId| subscribers.topic(*member).is_none_or(is_left);
        let left: Members = stream.members.iter().copied().filter(is_member_left).collect();
        if stream.members.len() - left.len() + new.len() > limit {
            return Err((StatusCode::BAD_REQUEST, format!("no more than {limit} topics at a time")));
        }
        stream.members.retain(|member| !left.contains(member));
        let has_pending = !address.joining.is_empty();
        address.joining.retain(|(member, _)| !left.contains(member));
        self.leave(&left);
        if has_pending && new.is_empty() {
            self.tell_joined(now, id.conn);
        }
        for (topic, since) in new {
            let members = self.follow(id.conn, core::slice::from_ref(topic), since);
            if let Some(Exchange::Stream(stream)) = self.server(id.conn).map(|server| &mut server.exchange) {
                stream.members.extend_from_slice(&members);
                if let Some(address) = &mut stream.address {
                    address.joining.extend(members.iter().map(|member| (*member, since.clone())));
                }
            }
        }
        self.settle(now, id.conn);
        let Some(Exchange::Stream(stream)) = self.server(id.conn).map(|server| &server.exchange) else {
            return Err(unknown());
        };
        let members = stream.members.clone();
        let topics: Vec<_> = members.iter().filter_map(|member| self.subscribers.topic(*member)).collect();
        let names: Vec<_> = topics.iter().map(|topic| topic.as_str()).collect();
        Ok(serde_json::json!({"topics": names}).to_string())
    }

    /// The stream's shard has answered.
    pub(super) fn handle_changed(&mut self, now: Now, conn: ConnId, tag: u64, changed: Changed) {
        self.lend(conn);
        let Some(server) = self.server(conn) else { return };
        if !matches!(&server.exchange, Exchange::Published(of) if *of == tag) {
            return;
        }
        match changed {
            Ok(json) => {
                self.respond(now, conn, StatusCode::OK, Content::Full(json.as_bytes()), |head| {
                    head.lines(super::answer::JSON);
                });
                self.finish(now, conn);
            }
            Err((status, reason)) => self.refuse(now, conn, status, &reason),
        }
        self.settle(now, conn);
    }

    /// A home has answered about a topic of a stream that can be changed.
    pub(super) fn joined_addressed(
        &mut self,
        now: Now,
        conn: ConnId,
        member: MemberId,
        topic: &Topic,
        joined: Option<&Joined>,
    ) {
        let Some(Exchange::Stream(stream)) = self.server(conn).map(|server| &mut server.exchange) else { return };
        let Some(address) = &mut stream.address else { return };
        let since =
            address.joining.iter().position(|(of, _)| *of == member).map(|index| address.joining.swap_remove(index).1);
        let since = since.unwrap_or(Since::Now);
        let Some(joined) = joined else {
            stream.members.retain(|of| of != &member);
            self.subscribers.unsubscribe(member);
            let told = serde_json::json!({"topic": topic.as_str(), "reason": "there is no room for this topic"});
            self.write_event(now, conn, format!("event: brolly.failed\ndata: {told}\n\n").as_bytes());
            return self.tell_joined(now, conn);
        };
        let members = stream.members.clone();
        let recovery = since.recovery(joined);
        self.write_event(now, conn, &subscribed(topic, &since, joined, recovery));
        if let Some(Recovery::Gap { to, .. }) = recovery {
            self.subscribers.catch_up(member, to.offset);
        }
        for message in &joined.missed {
            if self.is_slow(conn, message.ws.len()) {
                // It comes back from the last event that it has read, and gets the next part. The home has counted it.
                self.leave_home(topic.clone());
                return self.end_stream(now, conn, TOO_SLOW);
            }
            self.subscribers.catch_up(member, message.position.offset);
            let event = addressed(message, &self.subscribers, &members);
            self.write_event(now, conn, &event);
        }
        self.subscribers.joined(member, joined.position);
        self.tell_joined(now, conn);
    }

    /// Once no home has still to answer, the position covers all topics: from here on it can be resumed from.
    fn tell_joined(&mut self, now: Now, conn: ConnId) {
        let Some(Exchange::Stream(stream)) = self.server(conn).map(|server| &server.exchange) else { return };
        if stream.address.as_ref().is_some_and(|address| address.joining.is_empty()) {
            let members = stream.members.clone();
            self.tell_position(now, conn, &members);
        }
    }
}

const UNKNOWN: &str = "this stream is not known, or not any more";

fn unknown() -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, UNKNOWN.into())
}

/// `event: brolly.subscribed`: what the `result` of `brolly.subscribe` is over a WebSocket.
fn subscribed(topic: &Topic, since: &Since, joined: &Joined, recovery: Option<Recovery>) -> Vec<u8> {
    let text = |value: serde_json::Value| value.to_string();
    let shown = match since {
        Since::At(positions) => text(positions.to_string().into()),
        Since::Oldest => text("0".into()),
        Since::Now | Since::Unknown => "null".into(),
    };
    let mut position = Positions::new();
    // One topic always has room.
    let _ = position.push(topic, joined.start());
    let topic_name = text(topic.as_str().into());
    let mut out = format!(
        "event: brolly.subscribed\ndata: {{\"topic\":{topic_name},\"since\":{shown},\"position\":\"{position}\",\"recovery\":"
    )
    .into_bytes();
    match recovery {
        Some(recovery) => write_recovery(topic, recovery, &mut out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}\n\n");
    out
}

/// A message with its topic: the data is the text of the WebSocket message, the id covers all topics.
pub(super) fn addressed(message: &Message, subscribers: &Subscribers<ConnId>, members: &[MemberId]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.ws.len() + 64);
    super::stream::write_id(subscribers, members, &mut out);
    message.write_text_event(&mut out);
    out
}

//! WebSocket clients: subscribers and publishers by calls, and one that wants everything back.

use super::client::read_receipt;
use super::http::Reader;
use super::{Cx, Peer, Phase, filler, some_topics};
use crate::sim::knobs::{MILLISECOND, SECOND};
use crate::sim::ledger::{Follower, Ledger, topic_of};
use crate::sim::random::Random;
use crate::sim::site::{TOPICS, encoded};
use crate::sim::wire::Wire;
use brolly_core::http1::Method;
use brolly_core::ws::{Decoder, FrameHeader, Item, Limits, Opcode, Role, mask};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Calls,
    Echo,
    /// An echo of a backend, read on the way.
    Relay,
}

/// What a call was.
#[derive(Clone, Debug)]
enum Call {
    Subscribe(Vec<&'static str>),
    Unsubscribe(&'static str),
    Publish(String),
}

#[derive(Debug)]
pub(crate) struct Socket {
    random: Random,
    kind: Kind,
    follower: Follower,
    /// The topics of the query.
    topics: Vec<&'static str>,
    /// What it follows, as far as it was told.
    followed: Vec<&'static str>,
    calls: BTreeMap<u64, Call>,
    greeted: bool,
    echoes: VecDeque<String>,
    wire: Option<Wire>,
    reader: Reader,
    decoder: Decoder,
    is_open: bool,
    close_sent: bool,
    next_call: u64,
    next_at: u64,
    acts_at: u64,
    actions: u64,
    is_lost: bool,
    is_refused: bool,
}

fn decoder() -> Decoder {
    Decoder::new(Role::Client, Limits::default())
}

impl Socket {
    pub(crate) fn new(mut random: Random, kind: Kind, id: usize) -> Self {
        Self {
            kind,
            follower: Follower::new(format!("{kind:?} {id}")),
            topics: if random.chance(70) { some_topics(&mut random) } else { Vec::new() },
            followed: Vec::new(),
            calls: BTreeMap::new(),
            greeted: false,
            echoes: VecDeque::new(),
            wire: None,
            reader: Reader::new(),
            decoder: decoder(),
            is_open: false,
            close_sent: false,
            next_call: 1,
            next_at: 0,
            acts_at: 0,
            actions: random.below(20),
            is_lost: false,
            is_refused: false,
            random,
        }
    }

    fn connect(&mut self, cx: &Cx<'_>) {
        self.follower.reconnect();
        self.wire = Wire::connect(cx.net, cx.id, &mut self.random);
        self.is_lost = self.wire.is_none();
        (self.reader, self.decoder) = (Reader::new(), decoder());
        (self.is_open, self.close_sent, self.greeted) = (false, false, false);
        self.calls.clear();
        self.echoes.clear();
        self.topics.truncate(cx.net.knobs.limits.subscriptions);
        self.followed = self.topics.clone();
        let mut query: Vec<String> = self.topics.iter().map(|topic| format!("topic={}", encoded(topic))).collect();
        let position = self.follower.token(&self.topics);
        if !position.is_empty() {
            query.push(format!("position={position}"));
        }
        let path = match self.kind {
            Kind::Calls => format!("/-/ws?{}", query.join("&")),
            Kind::Echo => "/-/echo".into(),
            Kind::Relay => "/relay/x?n=1".into(),
        };
        let fields = "host: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
        let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        if let Some(wire) = &mut self.wire {
            wire.send(format!("GET {path} HTTP/1.1\r\n{fields}{key}\r\n").as_bytes());
        }
    }

    /// Sends a message in one frame or several, with a ping in between.
    fn send(&mut self, text: &str) {
        let pieces = if self.random.chance(70) { 1 } else { self.random.between(2, 4) as usize };
        let mut rest = text.as_bytes();
        for piece in 0..pieces {
            let is_last = piece + 1 == pieces;
            let size = if is_last { rest.len() } else { self.random.index(rest.len() + 1) };
            let (now, later) = rest.split_at(size);
            let opcode = if piece == 0 { Opcode::Text } else { Opcode::Continuation };
            self.frame(opcode, is_last, now);
            rest = later;
            if !is_last && self.random.chance(50) {
                self.frame(Opcode::Ping, true, b"?");
            }
        }
    }

    fn frame(&mut self, opcode: Opcode, is_last: bool, payload: &[u8]) {
        let key = (self.random.number() as u32).to_ne_bytes();
        let fin = if is_last { brolly_core::ws::Fin::Final } else { brolly_core::ws::Fin::More };
        let (header, length) = brolly_core::ws::frame_header(opcode, fin, payload.len() as u64, Some(key));
        debug_assert!(FrameHeader::parse(&header[..length]).is_ok());
        let mut payload = payload.to_vec();
        mask(&mut payload, key, 0);
        if let Some(wire) = self.wire.as_mut().filter(|wire| !wire.is_fin()) {
            wire.send(&header[..length]);
            wire.send(&payload);
        }
    }

    /// Something of its own accord.
    fn act(&mut self, cx: &mut Cx<'_>) {
        if self.kind != Kind::Calls {
            let text = format!("{}{}", self.actions, filler(&mut self.random));
            self.send(&text);
            self.echoes.push_back(text);
            return;
        }
        let id = self.next_call;
        self.next_call += 1;
        let busy = |call: &Call, name: &str| match call {
            Call::Subscribe(topics) => topics.contains(&name),
            Call::Unsubscribe(topic) => *topic == name,
            Call::Publish(_) => false,
        };
        let topic = self.random.pick(&TOPICS);
        let is_busy = !self.greeted || self.calls.values().any(|call| busy(call, topic));
        match self.random.below(5) {
            0 | 1 if !is_busy && !self.followed.contains(&topic) => {
                let mut topics = vec![topic];
                let other = self.random.pick(&TOPICS);
                if other != topic
                    && !self.followed.contains(&other)
                    && !self.calls.values().any(|call| busy(call, other))
                {
                    topics.push(other);
                }
                let position = self.follower.token(&topics);
                self.call(
                    id,
                    "brolly.subscribe",
                    &serde_json::json!(topics),
                    &serde_json::json!({"position": position}),
                );
                self.followed.extend(&topics);
                self.calls.insert(id, Call::Subscribe(topics));
            }
            // Also while the subscription is on its way.
            0..3 if self.greeted && self.followed.contains(&topic) && !self.is_leaving(topic) => {
                self.call(id, "brolly.unsubscribe", &serde_json::json!([topic]), &serde_json::json!({}));
                self.calls.insert(id, Call::Unsubscribe(topic));
            }
            0..3 => {}
            _ => {
                let message = cx.ledger.new_message(topic, &filler(&mut self.random));
                self.call(id, "brolly.publish", &serde_json::json!([topic, message]), &serde_json::json!({}));
                self.calls.insert(id, Call::Publish(message));
            }
        }
    }

    fn is_leaving(&self, topic: &str) -> bool {
        self.calls.values().any(|call| matches!(call, Call::Unsubscribe(left) if *left == topic))
    }

    fn call(&mut self, id: u64, method: &str, args: &serde_json::Value, options: &serde_json::Value) {
        let text = serde_json::json!([method, {"request_id": id}, args, options]).to_string();
        self.send(&text);
    }

    fn hear(&mut self, cx: &mut Cx<'_>, text: &str) {
        if self.kind != Kind::Calls {
            if self.echoes.pop_front().as_deref() != Some(text) {
                cx.ledger.fault(format!("{}: {text:?} is no echo", self.follower.who));
            }
            return;
        }
        let Ok(json) = serde_json::from_str::<serde_json::Value>(text) else {
            return cx.ledger.fault(format!("{}: {text:?}", self.follower.who));
        };
        let data = &json[2];
        match json[0].as_str() {
            Some("hello") => {
                let topics = self.topics.clone();
                self.greeted = true;
                self.joined(cx, &topics, data);
            }
            Some("message") => {
                let message = data.as_str().unwrap_or_default();
                let token = json[1]["position"].as_str().unwrap_or_default();
                let topic = json[1]["topic"].as_str().unwrap_or_default();
                if topic != topic_of(message) || !self.greeted {
                    cx.ledger.fault(format!("{}: {message:?} in {topic}", self.follower.who));
                }
                self.follower.hear_one(cx.ledger, &self.followed, token, message);
            }
            Some(outcome @ ("result" | "error")) => {
                let call = json[1]["request_id"].as_u64().and_then(|id| self.calls.remove(&id));
                self.answered(cx, call, outcome == "result", data, text);
            }
            _ => cx.ledger.fault(format!("{}: {text:?}", self.follower.who)),
        }
    }

    fn answered(&mut self, cx: &mut Cx<'_>, call: Option<Call>, is_good: bool, data: &serde_json::Value, text: &str) {
        match (call, is_good) {
            (Some(Call::Subscribe(topics)), true) => self.joined(cx, &topics, data),
            (Some(Call::Subscribe(topics)), false) => self.followed.retain(|topic| !topics.contains(topic)),
            (Some(Call::Unsubscribe(topic)), true) => self.followed.retain(|followed| *followed != topic),
            (Some(Call::Publish(message)), true) => match read_receipt(data.to_string().as_bytes()) {
                Some((topic, number)) => cx.ledger.number("receipt", &topic, number, &message),
                None => cx.ledger.fault(format!("{}: no receipt: {text}", self.follower.who)),
            },
            (Some(Call::Publish(message)), false) => cx.ledger.refuse(&message),
            (Some(Call::Unsubscribe(_)) | None, _) => {
                cx.ledger.fault(format!("{}: answered {text}", self.follower.who));
            }
        }
    }

    fn joined(&mut self, cx: &mut Cx<'_>, topics: &[&'static str], data: &serde_json::Value) {
        for recovery in data["recovery"].as_array().into_iter().flatten() {
            self.follower.recover(cx.ledger, recovery);
        }
        let token = data["position"].as_str().unwrap_or_default();
        self.follower.hear(cx.ledger, topics, token, &[]);
        // A topic that found no room is not in the position.
        let all = brolly_core::pubsub::Positions::parse(token.as_bytes()).unwrap_or_default();
        let is_in = |name: &str| brolly_core::pubsub::Topic::new(name).is_ok_and(|topic| all.lookup(&topic).is_some());
        self.followed.retain(|topic| !topics.contains(topic) || is_in(topic));
    }

    fn listen(&mut self, cx: &mut Cx<'_>) {
        let Some(wire) = &mut self.wire else { return };
        if !self.is_open {
            if let Err(error) = self.reader.read(&mut wire.inbox, Method::Get) {
                return cx.ledger.fault(format!("{}: an unreadable answer: {error}", self.follower.who));
            }
            match &self.reader.answer {
                Some(answer) if answer.status == 101 => self.is_open = true,
                Some(answer) if answer.is_complete => {
                    let is_gateway = self.kind == Kind::Relay && matches!(answer.status, 502..=504);
                    if answer.status != 408 && !is_gateway {
                        cx.ledger.fault(format!("{}: answered {}", self.follower.who, answer.status));
                    }
                    return wire.reset();
                }
                Some(_) | None => return,
            }
        }
        let mut inbox = std::mem::take(&mut wire.inbox);
        let mut used = 0;
        while let Some(rest) = inbox.get_mut(used..) {
            let (taken, item) = match self.decoder.decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => return cx.ledger.fault(format!("{}: {error}", self.follower.who)),
            };
            used += taken;
            match item {
                Some(Item::Text(text)) => {
                    let text = text.into_owned();
                    self.hear(cx, &text);
                }
                Some(Item::Ping(payload)) => {
                    let payload = payload.to_vec();
                    self.frame(Opcode::Pong, true, &payload);
                }
                Some(Item::Close(close)) => {
                    let code = close.map_or(1005, |close| close.code.as_u16());
                    let is_gateway = self.kind == Kind::Relay && code == 1014;
                    if ![1000, 1001, 1013].contains(&code) && !is_gateway {
                        cx.ledger.fault(format!("{}: closed with {code}", self.follower.who));
                    }
                    if !self.close_sent {
                        self.close_sent = true;
                        self.frame(Opcode::Close, true, &1000_u16.to_be_bytes());
                    }
                }
                Some(Item::Binary(_) | Item::Piece { .. } | Item::Deflated(..)) => {
                    cx.ledger.fault(format!("{}: binary", self.follower.who));
                }
                Some(Item::Pong(_)) => {}
                None => break,
            }
        }
        inbox.drain(..used);
        if let Some(wire) = &mut self.wire {
            wire.inbox = inbox;
        }
    }
}

impl Peer for Socket {
    fn step(&mut self, cx: &mut Cx<'_>) {
        if self.is_lost || cx.phase >= Phase::Ebb {
            self.wire = None;
            return;
        }
        if self.wire.is_none() {
            if cx.now() < self.next_at {
                return;
            }
            self.connect(cx);
        }
        let Some(wire) = &mut self.wire else { return };
        wire.pump();
        if cx.resets() {
            wire.reset();
        }
        self.listen(cx);
        if self.is_open && !self.close_sent && self.actions > 0 && cx.now() >= self.acts_at && cx.phase == Phase::Wild {
            self.actions -= 1;
            for _ in 0..self.random.pick(&[1, 1, 2, 6]) {
                self.act(cx);
            }
            if self.random.chance(60) {
                self.acts_at = cx.sleep(self.random.below(cx.net.knobs.wild / 4));
            } else {
                cx.sleep(0);
            }
            if self.random.chance(5) {
                self.close_sent = true;
                self.frame(Opcode::Close, true, &1000_u16.to_be_bytes());
            }
        }
        let Some(wire) = &mut self.wire else { return };
        wire.pump();
        if wire.is_over {
            self.wire = None;
            self.next_at = cx.sleep(self.random.below(500 * MILLISECOND) + SECOND / 10);
        }
    }

    fn stuck(&self, ledger: &Ledger, phase: Phase) -> Option<String> {
        if phase != Phase::Calm || self.is_lost || !self.is_open || self.close_sent || self.is_refused {
            return None;
        }
        let who = &self.follower.who;
        if self.kind != Kind::Calls {
            return (!self.echoes.is_empty()).then(|| format!("{who} waits for {} echoes", self.echoes.len()));
        }
        if !self.greeted || !self.calls.is_empty() {
            return Some(format!("{who} waits for {:?}", self.calls));
        }
        let behind: Vec<_> = self.followed.iter().filter(|topic| self.follower.is_behind(ledger, topic)).collect();
        (!behind.is_empty()).then(|| format!("{who} is behind in {behind:?}: {}", self.follower.token(&self.followed)))
    }

    fn stays(&self) -> Phase {
        Phase::Calm
    }
}

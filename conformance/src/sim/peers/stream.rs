//! Subscribers over HTTP: event streams and long-polls. Both come back with the last position that they were told.

use super::http::Reader;
use super::{Cx, Peer, Phase, some_topics};
use crate::sim::knobs::{MILLISECOND, SECOND};
use crate::sim::ledger::{Follower, Ledger, topic_of};
use crate::sim::random::Random;
use crate::sim::site::encoded;
use crate::sim::wire::Wire;
use brolly_core::http1::Method;
use brolly_core::sse::Parser;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    EventStream,
    LongPoll,
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    random: Random,
    transport: Transport,
    topics: Vec<&'static str>,
    follower: Follower,
    wire: Option<Wire>,
    reader: Reader,
    parser: Parser,
    is_asking: bool,
    /// Its stream tells an address, and the topic of each message.
    is_addressed: bool,
    from_start: bool,
    next_at: u64,
    leaves_at: u64,
    is_lost: bool,
    is_refused: bool,
    /// Topics that this connection follows not: there was no room.
    failed: Vec<String>,
    /// In this connection something was told.
    is_joined: bool,
}

impl Subscriber {
    pub(crate) fn new(mut random: Random, transport: Transport, id: usize) -> Self {
        Self {
            transport,
            topics: some_topics(&mut random),
            follower: Follower::new(format!("{transport:?} {id}")),
            wire: None,
            reader: Reader::new(),
            parser: Parser::new(1 << 20),
            is_asking: false,
            is_addressed: transport == Transport::EventStream && random.chance(30),
            from_start: random.chance(40),
            next_at: 0,
            leaves_at: 0,
            is_lost: false,
            is_refused: false,
            failed: Vec::new(),
            is_joined: false,
            random,
        }
    }

    fn ask(&mut self, cx: &Cx<'_>) {
        let Some(wire) = &mut self.wire else { return };
        let mut position = self.follower.token(&self.topics);
        self.follower.wants_oldest = position.is_empty() && self.from_start;
        if self.follower.wants_oldest {
            position = "0".into();
        }
        let mut query: Vec<String> = self.topics.iter().map(|topic| format!("topic={}", encoded(topic))).collect();
        let mut fields = "host: x\r\n".to_owned();
        let path = match self.transport {
            Transport::EventStream => {
                if !position.is_empty() && self.random.chance(50) {
                    fields.push_str(&format!("last-event-id: {position}\r\n"));
                } else if !position.is_empty() {
                    query.push(format!("last_event_id={position}"));
                }
                if self.is_addressed {
                    query.push("address=1".into());
                }
                "sse"
            }
            Transport::LongPoll => {
                if !position.is_empty() {
                    query.push(format!("position={position}"));
                }
                let wait = if cx.phase == Phase::Wild { self.random.below(20) } else { 5 };
                query.push(format!("wait={wait}"));
                "poll"
            }
        };
        wire.send(format!("GET /-/{path}?{} HTTP/1.1\r\n{fields}\r\n", query.join("&")).as_bytes());
        self.is_asking = true;
        self.follower.reconnect();
    }

    fn listen(&mut self, cx: &mut Cx<'_>) {
        let Some(wire) = &mut self.wire else { return };
        if let Err(error) = self.reader.read(&mut wire.inbox, Method::Get) {
            return cx.ledger.fault(format!("{}: an unreadable answer: {error}", self.follower.who));
        }
        if wire.is_over && !wire.is_broken {
            let _ = self.reader.end();
        }
        let Some(answer) = &mut self.reader.answer else { return };
        if answer.status != 200 {
            if !answer.is_complete {
                return;
            }
            self.is_refused |= answer.status == 503;
            // Too many topics at a time: with fewer it may go.
            if answer.status == 400 && self.topics.len() > cx.net.knobs.limits.subscriptions {
                self.topics.truncate(cx.net.knobs.limits.subscriptions);
            } else if !(answer.status == 503 || answer.status == 408) {
                cx.ledger.fault(format!("{}: answered {}", self.follower.who, answer.status));
            }
            self.reader.answer = None;
            self.is_asking = false;
            self.next_at = cx.sleep(SECOND);
            return;
        }
        match self.transport {
            Transport::EventStream => self.listen_to_stream(cx),
            Transport::LongPoll if answer.is_complete => self.listen_to_poll(cx),
            Transport::LongPoll => {}
        }
    }

    fn listen_to_stream(&mut self, cx: &mut Cx<'_>) {
        let Some(answer) = &mut self.reader.answer else { return };
        if answer.body.len() > answer.read {
            self.is_refused = false;
        }
        while let Some(rest) = answer.body.get(answer.read..).filter(|rest| !rest.is_empty()) {
            let (used, event) = match self.parser.parse(rest) {
                Ok(parsed) => parsed,
                Err(error) => return cx.ledger.fault(format!("{}: {error}", self.follower.who)),
            };
            answer.read += used;
            let Some(event) = event else { continue };
            if event.event_type != "message" || self.is_addressed {
                let Ok(said) = serde_json::from_str::<serde_json::Value>(&event.data) else {
                    return cx.ledger.fault(format!("{}: not JSON: {:?}", self.follower.who, event.data));
                };
                match &*event.event_type {
                    "brolly.recovery" => self.follower.recover(cx.ledger, &said),
                    "brolly.subscribed" if said["recovery"].is_object() => {
                        self.follower.recover(cx.ledger, &said["recovery"]);
                    }
                    "brolly.failed" => self.failed.extend(said["topic"].as_str().map(str::to_owned)),
                    "message" => {
                        let (id, message) = (event.last_event_id, said[2].as_str().unwrap_or_default());
                        let told = self.topics.iter().find(|topic| said[1]["topic"] == **topic);
                        if told.is_none_or(|topic| *topic != topic_of(message)) {
                            cx.ledger.fault(format!("{}: told as of another topic: {said}", self.follower.who));
                        }
                        self.follower.hear_one(cx.ledger, &self.topics, &id, message);
                    }
                    _ => {}
                }
                continue;
            }
            let message = serde_json::from_str::<String>(&event.data).unwrap_or_else(|_| event.data.clone());
            // Event streams know one kind of line end.
            let (id, who) = (event.last_event_id, &self.topics);
            self.follower.hear_one(cx.ledger, who, &id, &message);
        }
        answer.body.clear();
        answer.read = 0;
        let id = self.parser.last_event_id().to_owned();
        self.is_joined |= !id.is_empty();
        self.follower.hear(cx.ledger, &self.topics, &id, &[]);
    }

    fn listen_to_poll(&mut self, cx: &mut Cx<'_>) {
        let Some(answer) = self.reader.answer.take() else { return };
        self.is_asking = false;
        self.is_refused = false;
        self.is_joined = true;
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
            return cx.ledger.fault(format!("{}: not JSON", self.follower.who));
        };
        for recovery in json["recovery"].as_array().into_iter().flatten() {
            self.follower.recover(cx.ledger, recovery);
        }
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let messages: Vec<String> =
            json["messages"].as_array().into_iter().flatten().map(|message| text(&message["data"])).collect();
        self.follower.hear(cx.ledger, &self.topics, &text(&json["position"]), &messages);
        if cx.phase == Phase::Wild && self.random.chance(50) {
            self.next_at = cx.sleep(self.random.below(3 * SECOND));
        }
    }
}

impl Peer for Subscriber {
    fn step(&mut self, cx: &mut Cx<'_>) {
        if self.is_lost || cx.phase >= Phase::Ebb {
            self.wire = None;
            return;
        }
        if self.wire.is_none() {
            if cx.now() < self.next_at {
                return;
            }
            self.wire = Wire::connect(cx.net, cx.id, &mut self.random);
            self.is_lost = self.wire.is_none();
            (self.reader, self.is_asking, self.is_joined) = (Reader::new(), false, false);
            self.failed.clear();
            self.parser = Parser::new(1 << 20);
            self.leaves_at = u64::MAX;
            if cx.phase == Phase::Wild && self.random.chance(60) {
                self.leaves_at = cx.sleep(self.random.below(cx.net.knobs.wild));
            }
        }
        loop {
            if !self.is_asking && cx.now() >= self.next_at {
                self.ask(cx);
            }
            let was_asking = self.is_asking;
            let Some(wire) = &mut self.wire else { return };
            wire.pump();
            if cx.resets() {
                wire.reset();
            }
            self.listen(cx);
            let Some(wire) = &mut self.wire else { return };
            if wire.is_over || cx.phase == Phase::Wild && cx.now() >= self.leaves_at {
                self.wire = None;
                self.next_at = cx.sleep(self.random.below(500 * MILLISECOND));
                return;
            }
            if self.is_asking || !was_asking || cx.now() < self.next_at {
                return;
            }
        }
    }

    fn stuck(&self, ledger: &Ledger, phase: Phase) -> Option<String> {
        if phase != Phase::Calm || self.is_lost || self.is_refused || !self.is_joined {
            return None;
        }
        let is_behind =
            |topic: &&&str| self.follower.is_behind(ledger, topic) && !self.failed.iter().any(|of| of == **topic);
        let behind: Vec<_> = self.topics.iter().filter(is_behind).collect();
        let who = &self.follower.who;
        (!behind.is_empty()).then(|| format!("{who} is behind in {behind:?}: {}", self.follower.token(&self.topics)))
    }

    fn stays(&self) -> Phase {
        Phase::Calm
    }
}

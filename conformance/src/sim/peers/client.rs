//! An HTTP client that asks for files, assets, a backend's answers, and publishes.

use super::backend::UNASKED;
use super::http::{Answer, Reader};
use super::{Cx, Peer, Phase, filler};
use crate::sim::knobs::{MILLISECOND, SECOND};
use crate::sim::ledger::Ledger;
use crate::sim::random::Random;
use crate::sim::site::{self, ASSETS, FILES, TOPICS};
use crate::sim::wire::Wire;
use brolly_core::http1::Method;
use brolly_core::pubsub::{Positions, Topic};
use std::collections::VecDeque;

#[derive(Clone, Debug)]
struct Ask {
    method: Method<'static>,
    target: String,
    fields: String,
    content: Vec<u8>,
    wants: Wants,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug)]
enum Wants {
    /// This, or a status that says why not.
    Content(Vec<u8>, &'static [u16]),
    /// Of a backend that may break off where it cannot be noticed.
    Prefix(Vec<u8>, &'static [u16]),
    Status(u16),
    Receipt(String),
}

#[derive(Debug)]
pub(crate) struct Client {
    random: Random,
    todo: VecDeque<Ask>,
    asked: VecDeque<Ask>,
    wire: Option<Wire>,
    reader: Reader,
    depth: usize,
    wants_fin: bool,
    next_at: u64,
    attempts: u64,
    has_more: bool,
    last_number: Vec<(String, u64)>,
    transcript: Vec<String>,
    is_lost: bool,
    /// The server said that it closes.
    is_last: bool,
}

impl Client {
    pub(crate) fn new(mut random: Random, publishes: bool) -> Self {
        let count = random.between(1, 8);
        let todo = (0..count).map(|_| Ask::new(&mut random, publishes)).collect();
        Self {
            depth: random.pick(&[1, 1, 2, 5]),
            random,
            todo,
            asked: VecDeque::new(),
            wire: None,
            reader: Reader::new(),
            wants_fin: false,
            next_at: 0,
            attempts: 0,
            has_more: publishes,
            last_number: Vec::new(),
            transcript: Vec::new(),
            is_lost: false,
            is_last: false,
        }
    }

    fn connect(&mut self, cx: &Cx<'_>) {
        // What may not be repeated is lost; whether it was done, nobody knows.
        while let Some(ask) = self.asked.pop_back() {
            if !matches!(ask.wants, Wants::Receipt(_)) {
                self.todo.push_front(ask);
            }
        }
        (self.reader, self.is_last) = (Reader::new(), false);
        self.wire = Wire::connect(cx.net, cx.id, &mut self.random);
        self.is_lost = self.wire.is_none();
        self.wants_fin = self.random.chance(cx.net.knobs.half_closes);
    }

    fn ask(&mut self, cx: &mut Cx<'_>) {
        let Some(wire) = &mut self.wire else { return };
        while !wire.is_fin()
            && self.asked.len() < self.depth
            && let Some(mut ask) = self.todo.pop_front()
        {
            if let Wants::Receipt(message) = &mut ask.wants {
                let topic = String::from(super::super::ledger::topic_of(&ask.target));
                *message = cx.ledger.new_message(&topic, &filler(&mut self.random));
                let is_json = self.random.chance(50);
                let text = serde_json::Value::from(message.as_str()).to_string();
                ask.content = if is_json { text.into_bytes() } else { message.clone().into_bytes() };
                ask.fields = format!("content-type: {}\r\n", if is_json { "application/json" } else { "text/plain" });
                ask.target = format!("/-/publish/{}", site::encoded(&topic));
            }
            wire.send(&ask.encode(&mut self.random));
            self.asked.push_back(ask);
        }
        if self.wants_fin && self.todo.is_empty() {
            wire.fin();
        }
    }

    fn listen(&mut self, cx: &mut Cx<'_>) -> bool {
        let (Some(wire), Some(ask)) = (&mut self.wire, self.asked.front()) else { return false };
        if self.is_last {
            // RFC 9112 §9.6: nothing after this answer means anything.
            wire.inbox.clear();
            return false;
        }
        if let Err(error) = self.reader.read(&mut wire.inbox, ask.method) {
            let inbox = String::from_utf8_lossy(&wire.inbox[..wire.inbox.len().min(200)]).into_owned();
            let method = ask.method.as_str();
            cx.ledger.fault(format!("client {}: {method} {}: unreadable: {error}: {inbox:?}", cx.id, ask.target));
            wire.reset();
            return false;
        }
        if wire.is_over && !wire.is_broken && wire.inbox.is_empty() && self.reader.answer.is_some() {
            // What ends with the connection is complete now; anything else was cut, which is visible.
            let _ = self.reader.end();
        }
        if !self.reader.answer.as_ref().is_some_and(|answer| answer.is_complete) {
            return false;
        }
        let (Some(answer), Some(ask)) = (self.reader.answer.take(), self.asked.pop_front()) else { return false };
        self.is_last = answer.field("connection") == Some("close");
        self.check(cx, &ask, &answer);
        true
    }

    fn check(&mut self, cx: &mut Cx<'_>, ask: &Ask, answer: &Answer) {
        self.transcript.push(shown(ask, answer));
        let is_late = matches!(answer.status, 408) && !self.wire.as_ref().is_some_and(|wire| wire.is_calm);
        let is_right = match &ask.wants {
            // The refusal of a slow sender: nobody knows which request it stands for.
            _ if is_late => true,
            Wants::Status(status) => answer.status == *status,
            Wants::Content(content, instead) | Wants::Prefix(content, instead) => match answer.status {
                200 if ask.method == Method::Head => answer.body.is_empty(),
                // What a backend says unasked may be taken for the answer to the next request: they share a connection.
                200 if answer.body == UNASKED && ask.target.contains("mode=") => true,
                200 if matches!(ask.wants, Wants::Prefix(..)) => content.starts_with(&answer.body),
                200 => answer.body == *content,
                status => instead.contains(&status),
            },
            Wants::Receipt(message) => match answer.status {
                200 => self.receipt(cx, message, &answer.body),
                status => {
                    cx.ledger.refuse(message);
                    status == 503
                }
            },
        };
        if !is_right {
            let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(80)]).into_owned();
            cx.ledger.fault(format!(
                "client {}: {} {} was answered {} with {} bytes, {body:?}",
                cx.id,
                ask.method.as_str(),
                ask.target,
                answer.status,
                answer.body.len()
            ));
        }
        if answer.field("x-barium").is_none() && answer.status != 408 {
            cx.ledger.fault(format!("client {}: {} was answered without x-barium", cx.id, ask.target));
        }
    }

    fn receipt(&mut self, cx: &mut Cx<'_>, message: &str, body: &[u8]) -> bool {
        let Some((name, number)) = read_receipt(body) else { return false };
        cx.ledger.number("receipt", &name, number, message);
        // One after the other is in that order.
        let before = self.last_number.iter().filter(|(of, _)| *of == name).map(|(_, number)| *number).max();
        self.last_number.push((name, number));
        before.is_none_or(|before| before < number)
    }
}

/// Topic and number in a receipt.
pub(super) fn read_receipt(body: &[u8]) -> Option<(String, u64)> {
    let receipt: serde_json::Value = serde_json::from_slice(body).ok()?;
    let name = receipt["topic"].as_str()?;
    let positions = Positions::parse(receipt["position"].as_str()?.as_bytes()).ok()?;
    receipt["subscribers"].as_u64()?;
    Some((name.into(), positions.lookup(&Topic::new(name).ok()?)?.offset))
}

impl Peer for Client {
    fn step(&mut self, cx: &mut Cx<'_>) {
        if self.has_more && cx.phase == Phase::Calm {
            self.has_more = false;
            self.todo.extend((0..2).map(|_| Ask::new(&mut self.random, false)));
        }
        loop {
            if self.wire.is_none() {
                let is_done = self.todo.is_empty() && self.asked.is_empty();
                if is_done || self.is_lost || cx.now() < self.next_at {
                    return;
                }
                self.connect(cx);
            }
            self.ask(cx);
            let Some(wire) = &mut self.wire else { return };
            wire.pump();
            if cx.resets() {
                wire.reset();
            }
            while self.listen(cx) {}
            let is_done = self.todo.is_empty() && self.asked.is_empty();
            let Some(wire) = &mut self.wire else { return };
            if wire.is_over {
                let is_clean = wire.is_calm && !wire.is_broken && self.reader.answer.is_none();
                if is_clean && !self.is_last && !cx.is_ending && !self.asked.is_empty() {
                    cx.ledger
                        .fault(format!("client {}: closed without an answer to {:?}", cx.id, self.asked[0].target));
                }
                self.wire = None;
                self.attempts += 1;
                self.next_at = cx.sleep(self.random.below(self.attempts * 100 * MILLISECOND));
                return;
            }
            if is_done && (wire.is_fin() || self.random.chance(50)) && cx.phase > Phase::Wild {
                // Otherwise it stays until the server has enough of it.
                self.wire = None;
                return;
            }
            let is_new = !wire.is_fin() && self.asked.len() < self.depth && !self.todo.is_empty();
            if !is_new {
                return;
            }
            if cx.phase == Phase::Wild && self.random.chance(30) {
                cx.sleep(self.random.below(2 * SECOND));
                return;
            }
        }
    }

    fn stuck(&self, _: &Ledger, phase: Phase) -> Option<String> {
        let waits = phase >= Phase::Ebb && !self.is_lost && !(self.todo.is_empty() && self.asked.is_empty());
        let next = self.asked.front().or(self.todo.front());
        waits.then(|| format!("a client waits for {:?}", next.map(|ask| (ask.method.as_str(), &ask.target))))
    }

    fn stays(&self) -> Phase {
        Phase::Ebb
    }

    fn transcript(&self) -> Vec<String> {
        self.transcript.clone()
    }
}

/// An answer, without what is different each time.
fn shown(ask: &Ask, answer: &Answer) -> String {
    let varies = ["date", "x-barium"];
    let fields = answer.fields.iter().filter(|(name, _)| !varies.contains(&name.as_str()));
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
    let sum = answer.body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {}: {} {} {sum}", ask.method.as_str(), ask.target, answer.status, fields.join(", "))
}

impl Ask {
    fn new(random: &mut Random, publishes: bool) -> Self {
        let (mut target, mut fields, mut content) = (String::new(), String::new(), Vec::new());
        let mut method = random.pick(&[Method::Get, Method::Get, Method::Head]);
        let wants = match random.below(if publishes { 12 } else { 7 }) {
            0 => {
                let (name, _) = random.pick(&ASSETS);
                target = format!("/assets/{name}");
                Wants::Content(site::asset(name).unwrap_or_default(), &[])
            }
            1 | 2 => {
                let (name, _) = random.pick(&FILES);
                target = if name == "index.html" { "/".into() } else { format!("/{}", site::encoded(name)) };
                Wants::Content(site::file(name).map(|file| file.to_vec()).unwrap_or_default(), &[500])
            }
            3 => {
                let (path, status) =
                    random.pick(&[("/nothing", 404), ("/gone/x", 410), ("/%ff", 400), ("/-/sse", 400)]);
                target = path.into();
                // Whether a file is there may be impossible to say.
                if status == 404 { Wants::Content(Vec::new(), &[404, 500]) } else { Wants::Status(status) }
            }
            4..7 => Self::for_backend(random, publishes, &mut method, &mut target, &mut fields, &mut content),
            _ => {
                method = Method::Post;
                target = random.pick(&TOPICS).into();
                Wants::Receipt(String::new())
            }
        };
        Self { method, target, fields, content, wants }
    }

    fn for_backend(
        random: &mut Random,
        publishes: bool,
        method: &mut Method<'static>,
        target: &mut String,
        fields: &mut String,
        content: &mut Vec<u8>,
    ) -> Wants {
        // Whether an early answer closes the connection depends on how much of the request has arrived.
        let modes = ["length", "chunked", "close", "interim", "slow", "early"];
        let mode = modes[random.index(if publishes { 6 } else { 5 })];
        let (number, len) = (random.index(1000), random.pick(&[0, 10, 900, 70_000]));
        if random.chance(40) {
            *method = Method::Post;
            *content = site::pattern(number, random.pick(&[0, 1, 2000, 100_000]));
        }
        let prefix = random.pick(&["api", "num"]);
        *target = format!("/{prefix}/x?mode={mode}&n={number}&len={len}");
        *fields = "cookie: a=b\r\n".into();
        let heard: &[u8] = if mode == "early" { &[] } else { content };
        let body = site::echo(heard, number, len);
        let instead = &[502, 503, 504];
        if mode == "close" { Wants::Prefix(body, instead) } else { Wants::Content(body, instead) }
    }

    fn encode(&self, random: &mut Random) -> Vec<u8> {
        let Self { method, target, fields, content, .. } = self;
        let mut bytes = format!("{} {target} HTTP/1.1\r\nhost: x\r\n{fields}", method.as_str()).into_bytes();
        if *method != Method::Post {
            bytes.extend(b"\r\n");
        } else if random.chance(50) {
            bytes.extend(format!("content-length: {}\r\n\r\n", content.len()).bytes());
            bytes.extend(content);
        } else {
            bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
            let size = random.pick(&[3, 1000, 40_000]).max(content.len() / 50).max(1);
            for chunk in content.chunks(size) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        }
        bytes
    }
}

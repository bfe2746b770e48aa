//! A backend's end of one connection: good ones, and those that break off, babble or say nothing.

use super::{Cx, Peer, Phase};
use crate::sim::knobs::SECOND;
use crate::sim::ledger::Ledger;
use crate::sim::random::Random;
use crate::sim::site;
use crate::sim::wire::Wire;
use brolly_core::http1::{Limits, Method, Part, RequestDecoder};
use brolly_core::outbox::Outbox;
use brolly_core::ws::handshake::accept_key;
use brolly_core::ws::{self, Decoder, Item, Opcode, Role};

/// What a bad backend says although nobody asked.
pub(super) const UNASKED: &[u8] = b"bad";

#[derive(Debug)]
pub(crate) struct Backend {
    random: Random,
    wire: Wire,
    decoder: RequestDecoder,
    request: Option<Request>,
    /// What follows later.
    rest: Option<(u64, Vec<u8>)>,
    /// Everything is sent back.
    is_tunnel: bool,
    /// Every message is.
    socket: Option<Decoder>,
    closes: bool,
    is_silent: bool,
    idle_since: u64,
    answered: usize,
}

#[derive(Debug, Default)]
struct Request {
    query: Vec<(String, String)>,
    content: Vec<u8>,
    is_head: bool,
    is_complete: bool,
    is_answered: bool,
    is_upgrade: bool,
    /// What opens a WebSocket.
    key: Option<Vec<u8>>,
    fields: String,
}

impl Request {
    fn parameter(&self, name: &str) -> &str {
        self.query.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn number(&self, name: &str) -> usize {
        self.parameter(name).parse().unwrap_or(0)
    }
}

impl Backend {
    pub(crate) fn new(random: Random, wire: Wire) -> Self {
        Self {
            random,
            wire,
            decoder: RequestDecoder::new(Limits::default()),
            request: None,
            rest: None,
            is_tunnel: false,
            socket: None,
            closes: false,
            is_silent: false,
            idle_since: 0,
            answered: 0,
        }
    }

    fn read(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.request.as_ref().is_some_and(|request| request.is_complete) {
            return false;
        }
        let (used, part) = match self.decoder.decode(&self.wire.inbox) {
            Ok(read) => read,
            Err(error) => {
                cx.ledger.fault(format!("backend {}: an unreadable request: {error}", cx.id));
                self.wire.reset();
                return false;
            }
        };
        let is_part = part.is_some();
        match part {
            Some(Part::Head(head, _)) => {
                let pairs = head.target.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
                let names: Vec<String> = head.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
                self.request = Some(Request {
                    query: pairs.map(|(name, value)| (name.into(), value.into())).collect(),
                    is_head: head.method == Method::Head,
                    is_upgrade: head.upgrade().is_some(),
                    key: head.fields.get("sec-websocket-key").map(Into::into),
                    fields: names.join(" "),
                    ..Request::default()
                });
                for wanted in ["host", "x-forwarded-for", "x-forwarded-proto", "x-barium"] {
                    if !names.iter().any(|name| name == wanted) {
                        cx.ledger.fault(format!("backend {}: a request without {wanted}: {names:?}", cx.id));
                    }
                }
            }
            Some(Part::Content(data)) => {
                if let Some(request) = &mut self.request {
                    request.content.extend_from_slice(data);
                }
            }
            Some(Part::End(_)) => {
                if let Some(request) = &mut self.request {
                    request.is_complete = true;
                }
            }
            None => {}
        }
        self.wire.inbox.drain(..used);
        is_part
    }

    fn answer(&mut self, cx: &Cx<'_>) {
        let Some(request) = &mut self.request else { return };
        let is_early = request.parameter("mode") == "early";
        if request.is_answered
            || !(request.is_complete || is_early)
            || self.rest.is_some()
            || self.is_silent
            || self.wire.is_fin()
        {
            return;
        }
        request.is_answered = true;
        if let Some(key) = &request.key {
            let accept = accept_key(key);
            let mut bytes =
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n".to_vec();
            if cx.net.chance(cx.net.knobs.bad_backends) {
                // No key of ours.
                bytes.extend(b"sec-websocket-accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
            } else {
                bytes.extend([b"sec-websocket-accept: ", &accept[..], b"\r\n\r\n"].concat());
            }
            // A ping comes behind it, and has to be answered.
            bytes.extend(b"\x89\x01!");
            self.socket = Some(Decoder::new(Role::Server, ws::Limits::default()));
            return self.wire.send(&bytes);
        }
        if request.is_upgrade {
            self.is_tunnel = true;
            self.wire.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: raw\r\nconnection: upgrade\r\n\r\nhello");
            return;
        }
        let mode = request.parameter("mode").to_owned();
        let heard: &[u8] = if is_early { &[] } else { &request.content };
        let body = site::echo(heard, request.number("n"), request.number("len"));
        let mut bytes = Vec::new();
        if mode == "interim" {
            bytes.extend(b"HTTP/1.1 103 Early Hints\r\nlink: </x.css>\r\n\r\n");
        }
        bytes.extend(format!("HTTP/1.1 200 OK\r\nx-seen: {}\r\n", request.fields.len().min(1)).bytes());
        let is_head = request.is_head;
        match mode.as_str() {
            "chunked" | "slow" => {
                bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
                for chunk in body.chunks(1000) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
            "close" => {
                bytes.extend(b"connection: close\r\n\r\n");
                bytes.extend(&body);
                self.closes = true;
            }
            _ => {
                bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
                bytes.extend(&body);
            }
        }
        if is_head {
            let start = if mode == "interim" { 45 } else { 0 };
            let end = bytes.windows(4).skip(start).position(|four| four == b"\r\n\r\n");
            bytes.truncate(end.map_or(0, |end| start + end + 4));
        }
        self.answered += 1;
        if cx.net.chance(cx.net.knobs.bad_backends) {
            self.break_off(&mut bytes);
        }
        if mode == "slow" && bytes.len() > 20 {
            let rest = bytes.split_off(self.random.index(bytes.len()));
            self.rest = Some((cx.sleep(self.random.below(3 * SECOND)), rest));
        }
        self.wire.send(&bytes);
    }

    /// Sends messages back; breaks off now and then.
    fn echo(&mut self, cx: &mut Cx<'_>) {
        let (Some(decoder), false) = (&mut self.socket, self.wire.is_fin()) else { return };
        let (mut inbox, mut out, mut used) = (std::mem::take(&mut self.wire.inbox), Outbox::new(), 0);
        let mut is_over = self.wire.is_over;
        while let Some(rest) = inbox.get_mut(used..) {
            let (taken, item) = match decoder.decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => return cx.ledger.fault(format!("backend {}: {error}", cx.id)),
            };
            used += taken;
            match item {
                Some(Item::Text(text)) => ws::encode(Opcode::Text, text.as_bytes(), None, &mut out),
                Some(Item::Binary(data)) => ws::encode(Opcode::Binary, &data, None, &mut out),
                Some(Item::Close(_)) => {
                    ws::encode(Opcode::Close, &[], None, &mut out);
                    is_over = true;
                }
                Some(Item::Ping(payload)) => ws::encode(Opcode::Pong, payload, None, &mut out),
                Some(Item::Pong(_)) => {}
                Some(Item::Deflated(..) | Item::Piece { .. }) => {
                    cx.ledger.fault("a backend got what was not agreed on");
                }
                None => break,
            }
        }
        self.wire.inbox = inbox.split_off(used.min(inbox.len()));
        while !out.is_empty() {
            let mut slices: [&[u8]; 1] = [&[]];
            out.slices(&mut slices);
            let sent = slices[0].len();
            self.wire.send(slices[0]);
            out.advance(sent);
        }
        if is_over || cx.net.chance(cx.net.knobs.bad_backends / 8) {
            self.wire.fin();
        }
    }

    fn break_off(&mut self, bytes: &mut Vec<u8>) {
        match self.random.below(4) {
            0 => {
                bytes.truncate(self.random.index(bytes.len()));
                self.closes = true;
            }
            1 => {
                // Whatever the head says is not what comes.
                bytes.insert(0, b'\0');
                self.closes = true;
            }
            2 => {
                bytes.clear();
                self.is_silent = true;
            }
            _ if self.closes => bytes.truncate(self.random.index(bytes.len())),
            _ => {
                // More than was announced.
                bytes.extend(b"HTTP/1.1 200 OK\r\nx-seen: 0\r\ncontent-length: 3\r\n\r\n");
                bytes.extend(UNASKED);
            }
        }
    }
}

impl Peer for Backend {
    fn step(&mut self, cx: &mut Cx<'_>) {
        self.wire.pump();
        if self.wire.is_broken {
            return;
        }
        if cx.resets() {
            return self.wire.reset();
        }
        if self.socket.is_some() {
            self.echo(cx);
            return self.wire.pump();
        }
        if self.is_tunnel {
            if !self.wire.is_fin() {
                let bytes = std::mem::take(&mut self.wire.inbox);
                self.wire.send(&bytes);
                if self.wire.is_over {
                    self.wire.fin();
                }
            }
            return self.wire.pump();
        }
        loop {
            while self.read(cx) {}
            self.answer(cx);
            if self.rest.as_ref().is_some_and(|(at, _)| *at <= cx.now() || cx.phase > Phase::Wild)
                && let Some((_, rest)) = self.rest.take()
            {
                self.wire.send(&rest);
            }
            let is_done = self.rest.is_none() && self.request.as_ref().is_some_and(|request| request.is_answered);
            if is_done && self.closes && !self.wire.is_fin() {
                self.wire.fin();
            }
            let is_next = is_done
                && !self.closes
                && !self.is_tunnel
                && self.request.as_ref().is_some_and(|request| request.is_complete);
            if !is_next {
                break;
            }
            self.request = None;
            self.decoder.start_next_message();
            self.idle_since = cx.now();
            // It may have had enough: the next request meets a closed connection.
            if cx.net.chance(cx.net.knobs.bad_backends) {
                self.closes = true;
                self.wire.fin();
                break;
            }
        }
        self.wire.pump();
    }

    fn stuck(&self, _: &Ledger, _: Phase) -> Option<String> {
        None
    }

    fn stays(&self) -> Phase {
        Phase::Over
    }
}

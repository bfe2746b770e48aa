//! An end of a WebSocket that follows a plan to the byte: it says something, closes, and goes away in the middle of it.

use super::http::Reader;
use super::{Cx, Peer, Phase};
use crate::sim::ledger::Ledger;
use crate::sim::random::Random;
use crate::sim::wire::Wire;
use brolly_core::http1::{Method, Part, RequestDecoder};
use brolly_core::ws::handshake::accept_key;
use brolly_core::ws::{self, Decoder, Fin, Item, Limits, Opcode, Role};
use std::cell::RefCell;
use std::rc::Rc;

const KEY: [u8; 4] = [1, 2, 3, 4];
const MESSAGE: &[u8] = b"hi";
/// How long the frames of [`MESSAGE`], of a close without a reason, and what an end says wrong, are on the wire of a client (bytes); those
/// of a backend have no key.
pub(crate) const CLIENT_FRAMES: [usize; 3] = [8, 8, 2];
pub(crate) const BACKEND_FRAMES: [usize; 3] = [4, 4, 2];

/// What an end does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// After the first message has come back, or was sent back.
    pub(crate) then: Then,
    pub(crate) leaves: Option<(Point, Way)>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Then {
    /// Waits to be closed.
    #[default]
    Waits,
    /// Closes with this code.
    Closes(u16),
    /// Breaks the protocol.
    Errs,
}

/// When it goes: after so many bytes of frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Point {
    Sent(usize),
    Heard(usize),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// It ends its direction, and still listens.
    Fin,
    /// It cuts the connection.
    Reset,
    /// It neither says nor hears anything any more.
    Silence,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) is_open: bool,
    /// The code of the close frame that it heard.
    pub(crate) code: Option<u16>,
    pub(crate) has_left: bool,
    pub(crate) is_over: bool,
    pub(crate) is_broken: bool,
}

#[derive(Debug)]
pub(crate) struct End {
    plan: Plan,
    seen: Rc<RefCell<Seen>>,
    /// None until it has connected.
    wire: Option<Wire>,
    role: Role,
    path: &'static str,
    decoder: Decoder,
    reader: Reader,
    sent: usize,
    heard: usize,
    close_sent: bool,
}

impl End {
    pub(crate) fn client(path: &'static str, plan: Plan, seen: Rc<RefCell<Seen>>) -> Self {
        Self {
            plan,
            seen,
            wire: None,
            role: Role::Client,
            path,
            decoder: Decoder::new(Role::Client, Limits::default()),
            reader: Reader::new(),
            sent: 0,
            heard: 0,
            close_sent: false,
        }
    }

    pub(crate) fn backend(wire: Wire, plan: Plan, seen: Rc<RefCell<Seen>>) -> Self {
        let decoder = Decoder::new(Role::Server, Limits::default());
        Self { wire: Some(wire), role: Role::Server, decoder, ..Self::client("", plan, seen) }
    }

    /// The opening handshake.
    fn open(&mut self, cx: &mut Cx<'_>) {
        let Some(wire) = &mut self.wire else { return };
        let is_open = if self.role == Role::Client {
            if let Err(error) = self.reader.read(&mut wire.inbox, Method::Get) {
                cx.ledger.fault(format!("an unreadable answer: {error}"));
            }
            self.reader.answer.as_ref().is_some_and(|answer| answer.status == 101)
        } else {
            let mut decoder = RequestDecoder::new(brolly_core::http1::Limits::default());
            let Ok((used, Some(Part::Head(head, _)))) = decoder.decode(&wire.inbox) else { return };
            let accept = accept_key(head.fields.get("sec-websocket-key").unwrap_or_default());
            let head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n";
            wire.send(&[head, &b"sec-websocket-accept: "[..], &accept[..], b"\r\n\r\n"].concat());
            wire.inbox.drain(..used);
            true
        };
        if is_open {
            self.seen.borrow_mut().is_open = true;
            if self.role == Role::Client {
                self.frame(Opcode::Text, MESSAGE);
            }
        }
    }

    /// Sends a frame, as far as it gets before the end leaves.
    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let key = (self.role == Role::Client).then_some(KEY);
        let (header, length) = ws::frame_header(opcode, Fin::Final, payload.len() as u64, key);
        let mut payload = payload.to_vec();
        ws::mask(&mut payload, key.unwrap_or_default(), 0);
        self.say(&[&header[..length], &payload].concat());
    }

    fn say(&mut self, bytes: &[u8]) {
        let Some(wire) = self.wire.as_mut().filter(|_| !self.seen.borrow().has_left) else { return };
        let room = match self.plan.leaves {
            Some((Point::Sent(most), _)) => most - self.sent,
            _ => bytes.len(),
        };
        let bytes = &bytes[..room.min(bytes.len())];
        wire.send(bytes);
        self.sent += bytes.len();
    }

    /// Whether it is time to go.
    fn is_at_point(&self) -> bool {
        self.seen.borrow().is_open
            && match self.plan.leaves {
                Some((Point::Sent(most), _)) => self.sent >= most,
                Some((Point::Heard(least), _)) => self.heard >= least,
                None => false,
            }
    }

    fn leave(&mut self) {
        let (Some((_, way)), Some(wire)) = (self.plan.leaves, &mut self.wire) else { return };
        if self.seen.replace_with(|seen| Seen { has_left: true, ..*seen }).has_left {
            return;
        }
        match way {
            Way::Fin => wire.fin(),
            Way::Reset => wire.reset(),
            // What was said is said, and nothing more.
            Way::Silence => {}
        }
        wire.pump();
    }

    fn listen(&mut self, cx: &mut Cx<'_>) {
        let Some(mut inbox) = self.wire.as_mut().map(|wire| std::mem::take(&mut wire.inbox)) else { return };
        let mut at = 0;
        // Byte by byte, so that it leaves at the right one.
        while let Some(next) = inbox.get_mut(..=at) {
            let (used, item) = match self.decoder.decode(next) {
                Ok(decoded) => decoded,
                Err(error) => return cx.ledger.fault(format!("{:?} hears what is wrong: {error}", self.role)),
            };
            self.heard += 1;
            let said = match item {
                Some(Item::Text(_)) => Some(Opcode::Text),
                Some(Item::Close(close)) => {
                    self.seen.borrow_mut().code = Some(close.map_or(1005, |close| close.code.as_u16()));
                    Some(Opcode::Close)
                }
                Some(Item::Ping(_)) => Some(Opcode::Ping),
                Some(_) | None => None,
            };
            inbox.drain(..used);
            at = at + 1 - used;
            if self.is_at_point() {
                self.leave();
            }
            if let Some(opcode) = said {
                self.answer(opcode);
            }
        }
        if let Some(wire) = &mut self.wire {
            // An unfinished frame, of which the bytes were counted: they are read again, and not counted again.
            self.heard -= inbox.len();
            wire.inbox = inbox;
        }
    }

    fn answer(&mut self, heard: Opcode) {
        match (heard, self.plan.then) {
            (Opcode::Text, then) => {
                if self.role == Role::Server {
                    self.frame(Opcode::Text, MESSAGE);
                }
                match then {
                    Then::Waits => {}
                    Then::Closes(code) => self.close(code),
                    // A frame of the other role.
                    Then::Errs => self.say(if self.role == Role::Client { b"\x81\x00" } else { b"\x81\x80" }),
                }
            }
            (Opcode::Close, _) => {
                let code = self.seen.borrow().code.unwrap_or(1000);
                self.close(code);
                // Both have said so: a backend ends the connection, a client waits for that (RFC 6455 §7.1.1).
                if let (Role::Server, Some(wire)) = (self.role, &mut self.wire)
                    && !self.seen.borrow().has_left
                    && !wire.is_fin()
                {
                    wire.fin();
                }
            }
            (Opcode::Ping, _) => self.frame(Opcode::Pong, b""),
            _ => {}
        }
    }

    fn close(&mut self, code: u16) {
        if !self.close_sent {
            self.close_sent = true;
            self.frame(Opcode::Close, &code.to_be_bytes());
        }
    }
}

impl Peer for End {
    fn step(&mut self, cx: &mut Cx<'_>) {
        if self.wire.is_none() && !self.seen.borrow().has_left {
            self.wire = Wire::connect(cx.net, cx.id, &mut Random::new(1));
            if let Some(wire) = &mut self.wire {
                let fields = "host: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
                let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                wire.send(format!("GET {} HTTP/1.1\r\n{fields}{key}\r\n", self.path).as_bytes());
            }
        }
        let is_silent = self.seen.borrow().has_left && self.plan.leaves.is_some_and(|(_, way)| way == Way::Silence);
        if is_silent {
            return;
        }
        if let Some(wire) = &mut self.wire {
            wire.pump();
        }
        if !self.seen.borrow().is_open {
            self.open(cx);
        }
        if self.seen.borrow().is_open {
            if self.is_at_point() {
                self.leave();
            }
            self.listen(cx);
            if self.is_at_point() {
                self.leave();
            }
        }
        if let Some(wire) = &mut self.wire {
            wire.pump();
            let mut seen = self.seen.borrow_mut();
            (seen.is_over, seen.is_broken) = (wire.is_over, wire.is_broken);
            // A client ends its direction when the server has.
            if seen.is_over && !wire.is_fin() && !wire.is_broken {
                wire.fin();
                wire.pump();
            }
        }
    }

    fn stuck(&self, _: &Ledger, _: Phase) -> Option<String> {
        None
    }

    fn stays(&self) -> Phase {
        Phase::Ebb
    }
}

//! Those who send nonsense, or real requests with something wrong, and a user of a tunnel.

use super::http::Reader;
use super::{Cx, Peer, Phase};
use crate::sim::knobs::SECOND;
use crate::sim::ledger::Ledger;
use crate::sim::random::Random;
use crate::sim::site;
use crate::sim::wire::Wire;
use brolly_core::http1::Method;

const SEEDS: [&[u8]; 7] = [
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /-/publish/z HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n\"abc\"",
    b"POST /api/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /-/sse?topic=z HTTP/1.1\r\nhost: x\r\nlast-event-id: 1-2.3\r\n\r\n",
    b"GET /-/ws?topic=z HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85\x01\x02\x03\x04hello\x88\x80\x00\x00\x00\x00",
    b"GET /-/poll?topic=z&position=0&wait=3 HTTP/1.0\r\n\r\n",
    b"PUT /api/x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\nabc",
];

/// Sends something that is nearly right, and listens for a while.
#[derive(Debug)]
pub(crate) struct Garbage {
    random: Random,
    wire: Option<Wire>,
    left: u64,
    next_at: u64,
}

impl Garbage {
    pub(crate) fn new(mut random: Random) -> Self {
        Self { left: random.between(1, 4), random, wire: None, next_at: 0 }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..self.random.between(1, 3)).flat_map(|_| self.random.pick(&SEEDS).to_vec()).collect();
        for _ in 0..self.random.below(4) {
            let at = self.random.index(bytes.len());
            match self.random.below(4) {
                0 => bytes[at] = self.random.number() as u8,
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, self.random.pick(b"\r\n\0 :;0aG")),
                _ => _ = bytes.remove(at),
            }
            if bytes.is_empty() {
                bytes.push(b'\n');
            }
        }
        bytes
    }
}

impl Peer for Garbage {
    fn step(&mut self, cx: &mut Cx<'_>) {
        if cx.now() < self.next_at || self.left == 0 {
            if let Some(wire) = &mut self.wire {
                wire.pump();
                wire.inbox.clear();
            }
            return;
        }
        self.left -= 1;
        self.wire = Wire::connect(cx.net, cx.id, &mut self.random);
        let bytes = self.bytes();
        if let Some(wire) = &mut self.wire {
            wire.send(&bytes);
            if self.random.chance(50) {
                wire.fin();
            }
            wire.pump();
        }
        self.next_at = cx.sleep(self.random.below(20 * SECOND));
    }

    fn stuck(&self, _: &Ledger, _: Phase) -> Option<String> {
        None
    }

    fn stays(&self) -> Phase {
        Phase::Calm
    }
}

/// Asks a backend for another protocol, and talks to itself through the tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    random: Random,
    wire: Option<Wire>,
    reader: Reader,
    is_open: bool,
    said: Vec<u8>,
    heard: usize,
    left: u64,
    is_strict: bool,
}

impl Tunnel {
    pub(crate) fn new(mut random: Random) -> Self {
        let left = random.between(1, 5);
        Self {
            random,
            wire: None,
            reader: Reader::new(),
            is_open: false,
            said: Vec::new(),
            heard: 0,
            left,
            is_strict: false,
        }
    }
}

impl Peer for Tunnel {
    fn step(&mut self, cx: &mut Cx<'_>) {
        if self.wire.is_none() {
            if self.is_strict || cx.phase > Phase::Calm {
                return;
            }
            self.is_strict = cx.phase == Phase::Calm;
            self.wire = Wire::connect(cx.net, cx.id, &mut self.random);
            (self.reader, self.is_open, self.heard) = (Reader::new(), false, 0);
            // The backend says so first.
            self.said = b"hello".to_vec();
            let Some(wire) = &mut self.wire else { return };
            wire.send(b"GET /api/up HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n");
        }
        let Some(wire) = &mut self.wire else { return };
        wire.pump();
        if cx.resets() {
            wire.reset();
        }
        if !self.is_open {
            let read = self.reader.read(&mut wire.inbox, Method::Get);
            let status = self.reader.answer.as_ref().map_or(0, |answer| answer.status);
            if read.is_err() || ![0, 101, 408, 502, 503, 504].contains(&status) {
                cx.ledger.fault(format!("tunnel {}: answered {status}, {read:?}", cx.id));
            }
            self.is_open = status == 101;
        }
        if self.is_open {
            let heard = std::mem::take(&mut wire.inbox);
            if self.said.get(self.heard..).is_none_or(|rest| !rest.starts_with(&heard)) {
                cx.ledger.fault(format!("tunnel {}: {} bytes at {} are not an echo", cx.id, heard.len(), self.heard));
            }
            self.heard += heard.len();
            if self.heard == self.said.len() && !wire.is_fin() {
                if self.left == 0 {
                    wire.fin();
                } else {
                    self.left -= 1;
                    let bytes = site::pattern(self.random.index(999), self.random.pick(&[1, 100, 30_000]));
                    wire.send(&bytes);
                    self.said.extend(bytes);
                }
                wire.pump();
            }
        }
        if wire.is_over {
            let is_short = self.heard < self.said.len() && self.is_open;
            if self.is_strict && is_short && !wire.is_broken && !cx.is_ending {
                cx.ledger.fault(format!("tunnel {}: {} of {} bytes", cx.id, self.heard, self.said.len()));
            }
            self.wire = None;
            if !self.is_strict {
                cx.sleep(SECOND);
            }
        }
    }

    fn stuck(&self, _: &Ledger, phase: Phase) -> Option<String> {
        let waits = phase == Phase::Calm && self.is_strict && self.is_open && self.wire.is_some();
        waits.then(|| format!("a tunnel: {} of {} bytes came back", self.heard, self.said.len()))
    }

    fn stays(&self) -> Phase {
        Phase::Calm
    }
}

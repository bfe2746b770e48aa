//! What the fuzz targets of `conformance/fuzz` do with their input. Functions of their own, so that a plain test can run
//! them anywhere (`tests/fuzz_bodies.rs`). They panic if something does not hold.
//!
//! The first eight bytes of an input say how the rest is cut: whole or in pieces, the same must come of it.

use crate::sim::random::Random;
use brolly_core::config::{Coding, Config, Files, Handler, Limits, Proxy, Server, Upstream};
use brolly_core::handler::files::listing::{Entry, Listing};
use brolly_core::handler::files::{Codings, Stamp};
use brolly_core::http1::{self, Method, Part, RequestDecoder, ResponseDecoder};
use brolly_core::pubsub;
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{Completion, ConnId, Effect, FileId, IoError, Opened, Shard, Usage};
use brolly_core::sse::Parser;
use brolly_core::time::{Instant, Now, UnixTime};
use brolly_core::ws::{self, Decoder, Role};
use bytes::Bytes;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest thing a WebSocket decoder may leave: a control frame without its last byte.
const CONTROL_FRAME: usize = 2 + 4 + 125 - 1;

/// Something a decoder said. Where content is cut means nothing: neighbouring pieces are joined.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Said {
    Thing(String),
    Content(Vec<u8>),
}

fn thing(what: impl Debug) -> Said {
    Said::Thing(format!("{what:?}"))
}

fn split(data: &[u8]) -> Option<(Random, &[u8])> {
    let (seed, input) = data.split_first_chunk()?;
    Some((Random::new(u64::from_le_bytes(*seed)), input))
}

/// Offers `input` as a driver does, in pieces of these sizes; what was not used is offered again with more behind it.
fn offer<E: Debug>(
    input: &[u8],
    mut size: impl FnMut() -> usize,
    mut most_left: impl FnMut(usize),
    mut decode: impl FnMut(&mut [u8]) -> Result<(usize, Option<Said>), E>,
) -> Vec<Said> {
    let (mut said, mut offered, mut rest) = (Vec::new(), Vec::new(), input);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size().clamp(1, rest.len()));
        (offered, rest) = ([&offered, piece].concat(), after);
        loop {
            let (used, event) = match decode(&mut offered) {
                Ok(decoded) => decoded,
                Err(error) => {
                    said.push(thing(error));
                    return said;
                }
            };
            assert!(used <= offered.len(), "used more than there was");
            offered.drain(..used);
            match (said.last_mut(), event) {
                (Some(Said::Content(content)), Some(Said::Content(more))) => content.extend(more),
                (_, Some(event)) => said.push(event),
                (_, None) => break,
            }
        }
        most_left(offered.len());
    }
    said
}

fn part<H: Debug>(part: Part<'_, H>) -> Said {
    match part {
        Part::Content(data) => Said::Content(data.to_vec()),
        other @ (Part::Head(..) | Part::End(_)) => thing(other),
    }
}

/// HTTP/1.1 requests, one after the other.
pub fn http1_request(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let limits = http1::Limits { head_bytes: 2000, target_bytes: 500, ..http1::Limits::default() };
    let requests = |size: &mut dyn FnMut() -> usize| {
        let mut decoder = RequestDecoder::new(limits);
        let left = |left| assert!(left <= limits.head_bytes + limits.trailer_bytes, "{left} bytes are left");
        offer(input, size, left, |bytes| {
            let (used, event) = decoder.decode(bytes)?;
            let event = event.map(part);
            decoder.start_next_message();
            Ok::<_, http1::ParseError>((used, event))
        })
    };
    assert_eq!(requests(&mut || usize::MAX), requests(&mut || random.index(40)));
}

/// HTTP/1.1 responses, one after the other.
pub fn http1_response(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let method = random.pick(&[Method::Get, Method::Head, Method::Post, Method::Connect]);
    let responses = |size: &mut dyn FnMut() -> usize| {
        let mut decoder = ResponseDecoder::new(http1::Limits::default());
        let mut said = offer(
            input,
            size,
            |_| {},
            |bytes| {
                decoder.expect(method);
                let (used, event) = decoder.decode(bytes)?;
                Ok::<_, http1::ParseError>((used, event.map(part)))
            },
        );
        said.push(thing(decoder.decode_eof().map(|event| event.map(part))));
        said
    };
    assert_eq!(responses(&mut || usize::MAX), responses(&mut || random.index(40)));
}

/// The frames of a peer, for either role.
pub fn websocket(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let role = random.pick(&[Role::Client, Role::Server]);
    let messages = |size: &mut dyn FnMut() -> usize| {
        let mut decoder = Decoder::new(role, ws::Limits { message_bytes: 5000 });
        let left = |left| assert!(left <= CONTROL_FRAME, "{left} bytes are left");
        offer(input, size, left, |bytes| {
            let (used, item) = decoder.decode(bytes)?;
            let item = item.map(thing);
            assert!(decoder.buffered() <= 2 * 5000, "{} bytes are held", decoder.buffered());
            Ok::<_, ws::ProtocolError>((used, item))
        })
    };
    assert_eq!(messages(&mut || usize::MAX), messages(&mut || random.index(20)));
}

/// An event stream.
pub fn sse(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let events = |size: &mut dyn FnMut() -> usize| {
        let mut parser = Parser::new(300);
        let said = offer(
            input,
            size,
            |left| assert_eq!(left, 0),
            |bytes| {
                let (used, event) = parser.parse(bytes)?;
                Ok::<_, brolly_core::sse::TooLong>((used, event.map(thing)))
            },
        );
        (said, parser.last_event_id().clone(), parser.reconnection_time())
    };
    assert_eq!(events(&mut || usize::MAX), events(&mut || random.index(20)));
}

/// Any operations on a whole shard, in any order. Afterwards everybody goes, and nothing may be left.
pub fn shard(data: &[u8]) {
    let mut host = Host::new();
    let mut rest = data;
    while let Some(([operation, argument], after)) = rest.split_first_chunk() {
        rest = host.perform(*operation, *argument, after);
        host.look();
    }
    host.end();
}

/// A host that does what it is told, at the wrong time if it is told so.
struct Host {
    shard: Shard,
    now: u64,
    conns: Vec<ConnId>,
    effects: Vec<Effect>,
}

const REQUESTS: [&str; 10] = [
    "GET /a HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /-/sse?topic=a&topic=b HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /-/poll?topic=a&position=0&wait=1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "POST /-/publish/a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n\"a\"",
    "POST /api/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "GET /api/x HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\nabc",
    "GET /-/ws?topic=a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\n\r\nabc",
];

impl Host {
    fn new() -> Self {
        let handlers = vec![
            ("/", Handler::Files(Files { listing: true, fallback: Some("app.html".into()), ..Files::new("/") }.into())),
            ("/-/sse", Handler::EventStream),
            ("/-/poll", Handler::LongPoll),
            ("/-/publish", Handler::Publish),
            ("/-/ws", Handler::WebSocket),
            ("/api", Handler::Proxy(Proxy { upstream: 0, replace_prefix: None, buffer_requests: false })),
        ];
        let mut routes = Routes::default();
        for (to, (prefix, _)) in handlers.iter().enumerate() {
            let added = routes.add(Route { host: HostPattern::Any, prefix: (*prefix).into(), to: to.into() });
            assert!(added.is_ok(), "{prefix} twice");
        }
        let pubsub = pubsub::Limits { history_messages: 3, topics: 3, ..pubsub::Limits::default() };
        let limits =
            Limits { connections: 6, outbox_bytes: 2000, poll_messages: 2, pubsub, calls: 2, ..Limits::default() };
        let upstreams = vec![Upstream::new(&limits, vec![Server::tcp("backend", 80)])];
        let handlers = handlers.into_iter().map(|(_, handler)| handler).collect();
        let config = Config { limits, routes, handlers, upstreams, log_requests: true, ..Config::default() };
        let shard = Shard::new(Arc::new(config), 0, 1, Seed([1; 32]));
        Self { shard, now: 1, conns: Vec::new(), effects: Vec::new() }
    }

    fn clocks(&self) -> Now {
        Now { instant: Instant::from_nanos(self.now), unix: UnixTime::from_millis(self.now / 1_000_000) }
    }

    fn perform<'d>(&mut self, operation: u8, argument: u8, rest: &'d [u8]) -> &'d [u8] {
        let (now, at) = (self.clocks(), usize::from(argument));
        let conn = self.conns.get(at % self.conns.len().max(1)).copied();
        match (operation % 9, conn) {
            (0, _) => {
                self.conns.extend(self.shard.handle_accept(now, SocketAddr::from(([10, 0, 0, 1], 99)).into()));
            }
            (1, Some(conn)) => {
                let text = REQUESTS[usize::from(operation / 9) % REQUESTS.len()];
                self.shard.handle_read(now, conn, &mut text.as_bytes().to_vec());
            }
            (2, Some(conn)) => {
                let (bytes, after) = rest.split_at((at / 8).min(rest.len()));
                if !bytes.is_empty() {
                    self.shard.handle_read(now, conn, &mut bytes.to_vec());
                }
                return after;
            }
            (3, Some(conn)) => self.shard.handle_eof(now, conn),
            (4, Some(conn)) => {
                let mut slices: [&[u8]; 4] = [&[]; 4];
                let filled = self.shard.outgoing(conn, &mut slices);
                let bytes: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
                if bytes > 0 {
                    self.shard.handle_write(now, conn, 1 + at * 40 % bytes);
                } else if self.shard.interest(conn).shutdown {
                    self.shard.handle_shutdown_done(now, conn);
                }
            }
            (5, Some(conn)) => self.shard.handle_closed(now, conn, (at > 100).then_some(IoError::ConnectionReset)),
            (6, _) => {
                self.now += 1 << (at % 38);
                let now = self.clocks();
                self.shard.handle_timeout(now);
            }
            (7, _) => {
                while let Some(effect) = self.shard.poll_effect() {
                    self.effects.push(effect);
                }
                if !self.effects.is_empty() {
                    let effect = self.effects.swap_remove(at % self.effects.len());
                    self.complete(&effect, operation / 9);
                }
            }
            (8, _) => {
                while let Some(conn) = self.shard.poll_changed() {
                    if self.shard.interest(conn).close {
                        self.shard.handle_closed(now, conn, None);
                    }
                }
            }
            (1..6, None) | (9.., _) => {}
        }
        rest
    }

    fn complete(&mut self, effect: &Effect, how: u8) {
        let now = self.clocks();
        let is_good = how < 20;
        match *effect {
            Effect::Connect { conn, .. } if is_good => {
                self.conns.push(conn);
                self.shard.handle_connected(now, conn);
            }
            Effect::Connect { conn, .. } => self.shard.handle_closed(now, conn, Some(IoError::ConnectionRefused)),
            Effect::ListDirectory { op, .. }
            | Effect::OpenFile { op, .. }
            | Effect::ReadFile { op, .. }
            | Effect::Resolve { op, .. }
                if !is_good =>
            {
                self.shard.handle_completion(now, op, Err(IoError::Other));
            }
            Effect::ListDirectory { op, .. } => {
                let entries = vec![Entry { is_file: how < 10, name: "<".into(), len: 1 }];
                let listing = Listing { entries, is_cut: how < 5 };
                self.shard.handle_completion(now, op, Ok(Completion::Listed(listing)));
            }
            Effect::OpenFile { op, .. } => {
                let first = Bytes::from(vec![b'x'; 1000]);
                let file = (how < 10).then_some(FileId(7));
                let len = if file.is_some() { 70_000 } else { 1000 };
                let stamp = Stamp { len, modified: UnixTime::from_millis(5) };
                let mut available = Codings::default();
                available.insert(Coding::Gzip);
                let opened = Opened { available, is_made: how > 15, ..Opened::new(file, stamp, first) };
                let answer = match how {
                    19 => Completion::Unchanged { available },
                    18 => Completion::Directory,
                    _ => Completion::Opened(opened),
                };
                self.shard.handle_completion(now, op, Ok(answer));
            }
            Effect::ReadFile { op, len, .. } => {
                let data = Bytes::from(vec![b'y'; len as usize]);
                self.shard.handle_completion(now, op, Ok(Completion::Read(data)));
            }
            Effect::Resolve { op, port, .. } => {
                let addresses = vec![SocketAddr::from(([10, 0, 0, 2], port))];
                self.shard.handle_completion(now, op, Ok(Completion::Resolved(addresses)));
            }
            _ => {}
        }
    }

    fn look(&self) {
        let usage = self.shard.usage();
        assert!(usage.connections <= 6 && usage.topics <= 3 && usage.messages <= 9, "{usage:?}");
        assert!(usage.longest_outbox <= 1 << 20, "{usage:?}");
    }

    /// Everybody goes, time passes, and the shard is told to shut down.
    fn end(&mut self) {
        let now = self.clocks();
        for _ in 0..3 {
            while let Some(effect) = self.shard.poll_effect() {
                self.effects.push(effect);
            }
            for effect in std::mem::take(&mut self.effects) {
                self.complete(&effect, u8::MAX);
            }
            for conn in std::mem::take(&mut self.conns) {
                self.shard.handle_closed(now, conn, None);
            }
        }
        self.shard.handle_shutdown(now, Duration::ZERO);
        self.shard.handle_timeout(now);
        while let Some(conn) = self.shard.poll_changed() {
            assert!(self.shard.interest(conn).close, "the grace is over");
            self.shard.handle_closed(now, conn, None);
        }
        // First the messages are too old, then the topics have been idle for too long.
        for _ in 0..3 {
            self.now += 3_600_000_000_000;
            self.shard.handle_timeout(self.clocks());
        }
        let usage = Usage { cached_bytes: 0, ..self.shard.usage() };
        assert_eq!(usage, Usage::default());
        assert!(self.shard.is_drained());
    }
}

//! A shard whose host is a test: sockets take everything at once, files are in memory, time stands still.

use brolly_core::config::{Coding, Config, Destination, Files, Handler, Policy, WebSocket};
use brolly_core::handler::files::{Codings, Stamp};
use brolly_core::http1::StatusCode;
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route};
use brolly_core::shard::{Completion, ConnId, Effect, Opened, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use brolly_core::ws::{Opcode, encode};
use brolly_core::{http1, outbox::Outbox};
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A GET as a browser's fetch sends it, without the fields that nothing looks at.
pub const GET: &[u8] =
    b"GET /tiny.txt HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: brolly-benches\r\nAccept: */*\r\n\r\n";
/// A GET of a file that can be had compressed.
pub const GET_COMPRESSED: &[u8] =
    b"GET /tiny.css HTTP/1.1\r\nHost: localhost:8080\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\r\n";
/// Data of a published message: 100 bytes of JSON.
pub const DATA: &[u8] =
    br#"{"user":"somebody","text":"a line of a chat room as people write it, not long and not short at all"}"#;

/// One shard and its host.
#[derive(Debug)]
pub struct Rig {
    /// The shard.
    pub shard: Shard,
    /// What its clocks say.
    pub now: Now,
    /// What every file contains.
    pub file: Bytes,
    /// What was written since the last call.
    written: Written,
    buffer: Vec<u8>,
}

/// What a shard had its host write.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Bytes.
    pub bytes: usize,
    /// Writes: one for all that a connection has to say at a time.
    pub writes: usize,
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

impl Rig {
    /// A shard without connections; its routes are those of `brolly dev`, and `/-/echo`.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// The same, with `policy` for every route.
    pub fn with(policy: Option<Policy>) -> Self {
        let mut config = Config { policies: policy.into_iter().collect(), ..Config::default() };
        config.server.push("server", b"brolly").expect("a good value");
        for (prefix, handler) in handlers() {
            let to = Destination { policy: (!config.policies.is_empty()).then_some(0), ..config.handlers.len().into() };
            let route = Route { host: HostPattern::Any, prefix: prefix.into(), to };
            config.routes.add(route).expect("the routes are different");
            config.handlers.push(handler);
        }
        config.limits.connections = 1_000_000;
        Self {
            shard: Shard::new(Arc::new(config), 0, 1, Seed([7; 32])),
            now: Now { instant: Instant::from_nanos(1), unix: UnixTime::from_millis(1_700_000_000_000) },
            file: Bytes::from_static(b"Hello, world!\n"),
            written: Written::default(),
            buffer: vec![0; 64 * 1024],
        }
    }

    /// A new connection, that has said nothing.
    pub fn accept(&mut self) -> ConnId {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000));
        let conn = self.shard.handle_accept(self.now, peer.into()).expect("there is room");
        self.flush();
        conn
    }

    /// A connection between two requests.
    pub fn idle(&mut self) -> ConnId {
        let conn = self.accept();
        assert!(self.feed(conn, GET).bytes > 0, "it is answered");
        conn
    }

    /// An open WebSocket at `target`.
    pub fn websocket(&mut self, target: &str) -> ConnId {
        let conn = self.accept();
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        assert!(self.feed(conn, request.as_bytes()).bytes > 0, "it is answered");
        conn
    }

    /// An open event stream at `target`.
    pub fn event_stream(&mut self, target: &str) -> ConnId {
        let conn = self.accept();
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        assert!(self.feed(conn, request.as_bytes()).bytes > 0, "it is answered");
        conn
    }

    /// One read of `input`, and all that follows from it; says what was written.
    pub fn feed(&mut self, conn: ConnId, input: &[u8]) -> Written {
        let Self { shard, now, buffer, .. } = self;
        let buffer = &mut buffer[..input.len()];
        buffer.copy_from_slice(input);
        shard.handle_read(*now, conn, buffer);
        self.flush()
    }

    /// A turn of a driver in which nothing happened.
    pub fn turn(&mut self) -> Written {
        if self.shard.poll_timeout().is_some_and(|at| at <= self.now.instant) {
            self.shard.handle_timeout(self.now);
        }
        self.flush()
    }

    /// Does what the shard wants until it wants nothing; says what was written.
    pub fn flush(&mut self) -> Written {
        loop {
            if let Some(effect) = self.shard.poll_effect() {
                self.perform(effect);
            } else if let Some(conn) = self.shard.poll_changed() {
                self.visit(conn);
            } else if self.shard.poll_timeout() == Some(Instant::default()) {
                self.shard.handle_timeout(self.now);
            } else {
                return std::mem::take(&mut self.written);
            }
        }
    }

    fn visit(&mut self, conn: ConnId) {
        loop {
            let interest = self.shard.interest(conn);
            if interest.close {
                return self.shard.handle_closed(self.now, conn, None);
            }
            if !interest.write {
                return;
            }
            let mut slices: [&[u8]; 16] = [&[]; 16];
            let filled = self.shard.outgoing(conn, &mut slices);
            let bytes = slices[..filled].iter().map(|slice| slice.len()).sum();
            self.written.bytes += bytes;
            self.written.writes += 1;
            self.shard.handle_write(self.now, conn, bytes);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::OpenFile { op, file } => {
                let (len, first) = (self.file.len() as u64, self.file.clone());
                let stamp = Stamp { len, modified: UnixTime::from_millis(1_600_000_000_000), identity: [0; 3] };
                let mut available = Codings::default();
                if file.path.ends_with(".css") {
                    available.insert(Coding::Gzip);
                }
                let coding = file.accepted.choose(available, file.files.codings());
                let opened = Opened { coding, available, ..Opened::new(None, stamp, first) };
                self.shard.handle_completion(self.now, op, Ok(Completion::Opened(opened)));
            }
            other => panic!("nothing here asks for this: {other:?}"),
        }
    }
}

/// Where a [`Rig`] has what.
fn handlers() -> [(&'static str, Handler); 7] {
    [
        ("/", Handler::Files(Files { precompressed: vec![Coding::Gzip], ..Files::new("/srv") }.into())),
        ("/-/", Handler::Status(StatusCode::NOT_FOUND)),
        ("/-/echo", Handler::Echo(None)),
        ("/-/poll", Handler::LongPoll),
        ("/-/publish", Handler::Publish),
        ("/-/sse", Handler::EventStream { compress: false }),
        ("/-/ws", Handler::WebSocket(WebSocket::default())),
    ]
}

/// A masked frame, as a client sends it.
pub fn client_frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Outbox::new();
    encode(Opcode::Text, payload, Some([1, 2, 3, 4]), &mut out);
    std::mem::take(out.tail())
}

/// A request that publishes [`DATA`] to `topic`.
pub fn publication(topic: &str) -> Vec<u8> {
    let mut out = Outbox::new();
    let mut head = http1::HeadWriter::request(&mut out, "POST", &format!("/-/publish/{topic}")).expect("a good target");
    head.field("host", b"localhost").expect("a good value");
    head.content_length(DATA.len() as u64).expect("the first framing field");
    head.finish();
    out.extend(DATA);
    std::mem::take(out.tail())
}

//! Subscriptions that the server ends: what each transport is told, and that nothing stays behind.
#![cfg(not(loom))]

use brolly_core::config::{
    Authorize, Config, Destination, Handler, Limits, Policy, Proxy, Server, Upstream, WebSocket,
};
use brolly_core::http1::StatusCode;
use brolly_core::pubsub;
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{Address, ConnId, Effect, Mail, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use brolly_core::ws::handshake::accept_key;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One shard, who listens to it, and the backends behind it.
struct Scene {
    shard: Shard,
    seconds: u64,
    logged: Vec<(String, Option<String>)>,
    /// What the backend that is asked first adds to its answer.
    permission: String,
    /// The connections to it, and what the other backend was told, by connection.
    askers: Vec<ConnId>,
    told: BTreeMap<ConnId, Vec<u8>>,
}

impl Scene {
    /// What stands below `/guarded` is asked for at a backend first.
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let relay = Proxy { upstream: 1, reads_websockets: true, ..Proxy::default() };
        let handlers = vec![
            ("/sse", Handler::EventStream { compress: false }),
            ("/ws", Handler::WebSocket(WebSocket::default())),
            ("/poll", Handler::LongPoll),
            ("/publish", Handler::Publish),
            ("/echo", Handler::Echo(None)),
            ("/status", Handler::Status(StatusCode::OK)),
            ("/tunnel", Handler::Proxy(Proxy { upstream: 1, ..Proxy::default() })),
            ("/relay", Handler::Proxy(relay)),
        ];
        let mut routes = Routes::default();
        for (handler, (prefix, _)) in handlers.iter().enumerate() {
            for (below, policy) in [("", None), ("/guarded", Some(0))] {
                let prefix = format!("{below}{prefix}").as_str().into();
                routes
                    .add(Route { host: HostPattern::Any, prefix, to: Destination { policy, ..handler.into() } })
                    .unwrap();
            }
        }
        let handlers = handlers.into_iter().map(|(_, handler)| handler).collect();
        let authorize = Authorize { upstream: 0, path: "/check".into(), copy: Arc::default() };
        let policies = vec![Policy { authorize: Some(Box::new(authorize)), ..Policy::default() }];
        let server = |host: &str| Upstream::new(&Limits::default(), vec![Server::tcp(host, 80)]);
        let upstreams = vec![server("10.0.0.1"), server("10.0.0.2")];
        let mut config = Config { routes, handlers, policies, upstreams, log_requests: true, ..Config::default() };
        change(&mut config);
        Self {
            shard: Shard::new(Arc::new(config), 0, 1, Seed([7; 32])),
            seconds: 1,
            logged: Vec::new(),
            permission: String::new(),
            askers: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        let instant = Instant::from_nanos(self.seconds * 1_000_000_000);
        Now { instant, unix: UnixTime::from_millis(self.seconds * 1000) }
    }

    /// A request over a connection of its own.
    fn ask(&mut self, request: &str) -> ConnId {
        let conn = self.shard.handle_accept(self.now(), SocketAddr::from(([192, 0, 2, 1], 9)).into()).unwrap();
        self.say(conn, request);
        conn
    }

    fn get(&mut self, target: &str) -> ConnId {
        self.ask(&format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"))
    }

    fn say(&mut self, conn: ConnId, text: &str) {
        self.shard.handle_read(self.now(), conn, &mut text.as_bytes().to_vec());
        self.run();
    }

    fn publish(&mut self, topic: &str, length: usize) {
        let content = "x".repeat(length);
        let request = format!("POST /publish/{topic} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{content}");
        let conn = self.ask(&request);
        assert!(self.written(conn).starts_with("HTTP/1.1 200 "));
        self.shard.handle_closed(self.now(), conn, None);
    }

    fn upgrade(&mut self, target: &str) -> ConnId {
        let conn = self.ask(&format!(
            "GET {target} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        assert!(self.written(conn).starts_with("HTTP/1.1 101 "));
        conn
    }

    fn wait(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.run();
        let next = self.shard.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now().instant), "a deadline that is due for ever");
    }

    /// What is to be done meanwhile; backends answer at once.
    fn run(&mut self) {
        loop {
            // A timer fires within two milliseconds.
            let now = self.now();
            self.shard.handle_timeout(Now { instant: now.instant + Duration::from_millis(2), ..now });
            let mut is_quiet = true;
            while let Some(effect) = self.shard.poll_effect() {
                match effect {
                    Effect::Log(access) => {
                        self.logged.push((access.request.to_string(), access.reason.map(Into::into)));
                    }
                    Effect::Connect { conn, to: Address::Tcp(to), .. } => {
                        if to == SocketAddr::from(([10, 0, 0, 1], 80)) {
                            self.askers.push(conn);
                        } else {
                            self.told.insert(conn, Vec::new());
                        }
                        self.shard.handle_connected(self.now(), conn);
                    }
                    _ => {}
                }
                is_quiet = false;
            }
            for conn in self.askers.clone() {
                if !self.written_bytes(conn).is_empty() {
                    let answer = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", self.permission);
                    self.shard.handle_read(self.now(), conn, &mut answer.into_bytes());
                    is_quiet = false;
                }
            }
            for conn in self.told.keys().copied().collect::<Vec<_>>() {
                let bytes = self.written_bytes(conn);
                let text = String::from_utf8_lossy(&bytes);
                if let Some((_, key)) =
                    text.split_once("sec-websocket-key: ").or(text.split_once("Sec-WebSocket-Key: "))
                {
                    let accept = String::from_utf8(accept_key(&key.as_bytes()[..24]).into()).unwrap();
                    let answer = format!(
                        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                         sec-websocket-accept: {accept}\r\n\r\n"
                    );
                    self.shard.handle_read(self.now(), conn, &mut answer.into_bytes());
                    is_quiet = false;
                } else if !bytes.is_empty() {
                    self.told.entry(conn).or_default().extend(bytes);
                    is_quiet = false;
                }
            }
            if is_quiet {
                break;
            }
        }
    }

    fn written(&mut self, conn: ConnId) -> String {
        String::from_utf8_lossy(&self.written_bytes(conn)).into_owned()
    }

    /// Everything that is to be written to a connection.
    fn written_bytes(&mut self, conn: ConnId) -> Vec<u8> {
        let mut text = Vec::new();
        while self.shard.interest(conn).write {
            let mut slices: [&[u8]; 16] = [&[]; 16];
            let filled = self.shard.outgoing(conn, &mut slices);
            let bytes = slices[..filled].concat();
            self.shard.handle_write(self.now(), conn, bytes.len());
            text.extend(bytes);
        }
        text
    }

    /// It was told the end, and goes once it has read that.
    fn is_ending(&self, conn: ConnId) -> bool {
        let interest = self.shard.interest(conn);
        interest.shutdown || interest.close
    }
}

/// The last event of a stream.
fn end(reason: &str) -> String {
    format!("event: brolly.end\nretry: 1000\ndata: {{\"reason\":\"{reason}\"}}\n\n")
}

#[test]
fn a_stream_says_that_the_server_shuts_down() {
    for target in ["/sse?topic=a", "/sse?topic=a&topic=b", "/sse?address=1"] {
        let mut scene = Scene::new(|_| ());
        let stream = scene.get(target);
        assert!(scene.written(stream).contains("text/event-stream"));
        scene.shard.handle_mail(scene.now(), Mail::Shutdown(Duration::from_secs(10)));
        assert_eq!(scene.written(stream), end("the server is shutting down"), "{target}");
        assert!(scene.is_ending(stream));
        scene.run();
        assert_eq!(scene.logged.last().unwrap().1.as_deref(), Some("the server is shutting down"));
        assert_eq!(scene.shard.usage().subscriptions, 0);
    }
}

/// Its connection was given up, the head of the answer with it; then the end was written without one.
#[test]
fn a_stream_that_was_given_up_is_not_ended_once_more() {
    let mut scene = Scene::new(|_| ());
    let stream = scene.get("/sse?topic=a");
    scene.shard.handle_eof(scene.now(), stream);
    assert!(scene.shard.interest(stream).close);
    scene.shard.handle_mail(scene.now(), Mail::Shutdown(Duration::from_secs(10)));
    let interest = scene.shard.interest(stream);
    assert!(interest.close && !interest.write, "{interest:?}");
    assert_eq!(scene.written(stream), "");
    scene.shard.handle_closed(scene.now(), stream, None);
    assert_eq!(scene.shard.usage().subscriptions, 0);
}

#[test]
fn a_reader_that_is_too_slow_finds_the_reason_behind_what_it_has_not_read() {
    for target in ["/sse?topic=a", "/sse?topic=b&topic=a", "/sse?address=1&topic=a"] {
        let mut scene = Scene::new(|config| config.limits.outbox_bytes = 10_000);
        let stream = scene.get(target);
        for _ in 0..12 {
            scene.publish("a", 1_000);
        }
        let read = scene.written(stream);
        let end = end("too slow; resume from the last position");
        assert!(read.ends_with(&end) && read.matches("xxx").count() > 2_000, "{} bytes", read.len());
        assert!(read.len() < 11_000, "{} bytes were kept for it", read.len());
        assert!(scene.is_ending(stream));
        assert_eq!(scene.shard.usage().subscriptions, 0);
    }
}

#[test]
fn who_has_missed_more_than_fits_gets_it_in_parts() {
    for target in ["/sse?topic=a&position=0", "/sse?address=1&topic=a&position=0"] {
        let mut scene = Scene::new(|config| config.limits.outbox_bytes = 10_000);
        (0..12).for_each(|_| scene.publish("a", 1_000));
        let stream = scene.get(target);
        let read = scene.written(stream);
        let end = end("too slow; resume from the last position");
        assert!(read.ends_with(&end) && read.matches("xxx").count() > 2_000, "{} bytes", read.len());
        assert_eq!(scene.shard.usage().subscriptions, 0);
    }
}

#[test]
fn a_stream_of_a_topic_for_which_there_is_no_room_says_so() {
    let limits = pubsub::Limits { topics: 1, ..pubsub::Limits::default() };
    let mut scene = Scene::new(|config| config.limits = Limits { pubsub: limits, ..Limits::default() });
    let first = scene.get("/sse?topic=a");
    assert!(scene.written(first).contains("\nid: "));
    let second = scene.get("/sse?topic=b");
    assert!(scene.written(second).ends_with(&end("there are too many topics")));
    assert!(scene.is_ending(second));
    // One whose topics can be changed goes on without it.
    let third = scene.get("/sse?address=1&topic=b");
    let told = scene.written(third);
    assert!(
        told.ends_with(
            "event: brolly.failed\ndata: {\"reason\":\"there is no room for this topic\",\"topic\":\"b\"}\n\n\n"
        ),
        "{told}"
    );
    assert!(!scene.is_ending(third));
}

const TEN_SECONDS: &str = "X-Authorization-Expires-In: 10\r\n";
const EXPIRED: &str = "the authorisation has ended";

/// A server's close frame.
fn close_frame() -> Vec<u8> {
    [&[0x88, 29, 0x11, 0x31], EXPIRED.as_bytes()].concat()
}

#[test]
fn a_stream_ends_with_its_authorisation() {
    for target in ["/guarded/sse?topic=a", "/guarded/sse?topic=a&topic=b", "/guarded/sse?address=1&topic=a"] {
        let mut scene = Scene::new(|_| ());
        scene.permission = TEN_SECONDS.into();
        let stream = scene.get(target);
        assert!(scene.written(stream).starts_with("HTTP/1.1 200 "));
        scene.wait(9);
        scene.publish("a", 5);
        assert!(scene.written(stream).contains("xxxxx"));
        scene.wait(1);
        assert_eq!(scene.written(stream), end(EXPIRED), "{target}");
        assert!(scene.is_ending(stream));
        assert_eq!(scene.shard.usage().subscriptions, 0);
        let (request, reason) = scene.logged.last().unwrap();
        assert_eq!((&**request, reason.as_deref()), (&*format!("GET {target}"), Some(EXPIRED)));
    }
}

#[test]
fn a_poll_is_answered_when_its_authorisation_ends() {
    let mut scene = Scene::new(|_| ());
    scene.permission = TEN_SECONDS.into();
    let poll = scene.get("/guarded/poll?topic=a&wait=25");
    scene.wait(9);
    assert_eq!(scene.written(poll), "");
    scene.wait(1);
    let answer = scene.written(poll);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"messages\":[]"), "{answer}");
    assert_eq!(scene.shard.usage().subscriptions, 0);
    // The connection goes on, and its next request is asked for anew.
    scene.permission = String::new();
    scene.say(poll, "GET /guarded/sse?topic=a HTTP/1.1\r\nhost: a\r\n\r\n");
    scene.wait(100);
    assert!(!scene.written(poll).contains("brolly.end"));
}

#[test]
fn a_websocket_is_closed_when_its_authorisation_ends() {
    for target in ["/guarded/ws?topic=a", "/guarded/echo"] {
        let mut scene = Scene::new(|_| ());
        scene.permission = TEN_SECONDS.into();
        let socket = scene.upgrade(target);
        scene.wait(9);
        assert!(!scene.is_ending(socket));
        scene.wait(1);
        let told = scene.written_bytes(socket);
        assert_eq!(told, close_frame(), "{target}: {}", told.escape_ascii());
        assert_eq!(scene.shard.usage().subscriptions, 0);
        // What it still says counts no longer.
        let call = b"[\"brolly.publish\",{\"request_id\":1},[\"a\",1],{}]";
        let masked = [&[0x81, 0x80 | call.len() as u8, 0, 0, 0, 0], &call[..]].concat();
        scene.shard.handle_read(scene.now(), socket, &mut masked.clone());
        assert_eq!(scene.written(socket), "");
        scene.shard.handle_read(scene.now(), socket, &mut [0x88, 0x82, 0, 0, 0, 0, 0x11, 0x31]);
        assert!(scene.is_ending(socket));
        // Whoever says nothing is dropped.
        let silent = scene.upgrade(target);
        scene.wait(10);
        scene.written(silent);
        scene.wait(60);
        assert!(scene.shard.interest(silent).close);
    }
}

#[test]
fn both_ends_of_a_relay_learn_that_the_authorisation_has_ended() {
    let mut scene = Scene::new(|_| ());
    scene.permission = TEN_SECONDS.into();
    let client = scene.upgrade("/guarded/relay");
    scene.wait(9);
    let (&backend, told) = scene.told.iter().next().unwrap();
    assert!(told.is_empty());
    scene.wait(1);
    assert_eq!(scene.written_bytes(client), close_frame());
    let told = &scene.told[&backend];
    let key = [told[2], told[3], told[4], told[5]];
    let payload: Vec<u8> = told[6..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    assert_eq!((told[0], told[1], payload), (0x88, 0x80 | 29, close_frame()[2..].to_vec()));
    // Nothing passes any more.
    let before = told.len();
    scene.shard.handle_read(scene.now(), client, &mut [&[0x81, 0x85, 0, 0, 0, 0], &b"hello"[..]].concat());
    scene.shard.handle_read(scene.now(), backend, &mut [&[0x81, 0x05], &b"hello"[..]].concat());
    scene.run();
    assert_eq!((scene.told[&backend].len(), scene.written(client)), (before, String::new()));
}

#[test]
fn a_tunnel_ends_with_its_authorisation() {
    let mut scene = Scene::new(|_| ());
    scene.permission = TEN_SECONDS.into();
    let client = scene.upgrade("/guarded/tunnel");
    let backend = *scene.told.keys().next().unwrap();
    scene.wait(9);
    assert!(!scene.shard.interest(client).close);
    scene.wait(1);
    assert!(scene.shard.interest(client).close);
    scene.shard.handle_closed(scene.now(), client, None);
    assert!(scene.is_ending(backend));
}

#[test]
fn what_has_an_end_of_its_own_is_finished() {
    let mut scene = Scene::new(|_| ());
    // Nothing begins that goes on.
    scene.permission = "X-Authorization-Expires-In: 0\r\n".into();
    let conn = scene.get("/guarded/status");
    assert!(scene.written(conn).starts_with("HTTP/1.1 200 "));
    scene.wait(5);
    assert!(!scene.is_ending(conn));
    let stream = scene.get("/guarded/sse?topic=a");
    assert!(scene.written(stream).ends_with(&end(EXPIRED)));
}

#[test]
fn a_time_that_cannot_be_read_is_no_permission() {
    let field = |value: &str| format!("X-Authorization-Expires-In: {value}\r\n");
    for value in ["", "1.5", "-1", "+1", "soon", "10, 20", "0x10"] {
        let mut scene = Scene::new(|_| ());
        scene.permission = field(value);
        let conn = scene.get("/guarded/status");
        assert!(scene.written(conn).starts_with("HTTP/1.1 502 "), "{value:?}");
    }
    let mut scene = Scene::new(|_| ());
    scene.permission = field("10") + &field("10");
    let conn = scene.get("/guarded/status");
    assert!(scene.written(conn).starts_with("HTTP/1.1 502 "));
    // Longer than any clock runs.
    for value in ["18446744073709551615", "99999999999999999999999"] {
        scene.permission = field(value);
        let stream = scene.get("/guarded/sse?topic=a");
        for _ in 0..10 {
            scene.wait(10);
            assert!(!scene.written(stream).contains("brolly.end"), "{value}");
        }
    }
}

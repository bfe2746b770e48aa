//! Subscriptions that the server ends: what each transport is told, and that nothing stays behind.
#![cfg(not(loom))]

use brolly_core::config::{Config, Handler, Limits, WebSocket};
use brolly_core::pubsub;
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{ConnId, Effect, Mail, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One shard, and who listens to it.
struct Scene {
    shard: Shard,
    seconds: u64,
    logged: Vec<(String, Option<String>)>,
}

impl Scene {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let handlers = vec![
            ("/sse", Handler::EventStream),
            ("/ws", Handler::WebSocket(WebSocket::default())),
            ("/poll", Handler::LongPoll),
            ("/publish", Handler::Publish),
        ];
        let mut routes = Routes::default();
        for (to, (prefix, _)) in handlers.iter().enumerate() {
            routes.add(Route { host: HostPattern::Any, prefix: (*prefix).into(), to: to.into() }).unwrap();
        }
        let handlers = handlers.into_iter().map(|(_, handler)| handler).collect();
        let mut config = Config { routes, handlers, log_requests: true, ..Config::default() };
        change(&mut config);
        Self { shard: Shard::new(Arc::new(config), 0, 1, Seed([7; 32])), seconds: 1, logged: Vec::new() }
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

    /// What is to be done meanwhile.
    fn run(&mut self) {
        self.shard.handle_timeout(self.now());
        while let Some(effect) = self.shard.poll_effect() {
            if let Effect::Log(access) = effect {
                self.logged.push((access.request.to_string(), access.reason.map(Into::into)));
            }
        }
    }

    /// Everything that is to be written to a connection.
    fn written(&mut self, conn: ConnId) -> String {
        let mut text = Vec::new();
        while self.shard.interest(conn).write {
            let mut slices: [&[u8]; 16] = [&[]; 16];
            let filled = self.shard.outgoing(conn, &mut slices);
            let bytes = slices[..filled].concat();
            self.shard.handle_write(self.now(), conn, bytes.len());
            text.extend(bytes);
        }
        String::from_utf8_lossy(&text).into_owned()
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

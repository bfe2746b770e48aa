//! Event streams in gzip: after each event a decoder has all that somebody sees who did not ask for it.
#![cfg(not(loom))]

use brolly_core::config::{Config, Handler};
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{ConnId, Mail, Shard};
use brolly_core::time::{Instant, Now};
use flate2::write::GzDecoder;
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const NOW: Now = Now { instant: Instant::from_nanos(1_000_000_000), unix: brolly_core::time::UnixTime::from_millis(1) };

struct Scene(Shard);

impl Scene {
    fn new() -> Self {
        let handlers = vec![
            ("/sse", Handler::EventStream { compress: true }),
            ("/plain", Handler::EventStream { compress: false }),
            ("/publish", Handler::Publish),
        ];
        let mut routes = Routes::default();
        for (to, (prefix, _)) in handlers.iter().enumerate() {
            routes.add(Route { host: HostPattern::Any, prefix: (*prefix).into(), to: to.into() }).unwrap();
        }
        let handlers = handlers.into_iter().map(|(_, handler)| handler).collect();
        let config = Config { routes, handlers, ..Config::default() };
        Self(Shard::new(Arc::new(config), 0, 1, Seed([7; 32])))
    }

    fn ask(&mut self, request: &[u8]) -> ConnId {
        let conn = self.0.handle_accept(NOW, SocketAddr::from(([192, 0, 2, 1], 9)).into()).unwrap();
        self.0.handle_read(NOW, conn, &mut request.to_vec());
        conn
    }

    fn publish(&mut self, topic: &str, content: &[u8]) {
        let head = format!(
            "POST /publish/{topic} HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
            content.len()
        );
        let conn = self.ask(&[head.as_bytes(), content].concat());
        assert!(self.written(conn).starts_with(b"HTTP/1.1 200 "));
        self.0.handle_closed(NOW, conn, None);
    }

    fn written(&mut self, conn: ConnId) -> Vec<u8> {
        self.0.handle_timeout(NOW);
        let mut bytes = Vec::new();
        while self.0.interest(conn).write {
            let mut slices: [&[u8]; 16] = [&[]; 16];
            let filled = self.0.outgoing(conn, &mut slices);
            let piece = slices[..filled].concat();
            self.0.handle_write(NOW, conn, piece.len());
            bytes.extend(piece);
        }
        bytes
    }

    /// Opens a stream; its head, and what follows.
    fn open(&mut self, target: &str, accepted: &str) -> (ConnId, String, Vec<u8>) {
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\naccept-encoding: {accepted}\r\n\r\n");
        let conn = self.ask(request.as_bytes());
        let answer = self.written(conn);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        (conn, String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
    }
}

/// What stands in a stream but the secret address of its own.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.split("\n\n").filter(|event| !event.contains("brolly.stream")).collect::<Vec<_>>().join("\n\n")
}

fn message() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,80}",
        "[a-z]{0,200}",
        ("[ -~\n]{1,40}", 1..400_usize).prop_map(|(piece, times)| piece.repeat(times)),
        // Nothing to be saved: stored, in more than one block.
        (0..3_usize, any::<u64>()).prop_map(|(times, seed)| noise(times * 50_000, seed)),
    ]
}

fn noise(length: usize, mut seed: u64) -> String {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (seed >> 33) as u8 % 95)
    };
    (0..length).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_decoder_has_every_event_at_once(messages in vec((any::<bool>(), message()), 1..8), form in 0..3_usize) {
        let mut scene = Scene::new();
        let query = ["topic=a", "topic=a&topic=b", "address=1&topic=a&topic=b"][form];
        let (plain, _, mut expected) = scene.open(&format!("/sse?{query}"), "identity");
        let streams: Vec<_> = (0..2).map(|_| scene.open(&format!("/sse?{query}"), "gzip")).collect();
        let mut decoders: Vec<_> = streams
            .into_iter()
            .map(|(conn, head, begun)| {
                assert!(head.contains("\r\ncontent-encoding: gzip\r\n") && head.contains("\r\nvary: accept-encoding\r\n"));
                let mut decoder = GzDecoder::new(Vec::new());
                decoder.write_all(&begun).unwrap();
                (conn, decoder)
            })
            .collect();
        for (is_a, message) in &messages {
            scene.publish(if *is_a { "a" } else { "b" }, message.as_bytes());
            expected.extend(scene.written(plain));
            for (conn, decoder) in &mut decoders {
                decoder.write_all(&scene.written(*conn)).unwrap();
                decoder.flush().unwrap();
                prop_assert_eq!(shown(decoder.get_ref()), shown(&expected));
            }
        }
        scene.0.handle_mail(NOW, Mail::Shutdown(Duration::from_secs(10)));
        expected.extend(scene.written(plain));
        for (conn, mut decoder) in decoders {
            decoder.write_all(&scene.written(conn)).unwrap();
            // Checksum and length.
            let read = decoder.finish().unwrap();
            prop_assert_eq!(shown(&read), shown(&expected));
            let is_whole = read.ends_with(b"the server is shutting down\"}\n\n");
            prop_assert!(is_whole);
        }
    }
}

#[test]
fn only_who_takes_gzip_gets_it_and_only_where_it_is_asked_for() {
    let mut scene = Scene::new();
    for (target, accepted, is_gzip, varies) in [
        ("/sse?topic=a", "gzip, deflate, br, zstd", true, true),
        ("/sse?topic=a", "gzip;q=0.1", true, true),
        ("/sse?topic=a", "*", true, true),
        ("/sse?topic=a", "", false, true),
        ("/sse?topic=a", "br, zstd", false, true),
        ("/sse?topic=a", "gzip;q=0", false, true),
        ("/sse?topic=a", "identity, gzip;q=0.5", false, true),
        ("/plain?topic=a", "gzip", false, false),
    ] {
        let (_, head, begun) = scene.open(target, accepted);
        assert_eq!(head.contains("\r\ncontent-encoding: gzip\r\n"), is_gzip, "{target} {accepted}");
        assert_eq!(head.contains("\r\nvary: accept-encoding\r\n"), varies, "{target} {accepted}");
        assert_eq!(begun.starts_with(b":\n\n"), !is_gzip, "{target} {accepted}");
        assert!(head.contains("\r\ncache-control: no-store, no-transform\r\n"));
    }
}

/// One event of 1 KiB of JSON, to a stream that follows one topic.
#[test]
fn a_long_event_becomes_smaller_and_a_short_one_hardly_longer() {
    let mut scene = Scene::new();
    let (conn, _, _) = scene.open("/sse?topic=a", "gzip");
    let row = |n: usize| format!("{{\"id\":{n},\"name\":\"user {n}\",\"score\":{}}}", n * 7919 % 1000);
    let rows: Vec<_> = (0..27).map(row).collect();
    let json = format!("[{}]", rows.join(","));
    for (content, most) in [(json.as_str(), json.len() / 2), ("short", 80)] {
        scene.publish("a", content.as_bytes());
        let length = scene.written(conn).len();
        assert!(length < most, "{length} bytes for {}", content.len());
    }
}

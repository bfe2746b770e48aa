//! Connections and whole shards: how the bytes are cut must not matter.
#![cfg(not(loom))]

use brolly_core::config::{Asset, Config, Handler, Limits, WebSocket};
use brolly_core::conn::{
    ClientConn, ClientEvent, Content, Message, Patience, ServerConn, ServerEvent, WebSocketConn, WebSocketEvent,
};
use brolly_core::http1::{Framing, StatusCode};
use brolly_core::outbox::Outbox;
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route};
use brolly_core::shard::Shard;
use brolly_core::time::Now;
use brolly_core::ws::deflate::Codec;
use brolly_core::ws::{self, Opcode, Role};
use bytes::Bytes;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;

/// Offers `input` to `receive` in pieces that end at `cuts`, with what was not used before each; collects what it says.
fn feed(input: &[u8], cuts: &[usize], mut receive: impl FnMut(&mut [u8]) -> (usize, Option<String>)) -> Vec<String> {
    let (mut unread, mut events, mut at) = (Vec::new(), Vec::new(), 0);
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).chain([input.len()]).collect();
    ends.sort_unstable();
    for end in ends {
        unread.extend_from_slice(&input[at..end]);
        at = end;
        loop {
            let (used, event) = receive(&mut unread);
            unread.drain(..used);
            let is_event = event.is_some();
            events.extend(event);
            if !is_event && (used == 0 || unread.is_empty()) {
                break;
            }
        }
    }
    joined(events)
}

/// Pieces of content are one piece: where they are cut is not part of the message.
fn joined(events: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for event in events {
        match (joined.last_mut(), event.strip_prefix("content ")) {
            (Some(last), Some(more)) if last.starts_with("content ") => last.push_str(more),
            _ => joined.push(event),
        }
    }
    joined
}

fn unsent(out: &Outbox) -> Vec<u8> {
    let mut slices: [&[u8]; 64] = [&[]; 64];
    let filled = out.slices(&mut slices);
    slices[..filled].concat()
}

fn server(input: &[u8], cuts: &[usize]) -> (Vec<String>, Vec<u8>) {
    let limits = Limits::default();
    let (timeouts, now) = (limits.timeouts(), Now::default());
    let mut conn = ServerConn::new(now, limits.http, &timeouts);
    let events = feed(input, cuts, |unread| {
        let (used, event) = conn.receive(now, &timeouts, unread);
        let mut status = None;
        let said = event.map(|event| match event {
            ServerEvent::Request(head, framing) => {
                status = (framing == Framing::Empty).then_some(StatusCode::OK);
                format!("request {} {} {framing:?}", head.method.as_str(), head.target.path())
            }
            ServerEvent::Content(data) => format!("content {}", data.escape_ascii()),
            ServerEvent::End(_) => {
                status = Some(StatusCode::OK);
                "end".into()
            }
            ServerEvent::Refused(error, _) => {
                status = Some(error.status());
                format!("refused {error}")
            }
        });
        if let Some(status) = status {
            conn.respond(now, &timeouts, status, Content::Full(b"answer"), |_| Ok(())).unwrap();
        }
        (used, said)
    });
    (events, unsent(conn.unsent()))
}

/// A response that ends with the connection: its end is announced, waited for, and never there if something is missing.
#[test]
fn the_end_of_the_connection_is_that_of_the_response() {
    let limits = Limits::default();
    let timeouts = limits.timeouts();
    for (ends_first, is_read) in [(false, true), (true, true), (false, false)] {
        let mut now = Now::default();
        let mut conn = ServerConn::new(now, limits.http, &timeouts);
        assert!(conn.receive(now, &timeouts, b"GET / HTTP/1.0\r\n\r\n").1.is_some());
        if ends_first {
            conn.handle_eof();
        }
        conn.respond(now, &timeouts, StatusCode::OK, Content::Stream, |_| Ok(())).unwrap();
        conn.send_content(now, &timeouts, b"all of it");
        assert!(conn.interest().write);
        conn.end(now, &timeouts, None);
        assert!(conn.interest().write && !conn.interest().close);
        if !is_read {
            now.instant = now.instant + timeouts.linger;
            conn.handle_timeout(now);
            assert!(!conn.interest().close, "a slow reader has longer than that");
            now.instant = now.instant + timeouts.write;
            conn.handle_timeout(now);
            assert!(conn.interest().close && conn.interest().reset);
            continue;
        }
        let queued = conn.unsent().len();
        conn.outbox().advance(queued);
        conn.wrote(now, &timeouts);
        assert!(conn.interest().shutdown && !conn.interest().close);
        conn.handle_shutdown();
        assert_eq!(conn.interest().close, ends_first, "the client has not said yet that it has everything");
        conn.handle_eof();
        assert!(conn.interest().close && !conn.interest().reset);
    }
    // What was aborted does not come back.
    let now = Now::default();
    let mut conn = ServerConn::new(now, limits.http, &timeouts);
    assert!(conn.receive(now, &timeouts, b"GET / HTTP/1.0\r\n\r\n").1.is_some());
    conn.respond(now, &timeouts, StatusCode::OK, Content::Stream, |_| Ok(())).unwrap();
    conn.abort();
    conn.send_content(now, &timeouts, b"more");
    conn.end(now, &timeouts, None);
    assert!(conn.interest().close);
}

fn client(input: &[u8], cuts: &[usize]) -> Vec<String> {
    let limits = Limits::default();
    let (timeouts, now) = (limits.timeouts(), Now::default());
    let mut conn = ClientConn::new(limits.http, now.instant);
    let patience = Patience { first_byte: limits.upstream_timeout, idle: limits.upstream_timeout };
    let head = Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n");
    conn.request(&Message { head, framing: Framing::Empty, is_head: false, content: None }, Some("a"));
    conn.handle_connected(now, &timeouts, &patience);
    let written = conn.outbox().len();
    conn.outbox().advance(written);
    conn.wrote(now, &timeouts, &patience);
    feed(input, cuts, |unread| {
        let (used, event) = conn.receive(now, &patience, unread);
        let said = event.map(|event| match event {
            ClientEvent::Response(head, framing) => format!("response {} {framing:?}", head.status.as_u16()),
            ClientEvent::Content(data) => format!("content {}", data.escape_ascii()),
            ClientEvent::End(_) => "end".into(),
            ClientEvent::Failed(error) => format!("failed {error}"),
        });
        (used, said)
    })
}

fn websocket(role: Role, input: &[u8], cuts: &[usize]) -> (Vec<String>, Vec<u8>) {
    let limits = Limits::default();
    let (timeouts, now) = (limits.timeouts(), Now::default());
    let (mut conn, mut codec) =
        (WebSocketConn::new(now, role, limits.websocket, &timeouts, Outbox::new()), Codec::new());
    let events = feed(input, cuts, |unread| {
        let (used, event) = conn.receive(now, &timeouts, &mut codec, || [1, 2, 3, 4], unread);
        let said = event.map(|event| match event {
            WebSocketEvent::Text(text) => format!("text {text}"),
            WebSocketEvent::Binary(data) => format!("binary {}", data.escape_ascii()),
            WebSocketEvent::Piece { .. } => unreachable!("messages are asked for whole"),
            WebSocketEvent::Closed(frame) => format!("closed {frame:?}"),
            WebSocketEvent::Failed(error) => format!("failed {error}"),
        });
        (used, said)
    });
    (events, unsent(conn.unsent()))
}

/// All that a shard answers to `input` on one connection.
fn shard(input: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut config = Config::default();
    let asset = Asset::new("", "text/plain", Bytes::from_static(b"the page"));
    for (prefix, handler) in [
        ("/", Handler::Memory(Arc::new([asset]))),
        ("/poll", Handler::LongPoll),
        ("/publish", Handler::Publish),
        ("/sse", Handler::EventStream { compress: false }),
        ("/ws", Handler::WebSocket(WebSocket::default())),
        ("/echo", Handler::Echo(None)),
    ] {
        let to = config.handlers.len();
        config.routes.add(Route { host: HostPattern::Any, prefix: prefix.into(), to: to.into() }).unwrap();
        config.handlers.push(handler);
    }
    let mut shard = Shard::new(Arc::new(config), 0, 1, Seed([1; 32]));
    let (now, mut sent) = (Now::default(), Vec::new());
    let conn = shard.handle_accept(now, SocketAddr::from(([127, 0, 0, 1], 1)).into()).unwrap();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).chain([input.len()]).collect();
    ends.sort_unstable();
    let mut at = 0;
    for end in ends {
        if end > at && shard.interest(conn).read {
            shard.handle_read(now, conn, &mut input[at..end].to_vec());
            at = end;
        }
        while shard.interest(conn).write {
            let mut slices: [&[u8]; 16] = [&[]; 16];
            let filled = shard.outgoing(conn, &mut slices);
            let bytes = slices[..filled].concat();
            sent.extend_from_slice(&bytes);
            shard.handle_write(now, conn, bytes.len());
        }
    }
    sent
}

/// Requests of a client, of which some cannot be read, one behind the other.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        Just("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        Just("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        Just("GET /poll?topic=a&position=0&wait=0 HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        Just(
            "POST /publish/a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\nx: y\r\n\r\n"
                .to_owned()
        ),
        "[ -~]{0,20}".prop_map(|text| format!(
            "POST /publish/a HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        )),
        Just("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n".to_owned()),
        Just("GET /sse?topic=a&last_event_id=0 HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        Just("BAD\r\n\r\n".to_owned()),
    ];
    prop::collection::vec(request, 1..6).prop_map(|requests| requests.concat().into_bytes())
}

fn responses() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just("HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned()),
        Just(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\na: b\r\n\r\n"
                .to_owned()
        ),
        Just("HTTP/1.1 200 OK\r\n\r\nuntil the end".to_owned()),
        Just("HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        Just("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloX".to_owned()),
        Just("nonsense\r\n\r\n".to_owned()),
    ]
    .prop_map(String::into_bytes)
}

fn frames(role: Role) -> impl Strategy<Value = Vec<u8>> {
    let key = (role == Role::Server).then_some([9, 8, 7, 6]);
    let frame = (0..5_u8, prop::collection::vec(any::<u8>(), 0..200)).prop_map(move |(kind, payload)| {
        let text = String::from_utf8_lossy(&payload).into_owned();
        let mut out = Outbox::new();
        match kind {
            0 => ws::encode(Opcode::Text, text.as_bytes(), key, &mut out),
            1 => ws::encode(Opcode::Binary, &payload, key, &mut out),
            2 => ws::encode(Opcode::Ping, &payload, key, &mut out),
            3 => ws::encode(Opcode::Text, &payload, key, &mut out),
            _ => ws::encode_close(ws::CloseCode::NORMAL, "bye", key, &mut out),
        }
        unsent(&out)
    });
    prop::collection::vec(frame, 1..8).prop_map(|frames| frames.concat())
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just((0..4096).collect()), prop::collection::vec(any::<usize>(), 0..12)]
}

proptest! {
    #[test]
    fn a_server_reads_and_answers_the_same_however_the_bytes_are_cut(input in requests(), cuts in cuts()) {
        prop_assert_eq!(server(&input, &cuts), server(&input, &[]));
    }

    #[test]
    fn a_client_reads_the_same_however_the_bytes_are_cut(input in responses(), cuts in cuts()) {
        prop_assert_eq!(client(&input, &cuts), client(&input, &[]));
    }

    #[test]
    fn a_websocket_of_a_server_reads_and_answers_the_same(input in frames(Role::Server), cuts in cuts()) {
        prop_assert_eq!(websocket(Role::Server, &input, &cuts), websocket(Role::Server, &input, &[]));
    }

    #[test]
    fn a_websocket_of_a_client_reads_and_answers_the_same(input in frames(Role::Client), cuts in cuts()) {
        prop_assert_eq!(websocket(Role::Client, &input, &cuts), websocket(Role::Client, &input, &[]));
    }

    #[test]
    fn a_shard_answers_the_same_however_the_bytes_are_cut(input in requests(), cuts in cuts()) {
        prop_assert_eq!(shard(&input, &cuts).escape_ascii().to_string(), shard(&input, &[]).escape_ascii().to_string());
    }

    #[test]
    fn a_shard_echoes_the_same_however_the_bytes_are_cut(frames in frames(Role::Server), cuts in cuts()) {
        let mut input = b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_vec();
        input.extend_from_slice(&frames);
        prop_assert_eq!(shard(&input, &cuts), shard(&input, &[]));
    }
}

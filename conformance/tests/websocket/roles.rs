//! What only a client or only a server does (RFC 6455 §4.1, §5.1, §5.3), what a failed connection does no more (§7.1.7), and where the
//! bit of permessage-deflate may stand (RFC 7692 §6).

use super::frame;
use brolly_core::config;
use brolly_core::conn::{OpeningConn, WebSocketConn, WebSocketEvent};
use brolly_core::outbox::Outbox;
use brolly_core::rng::{Rng, Seed};
use brolly_core::time::{Instant, Now};
use brolly_core::ws::deflate::Codec;
use brolly_core::ws::handshake::Request;
use brolly_core::ws::{CloseCode, Decoder, Fin, FrameHeader, Limits, Opcode, ProtocolError, Role};
use std::collections::BTreeSet;

fn conn(role: Role) -> WebSocketConn {
    WebSocketConn::new(Now::default(), role, Limits::default(), &config::Limits::default().timeouts(), Outbox::new())
}

fn unsent(outbox: &Outbox) -> Vec<u8> {
    let mut slices: [&[u8]; 64] = [&[]; 64];
    let filled = outbox.slices(&mut slices);
    slices[..filled].concat()
}

#[test]
fn a_client_masks_every_frame_with_a_fresh_key_and_a_server_none() {
    for role in [Role::Client, Role::Server] {
        let (mut conn, mut codec, mut now) = (conn(role), Codec::new(), Now::default());
        let timeouts = config::Limits::default().timeouts();
        let mut rng = Rng::new(Seed([3; 32]), 0);
        conn.send(now, &timeouts, &mut codec, Opcode::Text, b"text".as_slice(), || rng.next_key());
        conn.send(now, &timeouts, &mut codec, Opcode::Binary, vec![7; 5000], || rng.next_key());
        for fin in [Fin::More, Fin::More, Fin::Final] {
            conn.send_piece(now, &timeouts, Opcode::Binary, fin, b"piece", || rng.next_key());
        }
        let mut ping = frame(0x89, (role == Role::Server).then_some([9; 4]), b"?");
        conn.receive(now, &timeouts, &mut codec, || rng.next_key(), &mut ping);
        let written = unsent(conn.unsent());
        conn.outbox().clear();
        conn.wrote(now, &timeouts);
        now.instant = Instant::from_nanos(26_000_000_000);
        conn.handle_timeout(now, &timeouts, || rng.next_key());
        conn.close(now, &timeouts, CloseCode::NORMAL, "", || rng.next_key());
        let wire = [written, unsent(conn.unsent())].concat();
        let (mut at, mut keys, mut opcodes) = (0, BTreeSet::new(), Vec::new());
        while let Some((header, length)) = FrameHeader::parse(&wire[at..]).unwrap() {
            assert_eq!(header.masking_key.is_some(), role == Role::Client);
            keys.extend(header.masking_key);
            opcodes.push(header.opcode);
            at += length + header.payload_len as usize;
        }
        let pieces = [Opcode::Binary, Opcode::Continuation, Opcode::Continuation];
        let expected = [&[Opcode::Text, Opcode::Binary][..], &pieces, &[Opcode::Pong, Opcode::Ping, Opcode::Close]];
        assert_eq!(opcodes, expected.concat());
        assert_eq!(keys.len(), if role == Role::Client { opcodes.len() } else { 0 });
    }
}

#[test]
fn a_client_asks_as_it_must_and_then_waits() {
    let (now, limits) = (Now::default(), config::Limits::default());
    let request = Request { host: "example.org:81", target: "/chat?room=1", ..Request::default() };
    let mut keys = BTreeSet::new();
    for seed in 0..3 {
        let nonce = Rng::new(Seed([seed; 32]), 0).next_nonce();
        let mut opening = OpeningConn::new(now, &limits.timeouts(), limits.http, &request, nonce).unwrap();
        let asked = String::from_utf8(unsent(opening.outbox())).unwrap().to_ascii_lowercase();
        let (line, fields) = asked.strip_suffix("\r\n\r\n").unwrap().split_once("\r\n").unwrap();
        assert_eq!(line, "get /chat?room=1 http/1.1");
        let field = |name: &str| {
            let all = fields.lines().filter_map(|line| line.split_once(": "));
            let found: Vec<&str> = all.filter(|(known, _)| *known == name).map(|(_, value)| value).collect();
            assert_eq!(found.len(), 1, "{name} in {fields}");
            found[0].to_owned()
        };
        assert_eq!(field("host"), "example.org:81");
        assert_eq!((field("upgrade"), field("connection")), ("websocket".into(), "upgrade".into()));
        assert_eq!(field("sec-websocket-version"), "13");
        assert_eq!(field("sec-websocket-key").len(), 24);
        keys.insert(field("sec-websocket-key"));
        // Until the response, nothing more.
        opening.outbox().clear();
        opening.wrote(now, &limits.timeouts());
        assert_eq!(opening.receive(now, &limits.timeouts(), b"HTTP/1.1 101 Switch").1, None);
        assert!(opening.outbox().is_empty() && !opening.interest().write);
    }
    assert_eq!(keys.len(), 3);
}

#[test]
fn a_failed_connection_hears_nothing_more() {
    for role in [Role::Server, Role::Client] {
        let key = (role == Role::Server).then_some([1, 2, 3, 4]);
        let (mut conn, mut codec, now) = (conn(role), Codec::new(), Now::default());
        let timeouts = config::Limits::default().timeouts();
        let mut input = [frame(0x83, key, b""), frame(0x81, key, b"text")].concat();
        let length = input.len();
        let (used, event) = conn.receive(now, &timeouts, &mut codec, || [0; 4], &mut input);
        assert!(matches!(event, Some(WebSocketEvent::Failed(ProtocolError::ReservedOpcode))));
        assert_eq!(used, length);
        let said = conn.unsent().len();
        for (first, payload) in [(0x81, &b"text"[..]), (0x89, b"ping"), (0x88, b"\x03\xe8")] {
            let mut more = frame(first, key, payload);
            let length = more.len();
            let (used, event) = conn.receive(now, &timeouts, &mut codec, || [0; 4], &mut more);
            assert!(used == length && event.is_none());
        }
        conn.send(now, &timeouts, &mut codec, Opcode::Text, b"text".as_slice(), || [0; 4]);
        assert_eq!(conn.unsent().len(), said);
    }
}

#[test]
fn only_the_first_frame_of_a_message_says_that_it_is_compressed() {
    for (first, may) in [
        (0xC1, true),
        (0xC2, true),
        (0x41, true),
        (0xC0, false),
        (0xC8, false),
        (0xC9, false),
        (0xCA, false),
        (0xA1, false),
        (0x91, false),
        (0xE1, false),
    ] {
        let mut decoder = Decoder::new(Role::Client, Limits::default());
        decoder.allow_deflated();
        if first & 0x0F == 0 {
            assert_eq!(decoder.decode(&mut frame(0x41, None, b"a")).unwrap().1, None);
        }
        let heard = decoder.decode(&mut frame(first, None, b"")).map(|_| ());
        assert_eq!(heard, if may { Ok(()) } else { Err(ProtocolError::ReservedBits) }, "{first:x}");
    }
}

//! WebSockets, both roles: what a peer sends after the opening handshake, and from its first byte. However it is cut, the same is heard
//! and answered; little is held; and nothing opens that should not.

use super::decoders::{Said, offer, split, thing};
use brolly_core::config::{Compression, Config, Handler, Limits, WebSocket};
use brolly_core::conn::{Opened, OpeningConn, Refusal, Timeouts, WebSocketConn, WebSocketEvent};
use brolly_core::outbox::Outbox;
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route};
use brolly_core::shard::Shard;
use brolly_core::time::Now;
use brolly_core::ws::deflate::{self, Codec, Extension};
use brolly_core::ws::handshake::{self, Request};
use brolly_core::ws::{self, Opcode, ProtocolError, Role};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::str;
use std::sync::Arc;

/// The longest frame that a machine sends by itself: a control frame with a mask.
const CONTROL_FRAME: usize = 2 + 4 + 125;
/// How many of them wait at most: 17 pongs and a close frame.
const ANSWERS: usize = 18;
const LIMIT: usize = 5000;
const KEY: [u8; 4] = [1, 2, 3, 4];
const NONCE: [u8; 16] = *b"the sample nonce";
const COMPRESSION: Compression = Compression { level: 1, window_bits: 15, context_takeover: true, threshold: 0 };

/// What was heard, and what is to be written.
type Heard = (Vec<Said>, Vec<u8>);

/// The frames of a client.
pub fn websocket_server(data: &[u8]) {
    frames(Role::Server, data);
}

/// The frames of a server.
pub fn websocket_client(data: &[u8]) {
    frames(Role::Client, data);
}

fn frames(role: Role, data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let conn = || {
        let limits = ws::Limits { message_bytes: LIMIT, ..ws::Limits::default() };
        let offer = deflate::offer(&COMPRESSION).unwrap_or_default();
        let agreed = deflate::accept([offer.as_bytes()], &COMPRESSION).map(|(agreed, _)| agreed);
        WebSocketConn::new(Now::default(), role, limits, &timeouts(), Outbox::new())
            .with_extension(agreed.map(|agreed| Extension::new(agreed, &COMPRESSION)))
    };
    let whole = hear(conn(), input, &mut || usize::MAX);
    assert_eq!(whole, hear(conn(), input, &mut || random.index(20)));
    // Pieces have no limit; but for that, they are the messages.
    if whole.0.last() != Some(&thing(ProtocolError::MessageTooBig)) {
        assert_eq!(whole, hear(conn().deliver_pieces(), input, &mut || random.index(20)));
    }
}

fn timeouts() -> Timeouts {
    Limits::default().timeouts()
}

fn hear(mut conn: WebSocketConn, input: &[u8], size: &mut dyn FnMut() -> usize) -> Heard {
    let (timeouts, mut codec, mut message) = (timeouts(), Codec::new(), Vec::new());
    let left = |left| assert!(left < CONTROL_FRAME, "{left} bytes are left");
    let said = offer(input, size, left, |bytes| {
        let (used, event) = conn.receive(Now::default(), &timeouts, &mut codec, || KEY, bytes);
        let said = match event {
            Some(WebSocketEvent::Piece { opcode, data, is_last }) => {
                assert!(is_last || !data.is_empty(), "an empty piece");
                message.extend_from_slice(&data);
                is_last.then(|| self::message(opcode, &std::mem::take(&mut message)))
            }
            Some(WebSocketEvent::Text(text)) => Some(self::message(Opcode::Text, text.as_bytes())),
            Some(WebSocketEvent::Binary(data)) => Some(self::message(Opcode::Binary, &data)),
            Some(WebSocketEvent::Closed(frame)) => Some(thing(frame)),
            Some(WebSocketEvent::Failed(error)) => Some(thing(error)),
            None => None,
        };
        let waiting = conn.unsent().len();
        assert!(waiting <= ANSWERS * CONTROL_FRAME, "{waiting} bytes wait");
        Ok::<_, Infallible>((used, said))
    });
    (said, unsent(&conn))
}

fn message(opcode: Opcode, data: &[u8]) -> Said {
    assert!(opcode != Opcode::Text || str::from_utf8(data).is_ok(), "text that is not UTF-8");
    thing((opcode, data))
}

fn unsent(conn: &WebSocketConn) -> Vec<u8> {
    let mut slices: [&[u8]; 64] = [&[]; 64];
    let filled = conn.unsent().slices(&mut slices);
    slices[..filled].concat()
}

/// All that a client sends: its request to a shard, and its frames.
pub fn opening_request(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let whole = ask(input, &mut || usize::MAX);
    assert_eq!(whole, ask(input, &mut || random.index(40)));
    if whole.starts_with(b"HTTP/1.1 101 ") {
        // What a stranger sees at once: a key, and the answer to it (RFC 6455 §4.2.2).
        let text = String::from_utf8_lossy(input);
        let head = text.split("\n\n").next().and_then(|text| text.split("\r\n\r\n").next()).unwrap_or_default();
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let key = field("sec-websocket-key").expect("opened without a key");
        assert!(head.starts_with("GET ") && key.len() == 24, "opened by {head}");
        assert_eq!(field("sec-websocket-version"), Some("13"), "opened by {head}");
        let accept = [&b"sec-websocket-accept: "[..], &handshake::accept_key(key.as_bytes()), b"\r\n"].concat();
        assert!(whole.windows(accept.len()).any(|line| line == accept), "opened with another key");
    }
}

/// What a shard answers.
fn ask(input: &[u8], size: &mut dyn FnMut() -> usize) -> Vec<u8> {
    let mut config = Config::default();
    config.limits.websocket.message_bytes = LIMIT;
    let subprotocols = Arc::new(["chat".into(), "superchat".into()]);
    let calls = WebSocket { subprotocols, ..WebSocket::default() };
    for (prefix, handler) in [("/-/echo", Handler::Echo(Some(COMPRESSION))), ("/", Handler::WebSocket(calls))] {
        let to = config.handlers.len();
        config.routes.add(Route { host: HostPattern::Any, prefix: prefix.into(), to: to.into() }).expect("a route");
        config.handlers.push(handler);
    }
    let mut shard = Shard::new(Arc::new(config), 0, 1, Seed([1; 32]));
    let (now, mut sent, mut rest) = (Now::default(), Vec::new(), input.to_vec());
    let conn = shard.handle_accept(now, SocketAddr::from(([127, 0, 0, 1], 1)).into()).expect("room");
    while !rest.is_empty() && shard.interest(conn).read {
        let mut piece: Vec<u8> = rest.drain(..size().clamp(1, rest.len())).collect();
        shard.handle_read(now, conn, &mut piece);
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

/// All that a server sends: its response, and its frames.
pub fn opening_response(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let whole = open(input, &mut || usize::MAX);
    assert_eq!(whole, open(input, &mut || random.index(40)));
    let accept = handshake::accept_key(&handshake::key(NONCE));
    if matches!(&whole.0, Some(Opened::Accepted { .. })) {
        assert!(input.windows(accept.len()).any(|value| value == accept), "opened without the answer to the key");
    }
}

/// How the handshake ended, and what was heard after it.
fn open(input: &[u8], size: &mut dyn FnMut() -> usize) -> (Option<Opened>, Option<Heard>) {
    let (now, limits, timeouts) = (Now::default(), Limits::default(), timeouts());
    let request = Request {
        host: "example.org",
        target: "/",
        subprotocols: &["chat", "superchat"],
        compression: Some(&COMPRESSION),
        ..Request::default()
    };
    let mut opening = OpeningConn::new(now, &timeouts, limits.http, &request, NONCE).expect("a request");
    opening.outbox().clear();
    opening.wrote(now, &timeouts);
    let (mut offered, mut rest) = (Vec::new(), input);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size().clamp(1, rest.len()));
        rest = after;
        offered.extend_from_slice(piece);
        let (used, opened) = opening.receive(now, &timeouts, &offered);
        offered.drain(..used);
        assert!(offered.len() <= limits.http.head_bytes.max(CONTROL_FRAME) || opened.is_some(), "much is left");
        match opened {
            Some(Opened::Accepted { .. }) => {
                let websocket = ws::Limits { message_bytes: LIMIT, ..ws::Limits::default() };
                let frames = [&offered, rest].concat();
                return (opened, Some(hear(opening.into_socket(now, websocket, &timeouts), &frames, size)));
            }
            Some(Opened::Refused(ref refusal)) => {
                assert!(refusal.content.len() <= Refusal::CONTENT_BYTES);
                return (opened, None);
            }
            Some(Opened::Failed(_)) => return (opened, None),
            None => {}
        }
    }
    (Some(opening.handle_eof()), None)
}

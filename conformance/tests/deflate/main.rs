//! permessage-deflate: sequences of messages through both roles, against an inflater of our own, with limits.

mod inflater;

use brolly_core::config::Limits;
use brolly_core::conn::{WebSocketConn, WebSocketEvent};
use brolly_core::outbox::Outbox;
use brolly_core::time::Now;
use brolly_core::ws::deflate::{self, Codec, Extension, Settings, SharedFrame};
use brolly_core::ws::{self, CloseCode, FrameHeader, Opcode, ProtocolError, Role};
use bytes::Bytes;
use inflater::{Inflated, inflate};
use proptest::prelude::*;

/// Both ends of a connection that has agreed on something.
struct Pair {
    server: WebSocketConn,
    client: WebSocketConn,
    codec: Codec,
}

const NOW: Now =
    Now { instant: brolly_core::time::Instant::from_nanos(0), unix: brolly_core::time::UnixTime::from_millis(0) };

impl Pair {
    fn new(server: &Settings, client: &Settings, message_bytes: usize) -> Self {
        let offer = deflate::offer(client).unwrap();
        let (agreed, answer) = deflate::accept([offer.as_bytes()], server).unwrap();
        let verified = deflate::verify([answer.as_bytes()], Some(client)).unwrap().unwrap();
        let timeouts = Limits::default().timeouts();
        let conn = |role, extension| {
            let limits = ws::Limits { message_bytes, ..ws::Limits::default() };
            WebSocketConn::new(NOW, role, limits, &timeouts, Outbox::new()).with_extension(Some(extension))
        };
        Self {
            server: conn(Role::Server, Extension::new(agreed, server)),
            client: conn(Role::Client, Extension::new(verified, client)),
            codec: Codec::new(),
        }
    }

    /// What one end sends for a message.
    fn send(&mut self, from: Role, message: &str) -> Vec<u8> {
        let timeouts = Limits::default().timeouts();
        let conn = if from == Role::Server { &mut self.server } else { &mut self.client };
        conn.send(NOW, &timeouts, &mut self.codec, Opcode::Text, message.as_bytes(), || [7, 0, 255, 3]);
        taken(conn)
    }

    /// What the other end makes of bytes.
    fn receive(&mut self, to: Role, bytes: &[u8], cut: usize) -> Vec<Result<String, ProtocolError>> {
        let timeouts = Limits::default().timeouts();
        let conn = if to == Role::Server { &mut self.server } else { &mut self.client };
        let (mut heard, mut unread) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(cut.max(1)) {
            unread.extend_from_slice(piece);
            loop {
                let (used, event) = conn.receive(NOW, &timeouts, &mut self.codec, || [0; 4], &mut unread);
                let is_event = event.is_some();
                match event {
                    Some(WebSocketEvent::Text(text)) => heard.push(Ok(text.into_owned())),
                    Some(WebSocketEvent::Failed(error)) => heard.push(Err(error)),
                    Some(WebSocketEvent::Binary(_) | WebSocketEvent::Piece { .. } | WebSocketEvent::Closed(_))
                    | None => {}
                }
                unread.drain(..used);
                if !is_event {
                    break;
                }
            }
        }
        heard
    }
}

fn taken(conn: &mut WebSocketConn) -> Vec<u8> {
    let mut slices: [&[u8]; 16] = [&[]; 16];
    let filled = conn.unsent().slices(&mut slices);
    let bytes = slices[..filled].concat();
    conn.outbox().advance(bytes.len());
    bytes
}

fn frame(bytes: &[u8]) -> (FrameHeader, Vec<u8>) {
    let (header, start) = FrameHeader::parse(bytes).unwrap().unwrap();
    let mut payload = bytes[start..].to_vec();
    if let Some(key) = header.masking_key {
        ws::mask(&mut payload, key, 0);
    }
    (header, payload)
}

fn settings() -> impl Strategy<Value = Settings> {
    (1..=9_u8, 9..=15_u8, any::<bool>(), prop::sample::select(vec![0, 1, 300])).prop_map(
        |(level, window_bits, context_takeover, threshold)| Settings {
            level,
            window_bits,
            context_takeover,
            threshold,
        },
    )
}

/// Text that repeats itself, near and far.
fn message() -> impl Strategy<Value = String> {
    let words =
        prop::sample::select(vec!["umbrella ", "rain ", "{\"id\":17,\"text\":\"", "☂", "aaaaaaaaaaaaaaaa", "\n"]);
    let near = prop::collection::vec(words, 0..200).prop_map(|words| words.concat());
    let far = ("[a-z0-9]{0,600}", 0..60_usize).prop_map(|(text, times)| text.repeat(times));
    prop_oneof![4 => near, 1 => far, 1 => Just(String::new())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever was agreed on, sequences of messages arrive as they were sent, however the bytes are cut; no distance is larger than
    /// the window that was agreed on, and an inflater that knows nothing of ours reads the same.
    #[test]
    fn sequences_of_messages_arrive(
        server in settings(),
        client in settings(),
        messages in prop::collection::vec((any::<bool>(), message()), 1..12),
        cut in 1..5000_usize,
    ) {
        let mut pair = Pair::new(&server, &client, 1 << 20);
        let mut windows = [Vec::new(), Vec::new()];
        let mut agreed = deflate::accept([deflate::offer(&client).unwrap().as_bytes()], &server).unwrap().0;
        agreed.incoming.window_bits = agreed.incoming.window_bits.min(client.window_bits);
        for (from_server, message) in messages {
            let (from, to, direction, window) = match from_server {
                true => (Role::Server, Role::Client, agreed.outgoing, &mut windows[0]),
                false => (Role::Client, Role::Server, agreed.incoming, &mut windows[1]),
            };
            let bytes = pair.send(from, &message);
            let (header, payload) = frame(&bytes);
            if header.rsv == ws::RSV1 {
                let Inflated { data, farthest } = inflate(window, &payload).expect("readable");
                prop_assert_eq!(&data, message.as_bytes());
                prop_assert!(farthest <= 1 << direction.window_bits, "{} of 2^{}", farthest, direction.window_bits);
                prop_assert!(payload.len() < message.len());
                if direction.has_context {
                    window.extend_from_slice(message.as_bytes());
                }
            }
            prop_assert_eq!(pair.receive(to, &bytes, cut), [Ok(message)]);
        }
    }

    /// What is no compressed message, or half of one, is refused, and never anything else.
    #[test]
    fn anything_can_be_received(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1..50_usize) {
        let all = Settings { context_takeover: true, threshold: 0, ..Settings::default() };
        let mut pair = Pair::new(&all, &all, 1000);
        let mut out = Outbox::new();
        ws::encode_deflated(Opcode::Text, &bytes, Some([1, 2, 3, 4]), &mut out);
        let heard = pair.receive(Role::Server, &out.tail().clone(), cut);
        prop_assert_eq!(heard.len(), 1);
        let by_reference = inflate(&[], &bytes).and_then(|inflated| String::from_utf8(inflated.data).ok());
        if let (Ok(text), Some(reference)) = (&heard[0], by_reference) {
            prop_assert_eq!(text, &reference);
        }
    }
}

/// An offer of 8 bits is kept although zlib cannot do less than 9.
#[test]
fn the_smallest_window_is_honoured() {
    let settings = Settings { context_takeover: true, threshold: 0, ..Settings::default() };
    let (agreed, _) = deflate::accept([&b"permessage-deflate; server_max_window_bits=8"[..]], &settings).unwrap();
    assert_eq!(agreed.outgoing.window_bits, 8);
    let timeouts = Limits::default().timeouts();
    let mut conn = WebSocketConn::new(NOW, Role::Server, ws::Limits::default(), &timeouts, Outbox::new())
        .with_extension(Some(Extension::new(agreed, &settings)));
    let (mut codec, mut window) = (Codec::new(), Vec::new());
    for length in [1, 100, 255, 256, 257, 300, 1000, 5000, 100_000] {
        let message: String = (0..length).map(|at: usize| char::from(b'a' + (at * at / 7 % 26) as u8)).collect();
        let message = [&message[..], &message[..length / 2]].concat();
        conn.send(NOW, &timeouts, &mut codec, Opcode::Text, message.as_bytes(), || [0; 4]);
        let (header, payload) = frame(&taken(&mut conn));
        if header.rsv == 0 {
            continue;
        }
        let inflated = inflate(&window, &payload).unwrap();
        assert!(inflated.farthest <= 256, "{} at {length}", inflated.farthest);
        assert_eq!(inflated.data, message.as_bytes());
        window.extend_from_slice(message.as_bytes());
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let settings = Settings::default();
    let mut pair = Pair::new(&settings, &settings, 1 << 16);
    // A gigabyte of zeros, a megabyte compressed; what fits the limit for compressed bytes is enough.
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![0; 50 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 16, "{}", bomb.len());
    let mut out = Outbox::new();
    ws::encode_deflated(Opcode::Binary, &bomb, Some([1, 2, 3, 4]), &mut out);
    let mut slices: [&[u8]; 4] = [&[]; 4];
    let filled = out.slices(&mut slices);
    assert_eq!(pair.receive(Role::Server, &slices[..filled].concat(), 4096), [Err(ProtocolError::MessageTooBig)]);
    let (header, payload) = frame(&taken(&mut pair.server));
    assert_eq!((header.opcode, &payload[..2]), (Opcode::Close, &CloseCode::TOO_BIG.as_u16().to_be_bytes()[..]));
}

/// RFC 7692 §7.2.3: the examples, and blocks that say they are the last.
#[test]
fn the_examples_of_the_rfc_are_read() {
    let settings = Settings { context_takeover: true, ..Settings::default() };
    let hello = |payload: &[u8]| {
        let mut pair = Pair::new(&settings, &settings, 1000);
        let mut out = Outbox::new();
        ws::encode_deflated(Opcode::Text, payload, Some([9; 4]), &mut out);
        pair.receive(Role::Server, &out.tail().clone(), 3)
    };
    for payload in [
        &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
        // A block without compression.
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        // A block with BFINAL set, and a byte for the flush.
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        // Two blocks.
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ] {
        assert_eq!(hello(payload), [Ok("Hello".into())], "{payload:x?}");
    }
    // §7.2.3.2: the second message refers to the first.
    let mut pair = Pair::new(&settings, &settings, 1000);
    let mut out = Outbox::new();
    ws::encode_deflated(Opcode::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00", Some([9; 4]), &mut out);
    ws::encode_deflated(Opcode::Text, b"\xf2\x00\x11\x00\x00", Some([9; 4]), &mut out);
    // An empty one.
    ws::encode_deflated(Opcode::Text, b"\x00", Some([9; 4]), &mut out);
    assert_eq!(pair.receive(Role::Server, &out.tail().clone(), 1), ["Hello", "Hello", ""].map(|text| Ok(text.into())));
    // Without end.
    assert_eq!(hello(&b"\x03\x00".repeat(400)), [Err(ProtocolError::InvalidDeflate)]);
}

/// What ends in the middle of a block is no message, wherever it ends.
#[test]
fn half_a_message_is_refused() {
    let settings = Settings { threshold: 0, ..Settings::default() };
    let text = "{\"umbrella\":\"rain\",\"id\":17},".repeat(9);
    let (_, payload) = frame(&Pair::new(&settings, &settings, 1000).send(Role::Server, &text));
    for length in 0..payload.len() {
        let mut pair = Pair::new(&settings, &settings, 1000);
        let mut out = Outbox::new();
        ws::encode_deflated(Opcode::Text, &payload[..length], None, &mut out);
        let heard = pair.receive(Role::Client, &out.tail().clone(), 100);
        assert_eq!(heard, [Err(ProtocolError::InvalidDeflate)], "{length} of {}", payload.len());
    }
}

/// The limit is for what a message says: compressed, one that cannot be compressed is a little longer.
#[test]
fn a_message_at_the_limit_may_be_longer_compressed() {
    let settings = Settings::default();
    for (payload, expected) in [
        (&b"\x00\x05\x00\xfa\xffHello\x00"[..], Ok("Hello".into())),
        (b"\x00\x06\x00\xf9\xffHello!\x00", Err(ProtocolError::MessageTooBig)),
    ] {
        for first in [0x41, 0xc1] {
            let mut pair = Pair::new(&settings, &settings, 5);
            let mut bytes = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
            bytes.extend_from_slice(payload);
            if first == 0x41 {
                bytes.extend_from_slice(&[0x80, 0x80, 0, 0, 0, 0]);
            }
            assert_eq!(pair.receive(Role::Server, &bytes, 3), std::slice::from_ref(&expected), "{first:x}");
        }
    }
    // But not without end.
    let mut pair = Pair::new(&settings, &settings, 5);
    assert_eq!(pair.receive(Role::Server, &[0xc1, 0xfe, 1, 0], 9), []);
    assert_eq!(pair.receive(Role::Server, &[0xc1, 0xfe, 1, 0, 0, 0, 0, 0], 9), [Err(ProtocolError::MessageTooBig)]);
}

#[test]
fn fragments_and_control_frames_may_stand_between() {
    let settings = Settings::default();
    let mut pair = Pair::new(&settings, &settings, 1000);
    let mut bytes = Vec::new();
    for (first, payload) in [(0x41, &b"\xf2\x48\xcd"[..]), (0x89, b"?"), (0x00, b"\xc9\xc9"), (0x80, b"\x07\x00")] {
        bytes.extend_from_slice(&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
        bytes.extend_from_slice(payload);
    }
    assert_eq!(pair.receive(Role::Server, &bytes, 2), [Ok("Hello".into())]);
    // RFC 7692 §6.1: the bit is for the first frame of a message, and for no control frame.
    for first in [0xc0, 0xc9, 0xa1, 0x91] {
        let mut pair = Pair::new(&settings, &settings, 1000);
        let heard = pair.receive(Role::Server, &[0x41, 0x80, 0, 0, 0, 0, first, 0x80, 0, 0, 0, 0], 100);
        assert_eq!(heard, [Err(ProtocolError::ReservedBits)], "{first:x}");
    }
}

/// A message for many is compressed once for all who compress alike.
#[test]
fn a_shared_frame_is_compressed_once() {
    let settings = Settings { threshold: 10, ..Settings::default() };
    let timeouts = Limits::default().timeouts();
    let text = "umbrella ".repeat(100);
    let mut out = Outbox::new();
    ws::encode(Opcode::Text, text.as_bytes(), None, &mut out);
    let mut frame = SharedFrame::new(Bytes::from(out.tail().clone()));
    let mut codec = Codec::new();
    let mut sent = Vec::new();
    for offer in ["permessage-deflate", "permessage-deflate", "permessage-deflate; server_max_window_bits=9"] {
        let (agreed, _) = deflate::accept([offer.as_bytes()], &settings).unwrap();
        let mut conn = WebSocketConn::new(NOW, Role::Server, ws::Limits::default(), &timeouts, Outbox::new())
            .with_extension(Some(Extension::new(agreed, &settings)));
        conn.send_shared(NOW, &timeouts, &mut codec, &mut frame);
        sent.push(taken(&mut conn));
    }
    assert_eq!(sent[0], sent[1]);
    for bytes in &sent {
        let (header, payload) = self::frame(bytes);
        assert_eq!(header.rsv, ws::RSV1);
        assert_eq!(inflate(&[], &payload).unwrap().data, text.as_bytes());
    }
    let mut plain = WebSocketConn::new(NOW, Role::Server, ws::Limits::default(), &timeouts, Outbox::new());
    plain.send_shared(NOW, &timeouts, &mut codec, &mut frame);
    assert_eq!(&taken(&mut plain)[..], &frame.plain()[..]);
    assert!(format!("{frame:?}").matches("(15, 6)").count() == 1, "once for each kind");
}

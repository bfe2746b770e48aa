use super::*;
use crate::outbox::Outbox;
use crate::ws::{CloseCode, encode, encode_close};
use alloc::vec;

const KEY: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);

fn server() -> Decoder {
    Decoder::new(Role::Server, Limits::default())
}

/// A masked frame with any first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Outbox::new();
    encode(Opcode::Binary, payload, KEY, &mut out);
    let mut bytes = out.tail().clone();
    bytes[0] = first;
    bytes
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Decoder>() <= 72, "{}", size_of::<Decoder>());
    assert!(size_of::<Result<(usize, Option<Item<'_>>), ProtocolError>>() <= 48);
}

#[test]
fn a_message_in_one_piece_is_borrowed() {
    let mut input = [frame(0x81, b"Hello"), frame(0x82, b"\xff")].concat();
    let mut decoder = server();
    let (taken, item) = decoder.decode(&mut input).unwrap();
    assert!(matches!(item, Some(Item::Text(Cow::Borrowed("Hello")))));
    let (taken, item) = decoder.decode(&mut input[taken..]).unwrap();
    assert!(matches!(item, Some(Item::Binary(Cow::Borrowed([0xff])))));
    assert_eq!(taken, 7);
    assert_eq!(decoder, server());
}

#[test]
fn a_message_in_pieces_is_collected_around_a_ping() {
    let mut input = [frame(0x01, b"H\xc3"), frame(0x89, b"ping"), frame(0x80, b"\xa9!")].concat();
    let mut decoder = server();
    let (ping, item) = decoder.decode(&mut input).unwrap();
    assert_eq!((ping, item), (18, Some(Item::Ping(b"ping"))));
    assert_eq!(decoder.buffered(), 2);
    let (_, item) = decoder.decode(&mut input[ping..]).unwrap();
    assert_eq!(item, Some(Item::Text("Hé!".into())));
    assert_eq!(decoder, server());
}

#[test]
fn a_control_frame_waits_until_it_is_whole() {
    let input = [frame(0x01, b"a"), frame(0x8A, b"pong")].concat();
    for len in 7..input.len() {
        assert_eq!(server().decode(&mut input[..len].to_vec()), Ok((7, None)));
    }
}

#[test]
fn wrong_text_fails_before_its_frame_ends() {
    let mut input = frame(0x81, b"ab\xff and more");
    let mut decoder = server();
    assert_eq!(decoder.decode(&mut input[..8]), Ok((8, None)));
    assert_eq!(decoder.decode(&mut input[8..9]), Err(ProtocolError::InvalidUtf8));
    assert_eq!(decoder.buffered(), 0);
    assert_eq!(decoder.decode(&mut frame(0x81, b"fine")), Err(ProtocolError::InvalidUtf8));
}

#[test]
fn an_announced_length_reserves_nothing() {
    let mut decoder = Decoder::new(Role::Server, Limits { message_bytes: usize::MAX, ..Limits::default() });
    let mut input = *b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00ab";
    assert_eq!(decoder.decode(&mut input), Ok((16, None)));
    let Message::Binary(bytes) = &decoder.message else { panic!("no message: {decoder:?}") };
    assert_eq!(bytes, b"ab");
    assert!(bytes.capacity() <= 64);
}

#[test]
fn the_limit_is_for_the_message_not_the_frame() {
    let limits = Limits { message_bytes: 4, ..Limits::default() };
    let mut fits = [frame(0x02, b"abc"), frame(0x00, b""), frame(0x80, b"d")].concat();
    let (_, item) = Decoder::new(Role::Server, limits).decode(&mut fits).unwrap();
    assert_eq!(item, Some(Item::Binary(b"abcd".into())));
    let mut too_big = [frame(0x02, b"abc"), frame(0x80, b"de")].concat();
    // Told from the header alone.
    let error = Decoder::new(Role::Server, limits).decode(&mut too_big[..15]);
    assert_eq!(error, Err(ProtocolError::MessageTooBig));
    assert_eq!(error.unwrap_err().close_code(), CloseCode::TOO_BIG);
}

#[test]
fn the_length_counts_the_bytes_of_an_unfinished_character() {
    let mut decoder = Decoder::new(Role::Server, Limits { message_bytes: 3, ..Limits::default() });
    assert_eq!(decoder.decode(&mut frame(0x01, b"\xe2\x98")).unwrap().1, None);
    assert_eq!(decoder.decode(&mut frame(0x80, b"\x82a")), Err(ProtocolError::MessageTooBig));
}

#[test]
fn nothing_comes_after_a_close() {
    let mut out = Outbox::new();
    encode_close(CloseCode::GOING_AWAY, "bye", KEY, &mut out);
    encode(Opcode::Text, b"more", KEY, &mut out);
    let mut input = out.tail().clone();
    let mut decoder = server();
    let (taken, item) = decoder.decode(&mut input).unwrap();
    assert_eq!(item, Some(Item::Close(Some(CloseFrame { code: CloseCode::GOING_AWAY, reason: "bye" }))));
    assert_eq!(decoder.decode(&mut input[taken..]), Ok((10, None)));
    assert_eq!(decoder.decode(&mut [0xff; 9]), Ok((9, None)));
}

#[test]
fn every_breach_has_its_error() {
    use ProtocolError as E;
    let cases = [
        (frame(0xC1, b""), E::ReservedBits),
        (frame(0x91, b""), E::ReservedBits),
        (frame(0x83, b""), E::ReservedOpcode),
        (frame(0x8B, b""), E::ReservedOpcode),
        (frame(0x09, b""), E::ControlFragmented),
        (frame(0x89, &[0; 126]), E::ControlTooLong),
        (frame(0x80, b""), E::UnexpectedContinuation),
        ([frame(0x01, b""), frame(0x81, b"")].concat(), E::UnfinishedMessage),
        (vec![0x81, 0x00], E::NotMasked),
        (vec![0x81, 0xFE, 0, 125, 0, 0, 0, 0], E::LengthNotMinimal),
        (vec![0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0], E::LengthNotMinimal),
        (vec![0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], E::LengthTooLarge),
        (frame(0x88, b"\x03"), E::InvalidClosePayload),
        (frame(0x88, b"\x03\xed"), E::InvalidCloseCode),
        (frame(0x88, b"\x03\xe8\xff"), E::InvalidUtf8),
        (frame(0x81, b"\xed\xa0\x80"), E::InvalidUtf8),
        ([frame(0x01, b"\xc3"), frame(0x80, b"")].concat(), E::InvalidUtf8),
    ];
    for (mut input, error) in cases {
        assert_eq!(server().decode(&mut input), Err(error));
    }
    let mut client = Decoder::new(Role::Client, Limits::default());
    assert_eq!(client.decode(&mut frame(0x81, b"")), Err(E::Masked));
}

/// Nobody announces how much the fragments to come have: a buffer that grows by each of them would be copied each time.
#[test]
fn a_message_in_many_fragments_is_copied_seldom() {
    const FRAGMENTS: usize = 10_000;
    for opcode in [0x01, 0x02] {
        let (mut decoder, mut allocations, mut before) = (server(), 0, 0);
        for fragment in 0..FRAGMENTS {
            decoder.decode(&mut frame(if fragment == 0 { opcode } else { 0x00 }, b"a")).unwrap();
            let (len, capacity) = match &decoder.message {
                Message::Text(text) => (text.len(), text.capacity()),
                Message::Binary(bytes) => (bytes.len(), bytes.capacity()),
                other => panic!("{other:?}"),
            };
            assert!(capacity <= 2 * len, "{capacity} bytes for {len}");
            allocations += usize::from(capacity != before);
            before = capacity;
        }
        assert!(allocations <= 16, "{allocations}");
    }
}

//! RFC 6455: what holds for all that a peer may send. The tables small enough to be walked through entirely are in `tables.rs`, UTF-8 is
//! in `utf8.rs`, pings and pongs are in `control.rs`, messages in pieces in `pieces.rs`, what only one role does is in `roles.rs`.

mod control;
mod pieces;
mod roles;
mod tables;
mod utf8;

use brolly_core::outbox::Outbox;
use brolly_core::ws::{
    CloseCode, Decoder, Fin, Item, Limits, Opcode, ProtocolError, Role, encode, encode_close, encode_deflated,
    encode_fragment, encode_owned,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// The longest thing a decoder may leave unconsumed: a control frame without its last byte.
const MAX_LEFT: usize = 2 + 4 + 125 - 1;

/// An item without its borrow.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Item<'_>> for Said {
    fn from(item: Item<'_>) -> Self {
        match item {
            Item::Text(text) => Self::Text(text.into_owned()),
            Item::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Item::Ping(payload) => Self::Ping(payload.to_vec()),
            Item::Pong(payload) => Self::Pong(payload.to_vec()),
            Item::Deflated(..) | Item::Piece { .. } => unreachable!("nothing was agreed on"),
            Item::Close(close) => Self::Close(close.map(|close| (close.code.as_u16(), close.reason.into()))),
        }
    }
}

/// What a decoder makes of bytes.
type Heard = (Vec<Said>, Option<ProtocolError>);

/// Offers the pieces as a driver does: what is left is offered again, with the next piece behind it.
fn hear<'a>(mut decoder: Decoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let (mut items, mut input) = (Vec::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let before = input.clone();
            match decoder.decode(&mut input) {
                Err(error) => {
                    assert_eq!(decoder.decode(&mut []), Err(error), "an error is final");
                    return (items, Some(error));
                }
                Ok((taken, item)) => {
                    let item = item.map(Said::from);
                    assert_eq!(input[taken..], before[taken..], "what was not taken is not touched");
                    input.drain(..taken);
                    match item {
                        Some(item) => items.push(item),
                        None => break,
                    }
                }
            }
        }
        assert!(input.len() <= MAX_LEFT, "{} bytes left", input.len());
    }
    (items, None)
}

fn decoder(role: Role) -> Decoder {
    Decoder::new(role, Limits::default())
}

/// A frame, written without the code under test.
fn frame(first: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if key.is_some() { 128 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len if len < 126 => bytes.push(mask_bit + len as u8),
        len if len < 65_536 => {
            bytes.push(mask_bit + 126);
            bytes.extend([(len / 256) as u8, (len % 256) as u8]);
        }
        len => {
            bytes.push(mask_bit + 127);
            bytes.extend([0, 0, 0, 0]);
            bytes.extend((len as u32).to_be_bytes());
        }
    }
    bytes.extend(key.iter().flatten());
    let key = key.unwrap_or_default();
    bytes.extend(payload.iter().enumerate().map(|(position, byte)| byte ^ key[position % 4]));
    bytes
}

/// Cuts `bytes` at these places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

fn key() -> impl Strategy<Value = Option<[u8; 4]>> {
    prop_oneof![9 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)]
}

/// Payloads that are often UTF-8, sometimes a close code, and long enough for every form of length.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => ".{0,12}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..8),
        1 => (990..1020_u16, ".{0,5}").prop_map(|(code, why)| [&code.to_be_bytes(), why.as_bytes()].concat()),
        1 => (120..140_usize).prop_map(|len| "é".repeat(len / 2).into_bytes()),
        1 => Just(vec![b'x'; 65_536]),
    ]
}

/// First bytes, most of them legal.
fn first() -> impl Strategy<Value = u8> {
    let legal: &[u8] = &[0x80, 0x00, 0x81, 0x01, 0x82, 0x02, 0x89, 0x8A, 0x88];
    prop_oneof![30 => proptest::sample::select(legal), 1 => any::<u8>()]
}

/// What a peer may send, right or wrong.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let frames = vec((first(), key(), payload()).prop_map(|(first, key, payload)| frame(first, key, &payload)), 0..8);
    (frames, proptest::option::weighted(0.3, (any::<Index>(), any::<u8>()))).prop_map(|(frames, damage)| {
        let mut bytes = frames.concat();
        if let Some((place, byte)) = damage
            && !bytes.is_empty()
        {
            *place.get_mut(&mut bytes) = byte;
        }
        bytes
    })
}

fn message() -> impl Strategy<Value = Said> {
    prop_oneof![".{0,40}".prop_map(Said::Text), vec(any::<u8>(), 0..200).prop_map(Said::Binary)]
}

/// A message in fragments, with control frames among them, and the control frames.
fn fragmented(message: &Said, cuts: &[Index], controls: &[(bool, Vec<u8>)], key: Option<[u8; 4]>) -> Vec<u8> {
    let (mut opcode, payload) = match message {
        Said::Text(text) => (1, text.as_bytes()),
        Said::Binary(bytes) => (2, &bytes[..]),
        Said::Ping(_) | Said::Pong(_) | Said::Close(_) => unreachable!("not a message"),
    };
    let (fragments, mut controls, mut wire) = (pieces(payload, cuts), controls.iter(), Vec::new());
    for (position, fragment) in fragments.iter().enumerate() {
        let fin = if position + 1 == fragments.len() { 0x80 } else { 0 };
        wire.extend(frame(fin | opcode, key, fragment));
        opcode = 0;
        if fin == 0
            && let Some((is_ping, payload)) = controls.next()
        {
            wire.extend(frame(if *is_ping { 0x89 } else { 0x8A }, key, payload));
        }
    }
    wire
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_cutting_is_heard_alike(bytes in stream(), cuts in vec(any::<Index>(), 0..6), limit in 0..200_usize) {
        for limits in [Limits::default(), Limits { message_bytes: limit, ..Limits::default() }] {
            let decoder = Decoder::new(Role::Server, limits);
            let whole = hear(decoder.clone(), [&bytes[..]]);
            prop_assert_eq!(&hear(decoder.clone(), pieces(&bytes, &cuts)), &whole);
            if bytes.len() < 1000 {
                prop_assert_eq!(&hear(decoder, bytes.chunks(1)), &whole);
            }
        }
    }

    #[test]
    fn any_fragmentation_is_the_same_message(
        message in message(),
        fragments in vec(any::<Index>(), 0..6),
        controls in vec((any::<bool>(), vec(any::<u8>(), 0..126)), 0..6),
        cuts in vec(any::<Index>(), 0..6),
        key in any::<[u8; 4]>(),
    ) {
        for (role, key) in [(Role::Server, Some(key)), (Role::Client, None)] {
            let wire = fragmented(&message, &fragments, &controls, key);
            let (items, error) = hear(decoder(role), pieces(&wire, &cuts));
            prop_assert_eq!(error, None);
            let (messages, others): (Vec<_>, Vec<_>) =
                items.into_iter().partition(|item| matches!(item, Said::Text(_) | Said::Binary(_)));
            prop_assert_eq!(messages, std::slice::from_ref(&message));
            let sent = controls.iter().take(fragments.len());
            let sent = sent.map(|(is_ping, payload)| match is_ping {
                true => Said::Ping(payload.clone()),
                false => Said::Pong(payload.clone()),
            });
            prop_assert_eq!(others, sent.collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_encoded_is_heard(
        messages in vec(message(), 0..5),
        ping in vec(any::<u8>(), 0..126),
        code in 1000..5000_u16,
        reason in ".{0,40}",
        key in any::<[u8; 4]>(),
    ) {
        for (role, key) in [(Role::Server, Some(key)), (Role::Client, None)] {
            let (mut out, mut said) = (Outbox::new(), messages.clone());
            for message in &messages {
                match message {
                    Said::Text(text) => encode(Opcode::Text, text.as_bytes(), key, &mut out),
                    Said::Binary(bytes) => encode(Opcode::Binary, bytes, key, &mut out),
                    Said::Ping(_) | Said::Pong(_) | Said::Close(_) => unreachable!("not a message"),
                }
            }
            encode(Opcode::Ping, &ping, key, &mut out);
            encode(Opcode::Pong, &ping, key, &mut out);
            encode_close(CloseCode::new(code), &reason, key, &mut out);
            said.extend([Said::Ping(ping.clone()), Said::Pong(ping.clone())]);
            let cut = reason.char_indices().map(|(start, char)| start + char.len_utf8()).rfind(|end| *end <= 123);
            let reason = reason[..cut.unwrap_or(0)].to_owned();
            said.push(Said::Close(CloseCode::new(code).is_sendable().then_some((code, reason))));
            prop_assert_eq!(hear(decoder(role), [&out.tail()[..]]), (said, None));
        }
    }
}

#[test]
fn many_small_fragments_are_one_message_and_empty_ones_hold_nothing() {
    // Autobahn 9.3.1: 4 MiB in fragments of 64 bytes.
    let limits = Limits { message_bytes: 4 << 20, message_fragments: usize::MAX, ..Limits::default() };
    let mut decoder = Decoder::new(Role::Server, limits);
    let piece = frame(0x00, Some([9, 8, 7, 6]), &[b'*'; 64]);
    assert_eq!(decoder.decode(&mut frame(0x01, Some([0; 4]), b"")).unwrap().1, None);
    for _ in 0..100_000 {
        assert_eq!(decoder.decode(&mut frame(0x00, Some([1; 4]), b"")).unwrap().1, None);
    }
    assert_eq!(decoder.buffered(), 0);
    for _ in 0..65_536 {
        assert_eq!(decoder.decode(&mut piece.clone()).unwrap().1, None);
    }
    let mut last = frame(0x80, Some([1; 4]), b"");
    let Ok((6, Some(Item::Text(text)))) = decoder.decode(&mut last) else { panic!("no message") };
    assert_eq!(text.len(), 4 << 20);
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn a_message_has_so_many_frames_and_no_more() {
    let fragments = |count: usize| {
        let first = frame(0x01, Some([1; 4]), b"a");
        let rest = (1..count).flat_map(|_| [frame(0x00, Some([1; 4]), b""), frame(0x89, Some([1; 4]), b"")].concat());
        first.into_iter().chain(rest).collect::<Vec<u8>>()
    };
    let last = frame(0x80, Some([1; 4]), b"b");
    let limits = Limits { message_fragments: 3, ..Limits::default() };
    let enough = [fragments(2), last.clone()].concat();
    let twice = hear(Decoder::new(Role::Server, limits), [&[enough.clone(), enough.clone()].concat()[..]]);
    assert_eq!((twice.0.len(), twice.1), (4, None));
    let more = [enough, fragments(3), last].concat();
    for pieces in [more.chunks(more.len()), more.chunks(1)] {
        let (said, error) = hear(Decoder::new(Role::Server, limits), pieces);
        assert_eq!((said.len(), error), (4, Some(ProtocolError::TooManyFragments)));
    }
    assert_eq!(ProtocolError::TooManyFragments.close_code(), CloseCode::POLICY);
}

/// All of an outbox, in the order in which it leaves.
fn queued(out: &Outbox) -> Vec<u8> {
    let mut slices: [&[u8]; 16] = [&[]; 16];
    let filled = out.slices(&mut slices);
    slices[..filled].concat()
}

/// Byte by byte, for lengths around each form of the length and each way of keeping a payload.
#[test]
fn every_encoder_writes_what_the_reference_writes() {
    let lengths = (0..130).chain(65_530..65_540).chain([1000, 4095, 4096, 16_384, 70_000, 200_000]);
    for length in lengths {
        let payload: Vec<u8> = (0..length).map(|position| (position * 7 % 251) as u8).collect();
        for key in [None, Some([0x12, 0xAB, 0, 0xFF])] {
            let written = |encode: &dyn Fn(&mut Outbox)| {
                let mut out = Outbox::new();
                encode(&mut out);
                queued(&out)
            };
            for (opcode, code) in [(Opcode::Text, 1), (Opcode::Binary, 2), (Opcode::Continuation, 0)] {
                let whole = frame(0x80 | code, key, &payload);
                assert_eq!(written(&|out| encode(opcode, &payload, key, out)), whole, "{length}");
                assert_eq!(written(&|out| encode_owned(opcode, payload.clone(), key, out)), whole, "owned, {length}");
                assert_eq!(
                    written(&|out| encode_fragment(opcode, Fin::Final, &payload, key, out)),
                    whole,
                    "last, {length}"
                );
                let more = frame(code, key, &payload);
                assert_eq!(
                    written(&|out| encode_fragment(opcode, Fin::More, &payload, key, out)),
                    more,
                    "more, {length}"
                );
                let deflated = frame(0xC0 | code, key, &payload);
                assert_eq!(written(&|out| encode_deflated(opcode, &payload, key, out)), deflated, "deflated, {length}");
            }
            if length <= 123 {
                let reason = "r".repeat(length);
                let close = frame(0x88, key, &[&1001_u16.to_be_bytes(), reason.as_bytes()].concat());
                assert_eq!(
                    written(&|out| encode_close(CloseCode::GOING_AWAY, &reason, key, out)),
                    close,
                    "close, {length}"
                );
            }
        }
    }
}

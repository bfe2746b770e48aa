//! RFC 6455 §5.4: messages that are given, and sent, as they come: the pieces of each are the message.

use super::{MAX_LEFT, Said, decoder, pieces, stream};
use brolly_core::config;
use brolly_core::conn::{Timeouts, WebSocketConn, WebSocketEvent};
use brolly_core::outbox::Outbox;
use brolly_core::time::Now;
use brolly_core::ws::deflate::{self, Codec, Extension, Settings};
use brolly_core::ws::{Decoder, Fin, Item, Limits, Opcode, ProtocolError, Role};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const KEY: [u8; 4] = [5, 0, 255, 3];

/// Puts the pieces of messages together.
#[derive(Default)]
struct Joiner {
    open: Option<(Opcode, Vec<u8>)>,
}

impl Joiner {
    fn push(&mut self, opcode: Opcode, data: &[u8], is_last: bool) -> Option<Said> {
        assert!(is_last || !data.is_empty(), "an empty piece");
        let (first, all) = self.open.get_or_insert_with(|| (opcode, Vec::new()));
        assert_eq!(*first, opcode, "all pieces say what the message is");
        all.extend_from_slice(data);
        if opcode == Opcode::Text
            && let Err(error) = std::str::from_utf8(all)
        {
            assert!(error.error_len().is_none() && !is_last, "not the beginning of a text: {all:?}");
        }
        if !is_last {
            return None;
        }
        self.open.take().map(|(opcode, all)| match opcode {
            Opcode::Text => Said::Text(String::from_utf8(all).unwrap()),
            _ => Said::Binary(all),
        })
    }
}

/// As `hear` does, of a decoder that gives pieces.
fn hear_pieces<'a>(inputs: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Said>, Option<ProtocolError>) {
    let limits = Limits { message_bytes: 0, ..Limits::default() };
    let mut decoder = Decoder::new(Role::Server, limits);
    decoder.deliver_pieces();
    let (mut items, mut input, mut joiner) = (Vec::new(), Vec::new(), Joiner::default());
    for piece in inputs {
        input.extend_from_slice(piece);
        loop {
            let (taken, item) = match decoder.decode(&mut input) {
                Ok(decoded) => decoded,
                Err(error) => return (items, Some(error)),
            };
            let is_item = item.is_some();
            match item {
                Some(Item::Piece { opcode, data, is_last }) => items.extend(joiner.push(opcode, data, is_last)),
                Some(item) => items.push(item.into()),
                None => {}
            }
            input.drain(..taken);
            assert!(decoder.buffered() <= 3, "{} bytes are held", decoder.buffered());
            if !is_item {
                break;
            }
        }
        assert!(input.len() <= MAX_LEFT, "{} bytes left", input.len());
    }
    (items, None)
}

/// A message, and where its pieces are cut if it is sent in some.
#[derive(Clone, Debug)]
struct Sent {
    opcode: Opcode,
    text: String,
    cuts: Option<Vec<Index>>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let text = prop_oneof![".{0,40}", (0..400_usize).prop_map(|times| "umbrella ☂ ".repeat(times))];
    let opcode = proptest::sample::select(vec![Opcode::Text, Opcode::Binary]);
    let cuts = proptest::option::of(vec(any::<Index>(), 0..5));
    (opcode, text, cuts).prop_map(|(opcode, text, cuts)| Sent { opcode, text, cuts })
}

/// Both ends of a connection; messages go one way.
struct Ends {
    from: Role,
    sender: WebSocketConn,
    receiver: WebSocketConn,
    timeouts: Timeouts,
    codec: Codec,
}

impl Ends {
    fn new(from: Role, is_deflating: bool, in_pieces: bool) -> Self {
        let timeouts = config::Limits::default().timeouts();
        let settings = Settings { context_takeover: true, threshold: 20, ..Settings::default() };
        let offer = deflate::offer(&settings).unwrap();
        let agreed = deflate::accept([offer.as_bytes()], &settings).unwrap().0;
        let conn = |role| {
            let conn = WebSocketConn::new(Now::default(), role, Limits::default(), &timeouts, Outbox::new());
            conn.with_extension(is_deflating.then(|| Extension::new(agreed, &settings)))
        };
        let to = if from == Role::Server { Role::Client } else { Role::Server };
        let receiver = if in_pieces { conn(to).deliver_pieces() } else { conn(to) };
        Self { from, sender: conn(from), receiver, timeouts, codec: Codec::new() }
    }

    /// Sends a message, and between its pieces what must not and what may come there.
    fn send(&mut self, Sent { opcode, text, cuts }: &Sent) {
        let now = Now::default();
        let Self { sender, timeouts, codec, .. } = self;
        let Some(cuts) = cuts else {
            return sender.send(now, timeouts, codec, *opcode, text.as_bytes(), || KEY);
        };
        let pieces = pieces(text.as_bytes(), cuts);
        for (position, piece) in pieces.iter().enumerate() {
            let is_last = position + 1 == pieces.len();
            sender.send_piece(now, timeouts, *opcode, if is_last { Fin::Final } else { Fin::More }, piece, || KEY);
            assert_eq!(sender.is_sending(), !is_last);
            if !is_last {
                sender.send(now, timeouts, codec, Opcode::Text, b"between".as_slice(), || KEY);
                let mut ping = super::frame(0x89, (self.from == Role::Server).then_some(KEY), b"");
                let (used, None) = sender.receive(now, timeouts, codec, || KEY, &mut ping) else {
                    panic!("a ping is told")
                };
                assert_eq!(used, ping.len());
            }
        }
    }

    fn wire(&self) -> Vec<u8> {
        let mut slices: [&[u8]; 256] = [&[]; 256];
        let filled = self.sender.unsent().slices(&mut slices);
        slices[..filled].concat()
    }

    /// What the other end makes of bytes.
    fn hear(&mut self, inputs: &[&[u8]]) -> Vec<Said> {
        let (mut heard, mut unread, mut joiner) = (Vec::new(), Vec::new(), Joiner::default());
        for input in inputs {
            unread.extend_from_slice(input);
            loop {
                let Self { receiver, timeouts, codec, .. } = self;
                let (used, event) = receiver.receive(Now::default(), timeouts, codec, || KEY, &mut unread);
                let is_event = event.is_some();
                match event {
                    Some(WebSocketEvent::Text(text)) => heard.push(Said::Text(text.into_owned())),
                    Some(WebSocketEvent::Binary(data)) => heard.push(Said::Binary(data.into_owned())),
                    Some(WebSocketEvent::Piece { opcode, data, is_last }) => {
                        heard.extend(joiner.push(opcode, &data, is_last));
                    }
                    Some(event) => panic!("{event:?}"),
                    None => {}
                }
                unread.drain(..used);
                if !is_event && (used == 0 || unread.is_empty()) {
                    break;
                }
            }
        }
        heard
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Of anything that a peer may send, right or wrong, and however it is cut.
    #[test]
    fn pieces_put_together_are_the_messages(bytes in stream(), cuts in vec(any::<Index>(), 0..6)) {
        let whole = super::hear(decoder(Role::Server), [&bytes[..]]);
        // Pieces have no limit.
        prop_assume!(whole.1 != Some(ProtocolError::MessageTooBig));
        prop_assert_eq!(&hear_pieces([&bytes[..]]), &whole);
        prop_assert_eq!(&hear_pieces(pieces(&bytes, &cuts)), &whole);
        if bytes.len() < 1000 {
            prop_assert_eq!(&hear_pieces(bytes.chunks(1)), &whole);
        }
    }

    /// From one end to the other, whole and in pieces on either side, compressed or not.
    #[test]
    fn messages_in_pieces_arrive(
        messages in vec(sent(), 1..6),
        cuts in vec(any::<Index>(), 0..6),
        from in proptest::sample::select(vec![Role::Server, Role::Client]),
        is_deflating: bool,
        in_pieces: bool,
    ) {
        let mut ends = Ends::new(from, is_deflating, in_pieces);
        messages.iter().for_each(|message| ends.send(message));
        let wire = ends.wire();
        let heard = ends.hear(&pieces(&wire, &cuts));
        let said = messages.into_iter().map(|Sent { opcode, text, .. }| match opcode {
            Opcode::Text => Said::Text(text),
            _ => Said::Binary(text.into_bytes()),
        });
        prop_assert_eq!(heard, said.collect::<Vec<_>>());
    }
}

#[test]
fn a_piece_is_given_before_its_frame_ends_and_wrong_text_fails_there() {
    let mut decoder = decoder(Role::Client);
    decoder.deliver_pieces();
    let piece = |data, is_last| Some(Item::Piece { opcode: Opcode::Text, data, is_last });
    // A frame of 2^63 - 1 bytes: no limit is there but the caller's patience.
    let mut input = *b"\x01\x7f\x7f\xff\xff\xff\xff\xff\xff\xffab\xe2";
    assert_eq!(decoder.decode(&mut input), Ok((13, piece(b"ab\xe2", false))));
    assert_eq!(decoder.decode(&mut b"\x98\x82".to_vec()), Ok((2, piece(b"\x98\x82", false))));
    assert_eq!(decoder.decode(&mut b"c\xff".to_vec()), Err(ProtocolError::InvalidUtf8));
}

#[test]
fn a_text_in_pieces_must_end_between_characters() {
    let mut decoder = decoder(Role::Client);
    decoder.deliver_pieces();
    assert_eq!(decoder.decode(&mut b"\x01\x01\xe2".to_vec()).unwrap().0, 3);
    assert_eq!(decoder.decode(&mut b"\x80\x00".to_vec()), Err(ProtocolError::InvalidUtf8));
}

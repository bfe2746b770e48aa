//! Bytes of a peer to messages (RFC 6455 §5.4 to §5.6, §8.1).
//!
//! | step     | what comes next                        | then                                                 |
//! |----------|----------------------------------------|------------------------------------------------------|
//! | header   | a whole control frame                  | item; `closed` after a Close, else `header`          |
//! |          | a whole message in one frame           | item, borrowed; `header`                             |
//! |          | the header of any other data frame     | `payload`                                            |
//! | payload  | some of the frame's payload            | `payload`                                            |
//! |          | its end, and more frames follow        | `header`                                             |
//! |          | its end, and it was the last           | item, owned; `header`                                |
//! | closed   | anything                               | ignored (§5.5.1: no more data after a Close)         |
//! | failed   | anything                               | the same error again                                 |

use super::item::growth;
use super::mask::rotate;
use super::utf8::text;
use super::{CloseFrame, Fin, FrameHeader, Item, Limits, Opcode, ProtocolError, RSV1, Role, Utf8Validator, mask};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

/// The receiving half of an open connection.
///
/// Holds nothing but an incomplete message; when idle, the struct is all.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Decoder {
    message: Message,
    /// How much of the open frame's payload is to come (bytes).
    remaining: u64,
    /// As [`Limits`] has it.
    message_bytes: usize,
    /// The open frame's masking key, turned so that it begins with the byte for the next payload byte.
    key: [u8; 4],
    utf8: Utf8Validator,
    role: Role,
    /// RSV1 means a compressed message.
    is_deflating: bool,
    step: Step,
}

/// What arrived of a message that did not come in one piece.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Message {
    None,
    Text(String),
    Binary(Vec<u8>),
    Deflated(Opcode, Vec<u8>),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Step {
    Header,
    Payload(Fin),
    Closed,
    Failed(ProtocolError),
}

impl Decoder {
    /// A decoder for the frames that the peer of a `role` sends after the handshake.
    /// Of the limits, [`message_bytes`](Limits::message_bytes) counts: a decoder has no clock.
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self {
            message: Message::None,
            remaining: 0,
            message_bytes: limits.message_bytes,
            key: [0; 4],
            utf8: Utf8Validator::new(),
            role,
            is_deflating: false,
            step: Step::Header,
        }
    }

    /// Lets messages be compressed from now on: it was agreed on (RFC 7692 §7).
    pub fn allow_deflated(&mut self) {
        self.is_deflating = true;
    }

    /// Takes as much of `input` as it can, up to and including the first item; says how much that was.
    ///
    /// Without an item, everything was taken but the beginning of a header or of a control frame (at most 138 bytes):
    /// it is to be offered again with more behind it. Call again with the rest until there is no item.
    ///
    /// What was taken is overwritten with the unmasked payload. A message that lies in `input` as one frame is
    /// borrowed from there; others are collected in a buffer that grows with what arrives, whatever was announced.
    ///
    /// The first error is final: later calls return it again. After an [`Item::Close`], everything is taken and
    /// ignored.
    pub fn decode<'i>(&mut self, input: &'i mut [u8]) -> Result<(usize, Option<Item<'i>>), ProtocolError> {
        let result = self.run(input);
        if let Err(error) = result {
            self.end(Step::Failed(error));
        }
        result
    }

    /// How long a message may be, inflated too (bytes).
    pub const fn message_limit(&self) -> usize {
        self.message_bytes
    }

    /// Bytes held of an incomplete message.
    pub fn buffered(&self) -> usize {
        match &self.message {
            Message::None => 0,
            Message::Text(text) => text.len() + self.utf8.pending(),
            Message::Binary(bytes) | Message::Deflated(_, bytes) => bytes.len(),
        }
    }

    fn run<'i>(&mut self, input: &'i mut [u8]) -> Result<(usize, Option<Item<'i>>), ProtocolError> {
        let total = input.len();
        let mut rest = input;
        loop {
            match self.step {
                Step::Header => {
                    let Some((header, header_len)) = FrameHeader::parse(rest)? else {
                        break;
                    };
                    self.check(&header)?;
                    let frame_len = header_len as u64 + header.payload_len;
                    let is_whole = frame_len <= rest.len() as u64;
                    let is_alone = header.fin == Fin::Final && self.message == Message::None;
                    if is_whole && (is_alone || header.opcode.is_control()) {
                        let frame = rest.split_off_mut(..frame_len as usize).unwrap_or_default();
                        let payload = frame.get_mut(header_len..).unwrap_or_default();
                        if let Some(key) = header.masking_key {
                            mask(payload, key, 0);
                        }
                        let item = self.whole(&header, payload)?;
                        return Ok((total - rest.len(), Some(item)));
                    }
                    if header.opcode.is_control() {
                        break;
                    }
                    rest = rest.split_off_mut(header_len..).unwrap_or_default();
                    self.begin(&header);
                }
                Step::Payload(fin) => {
                    let len = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(rest.len());
                    let payload = rest.split_off_mut(..len).unwrap_or_default();
                    self.append(payload)?;
                    if self.remaining > 0 {
                        break;
                    }
                    self.key = [0; 4];
                    self.step = Step::Header;
                    if fin == Fin::Final
                        && let Some(item) = self.finish()?
                    {
                        return Ok((total - rest.len(), Some(item)));
                    }
                }
                Step::Closed => return Ok((total, None)),
                Step::Failed(error) => return Err(error),
            }
        }
        Ok((total - rest.len(), None))
    }

    /// What a header must not say on this connection, at this point of it.
    fn check(&self, header: &FrameHeader) -> Result<(), ProtocolError> {
        // RFC 7692 §6: the first frame of a message says it for all.
        let may_deflate = self.is_deflating && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.rsv != 0 && !(header.rsv == RSV1 && may_deflate) {
            return Err(ProtocolError::ReservedBits);
        }
        match (self.role, header.masking_key) {
            (Role::Client, Some(_)) => return Err(ProtocolError::Masked),
            (Role::Server, None) => return Err(ProtocolError::NotMasked),
            (Role::Client, None) | (Role::Server, Some(_)) => {}
        }
        match (header.opcode, &self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Continuation, Message::None) => {
                return Err(ProtocolError::UnexpectedContinuation);
            }
            (Opcode::Text | Opcode::Binary, Message::Text(_) | Message::Binary(_) | Message::Deflated(..)) => {
                return Err(ProtocolError::UnfinishedMessage);
            }
            (Opcode::Continuation, _) | (Opcode::Text | Opcode::Binary, Message::None) => {}
        }
        // The limit is for what a message says. What cannot be compressed becomes longer by that: by an eighth at most (RFC 1951 §3.2.6).
        let is_deflated = header.rsv != 0 || matches!(self.message, Message::Deflated(..));
        let slack = if is_deflated { self.message_bytes / 8 + 64 } else { 0 };
        let room = self.message_bytes.saturating_add(slack).saturating_sub(self.buffered());
        if header.payload_len > room as u64 {
            return Err(ProtocolError::MessageTooBig);
        }
        Ok(())
    }

    /// A whole message or control frame.
    fn whole<'i>(&mut self, header: &FrameHeader, payload: &'i [u8]) -> Result<Item<'i>, ProtocolError> {
        if header.rsv != 0 {
            return Ok(Item::Deflated(header.opcode, Cow::Borrowed(payload)));
        }
        Ok(match header.opcode {
            Opcode::Text => Item::Text(Cow::Borrowed(text(payload)?)),
            // `check` lets no continuation come here.
            Opcode::Binary | Opcode::Continuation => Item::Binary(Cow::Borrowed(payload)),
            Opcode::Ping => Item::Ping(payload),
            Opcode::Pong => Item::Pong(payload),
            Opcode::Close => {
                let close = CloseFrame::parse(payload)?;
                self.end(Step::Closed);
                Item::Close(close)
            }
        })
    }

    /// The header of a data frame that is taken piece by piece.
    fn begin(&mut self, header: &FrameHeader) {
        match header.opcode {
            Opcode::Text | Opcode::Binary if header.rsv != 0 => {
                self.message = Message::Deflated(header.opcode, Vec::new());
            }
            Opcode::Text => self.message = Message::Text(String::new()),
            Opcode::Binary => self.message = Message::Binary(Vec::new()),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => {}
        }
        self.key = header.masking_key.unwrap_or_default();
        self.remaining = header.payload_len;
        self.step = Step::Payload(header.fin);
    }

    /// The next piece of the open frame's payload.
    fn append(&mut self, payload: &mut [u8]) -> Result<(), ProtocolError> {
        if self.key != [0; 4] {
            mask(payload, self.key, 0);
            self.key = rotate(self.key, payload.len());
        }
        self.remaining -= payload.len() as u64;
        let (piece, rest) =
            (self.utf8.pending() + payload.len(), usize::try_from(self.remaining).unwrap_or(usize::MAX));
        match &mut self.message {
            Message::None => {}
            Message::Text(text) => {
                text.reserve_exact(growth(text.len(), text.capacity(), piece, rest));
                let (begun_before, rest) = self.utf8.decode(payload)?;
                text.extend(begun_before);
                text.push_str(rest);
            }
            Message::Binary(bytes) | Message::Deflated(_, bytes) => {
                bytes.reserve_exact(growth(bytes.len(), bytes.capacity(), piece, rest));
                bytes.extend_from_slice(payload);
            }
        }
        Ok(())
    }

    /// The message whose last frame ended.
    fn finish(&mut self) -> Result<Option<Item<'static>>, ProtocolError> {
        Ok(match mem::replace(&mut self.message, Message::None) {
            Message::None => None,
            Message::Text(text) => {
                self.utf8.finish()?;
                Some(Item::Text(Cow::Owned(text)))
            }
            Message::Binary(bytes) => Some(Item::Binary(Cow::Owned(bytes))),
            Message::Deflated(opcode, bytes) => Some(Item::Deflated(opcode, Cow::Owned(bytes))),
        })
    }

    /// Enters a step that is never left.
    fn end(&mut self, step: Step) {
        let (message, utf8) = (Message::None, Utf8Validator::new());
        *self = Self { message, remaining: 0, key: [0; 4], utf8, step, ..*self };
    }
}

#[cfg(test)]
mod tests {
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
        assert!(size_of::<Decoder>() <= 64, "{}", size_of::<Decoder>());
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
}

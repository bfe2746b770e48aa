//! Bytes of a peer to messages (RFC 6455 §5.4 to §5.6, §8.1).
//!
//! | step     | what comes next                        | then                                                 |
//! |----------|----------------------------------------|------------------------------------------------------|
//! | header   | a whole control frame                  | item; `closed` after a Close, else `header`          |
//! |          | a whole message in one frame           | item, borrowed; `header`                             |
//! |          | the header of any other data frame     | `payload`                                            |
//! | payload  | some of the frame's payload            | `payload`; in pieces: item, borrowed                 |
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

/// More frames than anybody sends: a larger limit is none.
const MANY: u32 = u32::MAX;

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
    message_fragments: u32,
    /// Frames of the incomplete message so far.
    fragments: u32,
    /// The open frame's masking key, turned so that it begins with the byte for the next payload byte.
    key: [u8; 4],
    utf8: Utf8Validator,
    role: Role,
    /// RSV1 means a compressed message.
    is_deflating: bool,
    /// What is not compressed is given piece by piece.
    in_pieces: bool,
    step: Step,
}

/// What arrived of a message that did not come in one piece.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Message {
    None,
    Text(String),
    Binary(Vec<u8>),
    Deflated(Opcode, Vec<u8>),
    /// It is given away as it comes; nothing of it is held.
    Passing(Opcode),
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
    /// Of the limits, those for messages count: a decoder has no clock.
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self {
            message: Message::None,
            remaining: 0,
            message_bytes: limits.message_bytes,
            message_fragments: if limits.message_fragments > MANY as usize {
                MANY
            } else {
                limits.message_fragments as u32
            },
            fragments: 0,
            key: [0; 4],
            utf8: Utf8Validator::new(),
            role,
            is_deflating: false,
            in_pieces: false,
            step: Step::Header,
        }
    }

    /// Lets messages be compressed from now on: it was agreed on (RFC 7692 §7).
    pub fn allow_deflated(&mut self) {
        self.is_deflating = true;
    }

    /// Gives messages as they come from now on, as [`Item::Piece`]: nothing is held, and
    /// the limits for messages do not count. Only a compressed message is collected, within them.
    ///
    /// Not while a message is incomplete: that one stays what it was.
    pub const fn deliver_pieces(&mut self) {
        self.in_pieces = true;
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
            Message::None | Message::Passing(_) => 0,
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
                    let is_alone = header.fin == Fin::Final && matches!(self.message, Message::None);
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
                    if self.remaining == 0 {
                        self.key = [0; 4];
                        self.step = Step::Header;
                    }
                    if let Message::Passing(opcode) = self.message {
                        let is_last = fin == Fin::Final && self.remaining == 0;
                        if is_last {
                            self.finish()?;
                        }
                        if is_last || !payload.is_empty() {
                            let piece = Item::Piece { opcode, data: payload, is_last };
                            return Ok((total - rest.len(), Some(piece)));
                        }
                    }
                    if self.remaining > 0 {
                        break;
                    }
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
            (Opcode::Continuation, Message::Passing(_)) => return Ok(()),
            (Opcode::Continuation, _) if self.fragments >= self.message_fragments => {
                return Err(ProtocolError::TooManyFragments);
            }
            (Opcode::Text | Opcode::Binary, Message::None) if self.in_pieces && header.rsv == 0 => return Ok(()),
            (Opcode::Continuation, _) | (Opcode::Text | Opcode::Binary, Message::None) => {}
            (Opcode::Text | Opcode::Binary, _) => return Err(ProtocolError::UnfinishedMessage),
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
        if self.in_pieces && !header.opcode.is_control() {
            if header.opcode == Opcode::Text {
                text(payload)?;
            }
            return Ok(Item::Piece { opcode: header.opcode, data: payload, is_last: true });
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
        self.fragments = if header.opcode == Opcode::Continuation { self.fragments.saturating_add(1) } else { 1 };
        match header.opcode {
            Opcode::Text | Opcode::Binary if header.rsv != 0 => {
                self.message = Message::Deflated(header.opcode, Vec::new());
            }
            Opcode::Text | Opcode::Binary if self.in_pieces => self.message = Message::Passing(header.opcode),
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
        let piece = self.utf8.pending() + payload.len();
        // How much more there will be, as far as that is known: only the last frame announces it.
        let rest = match self.step {
            Step::Payload(Fin::Final) => usize::try_from(self.remaining).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        match &mut self.message {
            Message::None | Message::Passing(Opcode::Binary) => {}
            Message::Passing(_) => self.utf8.push(payload)?,
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
        self.fragments = 0;
        Ok(match mem::replace(&mut self.message, Message::None) {
            Message::None => None,
            Message::Passing(_) => {
                self.utf8.finish()?;
                None
            }
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
        *self = Self { message, remaining: 0, fragments: 0, key: [0; 4], utf8, step, ..*self };
    }
}

#[cfg(test)]
mod tests;

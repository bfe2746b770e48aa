//! Frame headers and whole frames (RFC 6455 §5.2, §5.5).

use super::{CloseCode, ProtocolError, mask};
use crate::outbox::Outbox;
use alloc::vec::Vec;

/// The longest payload of a control frame (bytes, RFC 6455 §5.5).
const CONTROL_BYTES: usize = 125;

/// RSV1 as [`FrameHeader::rsv`] has it: the message is compressed (RFC 7692 §6).
pub const RSV1: u8 = 4;

/// What a frame carries (RFC 6455 §11.8).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Opcode {
    /// The next part of a message.
    Continuation = 0x0,
    /// Text, or its first part.
    Text = 0x1,
    /// Bytes, or their first part.
    Binary = 0x2,
    /// The last frame of the sender.
    Close = 0x8,
    /// Asks for a Pong with the same payload.
    Ping = 0x9,
    /// Answers a Ping, or is a heartbeat.
    Pong = 0xA,
}

impl Opcode {
    /// Whether frames of this kind may stand between the fragments of a message, and must be short and whole (§5.5).
    pub const fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Binary | Self::Continuation | Self::Text => false,
        }
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }
}

/// Whether a frame is the last of its message (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fin {
    /// The last, perhaps only, frame of a message.
    Final,
    /// More frames of this message follow.
    More,
}

/// The first 2 to 14 bytes of a frame (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FrameHeader {
    /// Whether the message ends with this frame.
    pub fin: Fin,
    /// RSV1, RSV2, RSV3 as the bits 4, 2, 1. Only an extension gives them a meaning.
    pub rsv: u8,
    /// What the payload is.
    pub opcode: Opcode,
    /// What the payload is XORed with; only on frames from clients.
    pub masking_key: Option<[u8; 4]>,
    /// How long the payload is (bytes, below 2⁶³).
    pub payload_len: u64,
}

impl FrameHeader {
    /// The header at the beginning of `input` and its length; `None` if it is not all there.
    ///
    /// Checks what can be told from a header alone: opcode, length encoding, and that a control frame is short and
    /// whole. Not the reserved bits, the masking or the order of frames: these depend on the connection.
    #[inline]
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let [first, second, rest @ ..] = input else {
            return Ok(None);
        };
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(ProtocolError::ReservedOpcode)?;
        let fin = if first & 0x80 == 0 { Fin::More } else { Fin::Final };
        let short_len = second & 0x7F;
        if opcode.is_control() {
            if fin == Fin::More {
                return Err(ProtocolError::ControlFragmented);
            }
            if usize::from(short_len) > CONTROL_BYTES {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        let (payload_len, rest) = match short_len {
            126 => {
                let Some((bytes, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                match u16::from_be_bytes(*bytes) {
                    0..126 => return Err(ProtocolError::LengthNotMinimal),
                    len => (len.into(), rest),
                }
            }
            127 => {
                let Some((bytes, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                match u64::from_be_bytes(*bytes) {
                    0..0x1_0000 => return Err(ProtocolError::LengthNotMinimal),
                    0x8000_0000_0000_0000.. => return Err(ProtocolError::LengthTooLarge),
                    len => (len, rest),
                }
            }
            len => (len.into(), rest),
        };
        let (masking_key, rest) = if second & 0x80 == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (Some(*key), rest)
        };
        let header = Self { fin, rsv: first >> 4 & 7, opcode, masking_key, payload_len };
        Ok(Some((header, input.len() - rest.len())))
    }

    /// Writes the header to the beginning of `out`; says how long it is.
    #[inline]
    pub fn encode(&self, out: &mut [u8; 14]) -> usize {
        let fin = match self.fin {
            Fin::Final => 0x80,
            Fin::More => 0,
        };
        let mask_bit = if self.masking_key.is_some() { 0x80 } else { 0 };
        let [first, second, rest @ ..] = out;
        *first = fin | (self.rsv & 7) << 4 | self.opcode as u8;
        let (mut size, key) = match self.payload_len {
            len @ 0..126 => {
                *second = mask_bit | len as u8;
                (2, &mut rest[..])
            }
            len @ 126..0x1_0000 => {
                let [a, b, key @ ..] = rest;
                *second = mask_bit | 126;
                [*a, *b] = (len as u16).to_be_bytes();
                (4, &mut key[..])
            }
            len => {
                let [a, b, c, d, e, f, g, h, key @ ..] = rest;
                *second = mask_bit | 127;
                [*a, *b, *c, *d, *e, *f, *g, *h] = len.to_be_bytes();
                (10, &mut key[..])
            }
        };
        if let (Some(bytes), Some(slot)) = (self.masking_key, key.first_chunk_mut()) {
            *slot = bytes;
            size += bytes.len();
        }
        size
    }
}

/// The header of a frame without extension bits: the bytes and how many of them count. For payloads that are shared
/// or masked on the way; [`encode`] and [`encode_fragment`] are for the rest.
#[inline]
pub fn frame_header(opcode: Opcode, fin: Fin, payload_len: u64, masking_key: Option<[u8; 4]>) -> ([u8; 14], usize) {
    let mut bytes = [0; 14];
    let size = FrameHeader { fin, rsv: 0, opcode, masking_key, payload_len }.encode(&mut bytes);
    (bytes, size)
}

/// Appends a message of one frame, or a control frame, to `out`. A client must give a masking key that its peers
/// cannot predict (RFC 6455 §5.3), a server none.
///
/// The payload is copied. That of a control frame is cut after 125 bytes.
pub fn encode(opcode: Opcode, payload: &[u8], masking_key: Option<[u8; 4]>, out: &mut Outbox) {
    let payload = if opcode.is_control() { payload.get(..CONTROL_BYTES).unwrap_or(payload) } else { payload };
    encode_with((Fin::Final, 0), opcode, payload, masking_key, out);
}

/// Appends a fragment of a message to `out`: the first has the message's opcode, those after it [`Opcode::Continuation`]
/// (RFC 6455 §5.4). The rest is as for [`encode`].
pub fn encode_fragment(opcode: Opcode, fin: Fin, payload: &[u8], masking_key: Option<[u8; 4]>, out: &mut Outbox) {
    encode_with((fin, 0), opcode, payload, masking_key, out);
}

/// Appends a message of one frame as [`encode`] does; a long payload is taken, not copied.
pub fn encode_owned(opcode: Opcode, mut payload: Vec<u8>, masking_key: Option<[u8; 4]>, out: &mut Outbox) {
    if let Some(key) = masking_key {
        mask(&mut payload, key, 0);
    }
    let (header, size) = frame_header(opcode, Fin::Final, payload.len() as u64, masking_key);
    out.extend(header.get(..size).unwrap_or_default());
    out.push(payload.into());
}

/// Appends a whole message whose payload is compressed to `out` (RFC 7692 §7.2.1).
pub fn encode_deflated(opcode: Opcode, payload: &[u8], masking_key: Option<[u8; 4]>, out: &mut Outbox) {
    encode_with((Fin::Final, RSV1), opcode, payload, masking_key, out);
}

fn encode_with((fin, rsv): (Fin, u8), opcode: Opcode, payload: &[u8], masking_key: Option<[u8; 4]>, out: &mut Outbox) {
    let mut header = [0; 14];
    let payload_len = payload.len() as u64;
    let size = FrameHeader { fin, rsv, opcode, masking_key, payload_len }.encode(&mut header);
    let tail = out.tail();
    tail.reserve(header.len() + payload.len());
    tail.extend_from_slice(header.get(..size).unwrap_or_default());
    let start = tail.len();
    tail.extend_from_slice(payload);
    if let Some(key) = masking_key {
        mask(tail.get_mut(start..).unwrap_or_default(), key, 0);
    }
}

/// Appends a Close frame to `out` (RFC 6455 §5.5.1).
///
/// `reason` is cut to 123 bytes, between characters. A code that is not [sendable](CloseCode::is_sendable), such as
/// [`CloseCode::NO_STATUS`], gives a Close frame without code and reason.
pub fn encode_close(code: CloseCode, reason: &str, masking_key: Option<[u8; 4]>, out: &mut Outbox) {
    let mut payload = [0; CONTROL_BYTES];
    let (code_slot, reason_slot) = payload.split_at_mut(2);
    let reason = reason.get(..reason.floor_char_boundary(reason_slot.len())).unwrap_or_default();
    code_slot.copy_from_slice(&code.as_u16().to_be_bytes());
    for (slot, byte) in reason_slot.iter_mut().zip(reason.bytes()) {
        *slot = byte;
    }
    let len = if code.is_sendable() { 2 + reason.len() } else { 0 };
    encode(Opcode::Close, payload.get(..len).unwrap_or_default(), masking_key, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;

    fn encoded(encode: impl FnOnce(&mut Outbox)) -> Vec<u8> {
        let mut out = Outbox::new();
        encode(&mut out);
        out.tail().clone()
    }

    #[test]
    fn writes_the_examples_of_the_rfc() {
        // RFC 6455 §5.7
        let hello = encoded(|out| encode(Opcode::Text, b"Hello", None, out));
        assert_eq!(hello, b"\x81\x05Hello");
        let masked = encoded(|out| encode(Opcode::Text, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]), out));
        assert_eq!(masked, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        let long = encoded(|out| encode(Opcode::Binary, &[0; 256], None, out));
        assert_eq!(long[..4], [0x82, 0x7E, 0x01, 0x00]);
        let longer = encoded(|out| encode(Opcode::Binary, &[0; 65_536], None, out));
        assert_eq!(longer[..10], [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn an_owned_payload_gives_the_same_bytes() {
        for payload_len in [0, 125, 1024, 1025, 70_000] {
            for masking_key in [None, Some([1, 2, 3, 4])] {
                let (payload, mut out) = (vec![7; payload_len], Outbox::new());
                let copied = encoded(|out| encode(Opcode::Binary, &payload, masking_key, out));
                encode_owned(Opcode::Binary, payload, masking_key, &mut out);
                let mut slices: [&[u8]; 4] = [&[]; 4];
                let filled = out.slices(&mut slices);
                assert_eq!(slices[..filled].concat(), copied);
            }
        }
    }

    #[test]
    fn headers_survive_the_wire_at_every_length_border() {
        for payload_len in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 40, (1 << 63) - 1] {
            for masking_key in [None, Some([1, 2, 3, 4])] {
                for (fin, rsv) in [(Fin::Final, 0), (Fin::More, 4), (Fin::More, 7)] {
                    let header = FrameHeader { fin, rsv, opcode: Opcode::Binary, masking_key, payload_len };
                    let mut bytes = [0; 14];
                    let size = header.encode(&mut bytes);
                    assert_eq!(FrameHeader::parse(&bytes[..size]), Ok(Some((header, size))));
                    for short in 0..size {
                        assert_eq!(FrameHeader::parse(&bytes[..short]), Ok(None));
                    }
                }
            }
        }
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let reason: String = "☂".repeat(50);
        let frame = encoded(|out| encode_close(CloseCode::NORMAL, &reason, None, out));
        assert_eq!(frame[..4], [0x88, 125, 0x03, 0xE8]);
        assert_eq!(core::str::from_utf8(&frame[4..]).unwrap(), "☂".repeat(41));
        let frame = encoded(|out| encode_close(CloseCode::NORMAL, &reason[..120].replacen('☂', "ab", 1), None, out));
        assert_eq!(frame.len(), 2 + 2 + 119);
    }

    #[test]
    fn a_code_for_local_use_only_is_not_sent() {
        for code in [CloseCode::NO_STATUS, CloseCode::ABNORMAL, CloseCode::new(0)] {
            assert_eq!(encoded(|out| encode_close(code, "why", None, out)), b"\x88\x00");
        }
    }

    #[test]
    fn a_control_frame_is_cut_to_125_bytes() {
        let frame = encoded(|out| encode(Opcode::Pong, &[7; 200], None, out));
        assert_eq!((frame.len(), frame[1]), (127, 125));
    }
}

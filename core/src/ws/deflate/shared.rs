//! One message for many connections: framed once, and compressed once for all who compress alike.

use super::Codec;
use crate::ws::FrameHeader;
use alloc::vec::Vec;
use bytes::Bytes;

/// A whole unmasked frame, and its compressed forms as they are asked for.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct SharedFrame {
    plain: Bytes,
    /// Where the payload begins.
    start: usize,
    /// By window bits and level. Where that is not smaller, the plain form.
    deflated: Vec<((u8, u8), Bytes)>,
}

impl SharedFrame {
    /// From a whole frame with a message, without a mask.
    pub fn new(plain: Bytes) -> Self {
        let start = FrameHeader::parse(&plain).ok().flatten().map_or(0, |(_, length)| length);
        Self { plain, start, deflated: Vec::new() }
    }

    /// The frame as it is.
    pub const fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// The message.
    pub fn payload(&self) -> &[u8] {
        self.plain.get(self.start..).unwrap_or_default()
    }

    /// The frame for those who compress so, without context takeover.
    pub(crate) fn deflated(&mut self, codec: &mut Codec, how: (u8, u8)) -> &Bytes {
        let found = self.deflated.iter().position(|(known, _)| *known == how);
        let at = found.unwrap_or_else(|| {
            self.deflated.push((how, self.compress(codec, how)));
            self.deflated.len() - 1
        });
        self.deflated.get(at).map_or(&self.plain, |(_, frame)| frame)
    }

    fn compress(&self, codec: &mut Codec, how: (u8, u8)) -> Bytes {
        let mut payload = Vec::new();
        codec.deflate(how, &[], self.payload(), &mut payload);
        match FrameHeader::parse(&self.plain) {
            Ok(Some((header, _))) if payload.len() < self.payload().len() => {
                let header = FrameHeader { rsv: crate::ws::RSV1, payload_len: payload.len() as u64, ..header };
                let mut bytes = [0; 14];
                let size = header.encode(&mut bytes);
                [bytes.get(..size).unwrap_or_default(), &payload].concat().into()
            }
            Ok(_) | Err(_) => self.plain.clone(),
        }
    }
}

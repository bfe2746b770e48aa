//! Event streams in gzip (RFC 1952), for clients that take it on routes that say so.
//!
//! Each event is compressed by itself, by the thread's [`Codec`], and flushed: what a decoder has got is all that was said, and a
//! message is compressed once for all who get the same event. A stream keeps nothing but what its trailer says, 8 bytes; its decoder
//! needs no more than for any gzip. What is short or does not become smaller goes as it is, in a stored block.
//!
//! Every event begins anew, so that little repetition is found in short ones: of 1 KiB of JSON a quarter to a half is left, of 100 bytes
//! nearly all. The id of a stream of several topics, and all that is said on a stream with an address, is compressed for each stream.

use crate::pubsub::Message;
use crate::ws::deflate::{Codec, Settings};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// §2.3: DEFLATE, no flags, no time, from an unknown system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Shorter pieces are not compressed (bytes): they would become longer.
const THRESHOLD: usize = 64;
/// RFC 1951 §3.2.4: the length of a stored block has 16 bits.
const STORED_BYTES: usize = 0xffff;

/// One event stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gzip {
    /// Of all that was said (§2.3.1).
    crc: u32,
    /// How much that was (bytes), modulo 2^32.
    size: u32,
}

impl Gzip {
    /// The next piece of the stream.
    pub(super) fn piece(&mut self, codec: &mut Codec, plain: &[u8]) -> Vec<u8> {
        self.count(plain);
        compress(codec, plain)
    }

    /// The next piece, which stands in `shared`.
    pub(super) fn shared<'s>(
        &mut self,
        codec: &mut Codec,
        shared: &'s mut Shared,
        message: &Arc<Message>,
        part: Part,
    ) -> &'s Bytes {
        self.count(part.of(message));
        shared.get(codec, message, part)
    }

    /// The end of the stream: an empty block that is the last, and the trailer.
    pub(super) fn end(self) -> [u8; 13] {
        let mut end = [0x01, 0x00, 0x00, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        let trailer = self.crc.to_le_bytes().into_iter().chain(self.size.to_le_bytes());
        end.iter_mut().skip(5).zip(trailer).for_each(|(to, from)| *to = from);
        end
    }

    fn count(&mut self, plain: &[u8]) {
        self.crc = Codec::crc32(self.crc, plain);
        self.size = self.size.wrapping_add(plain.len() as u32);
    }
}

/// Which form of a message is said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// The event.
    Whole,
    /// The event without its id.
    Data,
}

impl Part {
    /// As it is.
    pub(super) fn of(self, message: &Message) -> &Bytes {
        match self {
            Self::Whole => &message.sse,
            Self::Data => &message.sse_data,
        }
    }
}

/// The message that is being fanned out, compressed as it is asked for; kept until another one is wanted.
#[derive(Debug, Default)]
pub(super) struct Shared {
    of: Option<Arc<Message>>,
    whole: Option<Bytes>,
    data: Option<Bytes>,
}

impl Shared {
    fn get(&mut self, codec: &mut Codec, message: &Arc<Message>, part: Part) -> &Bytes {
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, message)) {
            *self = Self { of: Some(Arc::clone(message)), ..Self::default() };
        }
        let kept = match part {
            Part::Whole => &mut self.whole,
            Part::Data => &mut self.data,
        };
        kept.get_or_insert_with(|| compress(codec, part.of(message)).into())
    }
}

/// Blocks that end where a byte ends.
fn compress(codec: &mut Codec, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if plain.len() >= THRESHOLD {
        let Settings { level, window_bits, .. } = Settings::default();
        codec.deflate_flushed((window_bits, level), plain, &mut out);
        if out.len() < plain.len() {
            return out;
        }
        out.clear();
    }
    for block in plain.chunks(STORED_BYTES) {
        let length = block.len() as u16;
        out.push(0x00);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out
}

//! What a decoder gives, and how much it holds for that.

use super::{CloseFrame, Opcode};
use alloc::borrow::Cow;

/// How much a peer may make us hold.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Limits {
    /// The longest message (bytes, the sum of its fragments). Default 1 MiB: far above what pages send, far below
    /// what hurts.
    ///
    /// A frame whose header announces more fails with 1009 before any of its payload is looked at. As the buffer of
    /// an incomplete message grows by doubling, it may take up to twice this. What arrives compressed may be an eighth and
    /// 64 bytes longer; what it says may not.
    pub message_bytes: usize,
    /// Frames of one message. Default 131,072: 4 MiB in fragments of 64 bytes are half of that. Beyond: 1008. Empty ones hold nothing, but
    /// a message of them would never end. Does not count for what is delivered in pieces.
    pub message_fragments: usize,
    /// Pings and pongs per second, on average; and as many at once. Default 100: heartbeats come every few seconds, and what was held
    /// up on the way comes at once. Beyond: 1008.
    ///
    /// Whatever their number, no more than 17 pongs wait to be sent: of the pings beyond, the last is answered (§5.5.3).
    pub control_frames_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 1024 * 1024, message_fragments: 128 * 1024, control_frames_per_second: 100 }
    }
}

/// How much a buffer with `len` bytes reserves for a `piece` when `rest` will come after it (at most): room for all that, so that it
/// grows once, but no more for what is to come than has come. So it never takes more than twice what it holds.
pub(super) fn growth(len: usize, capacity: usize, piece: usize, rest: usize) -> usize {
    if capacity - len >= piece { 0 } else { piece + rest.min(len + piece) }
}

/// One thing a peer said. Borrowed from the input where it arrived in one piece.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Item<'i> {
    /// A text message.
    Text(Cow<'i, str>),
    /// A binary message.
    Binary(Cow<'i, [u8]>),
    /// A part of a message, after [`Decoder::deliver_pieces`](super::Decoder::deliver_pieces): what has come of it since the one before.
    /// Where the pieces are cut means nothing; only the last may be empty.
    Piece {
        /// `Text` or `Binary`, with all pieces of a message.
        opcode: Opcode,
        /// Of a text message, all pieces so far are the beginning of some UTF-8 text; they may end inside a character, but for
        /// the last.
        data: &'i [u8],
        /// Whether the message ends here.
        is_last: bool,
    },
    /// A compressed message: text or binary, to be inflated (RFC 7692 §7.2.2). Only if that was agreed on.
    Deflated(Opcode, Cow<'i, [u8]>),
    /// To be answered with a Pong of the same payload (§5.5.2).
    Ping(&'i [u8]),
    /// An answer to a Ping, or a heartbeat (§5.5.3).
    Pong(&'i [u8]),
    /// To be answered with a Close unless we sent one (§5.5.1). `None` if it carried no code. The last item.
    Close(Option<CloseFrame<'i>>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_buffer_grows_seldom_and_takes_no_more_than_twice_what_it_holds() {
        const ANNOUNCED: usize = 30_000;
        for piece in [1, 7, 1000, 15_000, 29_999, ANNOUNCED] {
            let (mut bytes, mut allocations) = (Vec::new(), 0);
            while bytes.len() < ANNOUNCED {
                let piece = piece.min(ANNOUNCED - bytes.len());
                let before = bytes.capacity();
                bytes.reserve_exact(growth(bytes.len(), before, piece, ANNOUNCED - bytes.len() - piece));
                allocations += usize::from(bytes.capacity() != before);
                bytes.resize(bytes.len() + piece, 0u8);
                assert!(bytes.capacity() <= 2 * bytes.len(), "{} bytes for {}", bytes.capacity(), bytes.len());
            }
            assert_eq!(bytes.capacity(), ANNOUNCED, "in pieces of {piece}");
            assert!(allocations <= 16 && (allocations == 1 || piece < ANNOUNCED / 2), "{allocations} for {piece}");
        }
    }
}

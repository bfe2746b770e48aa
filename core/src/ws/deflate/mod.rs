//! permessage-deflate (RFC 7692): messages that are compressed.
//!
//! | file | section | what |
//! |---|---|---|
//! | `negotiation.rs` | 5, 7.1 | what both sides agree on |
//! | `extension.rs` | 7.2 | messages of one connection |
//! | `shared.rs` | | one message for many connections |
//! | `codec.rs` | 7.2.1, 7.2.2 | DEFLATE itself, by zlib-rs: one for all connections of a thread |
//!
//! A message ends where a byte ends, so that nothing carries over to the next one but the window: the last plain bytes. A
//! connection keeps those, if it was agreed that it does (context takeover), and nothing else: the state of zlib is the thread's,
//! and is set up anew for each message. What that costs:
//!
//! | | for each connection | for each message |
//! |---|---|---|
//! | without context takeover | 64 bytes | setting up: about 1 µs |
//! | with it, incoming, outgoing | as much as was said, each up to 2^window_bits bytes (32 KiB) | the window is hashed: up to 40 µs |
//!
//! For each thread: 48 KB to inflate, and for each size of window that clients asked for, up to 380 KB to deflate.
//!
//! Without the feature `deflate` nothing is offered or accepted: zlib-rs needs an allocator of `std`.

mod codec;
mod extension;
mod negotiation;
mod shared;

pub use codec::Codec;
pub use extension::Extension;
pub use negotiation::{Agreed, Direction, accept, offer, verify};
pub use shared::SharedFrame;

/// What we want of compression.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Settings {
    /// How hard to try, 1 to 9. Default 6: of 1 KiB of JSON, level 1 leaves a tenth more and takes a third of the time.
    pub level: u8,
    /// The largest window, for either direction: 2^9 to 2^15 bytes. Default 15.
    pub window_bits: u8,
    /// Whether messages may refer to those before. Default no: better compression, but every connection keeps up to two windows, and
    /// a message for many has to be compressed for each.
    pub context_takeover: bool,
    /// Shorter messages are sent as they are (bytes). Default 256: below, little is gained.
    pub threshold: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: 6, window_bits: 15, context_takeover: false, threshold: 256 }
    }
}

/// What an empty block at the end of a flush looks like, which is not sent (RFC 7692 §7.2.1).
#[cfg(feature = "deflate")]
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

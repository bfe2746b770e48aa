//! WebSockets (RFC 6455): frames, messages, the opening handshake, and permessage-deflate (RFC 7692).
//!
//! | file           | section    | what                                                    |
//! |----------------|------------|---------------------------------------------------------|
//! | `handshake/`   | 4          | both sides of the opening handshake                     |
//! | `frame.rs`     | 5.2, 5.5   | frame headers, whole frames to send                     |
//! | `mask.rs`      | 5.3        | the masking XOR                                         |
//! | `decoder.rs`   | 5.4 to 5.6 | bytes of a peer to messages, with every check           |
//! | `item.rs`      |            | what the decoder gives, and its limits                  |
//! | `utf8.rs`      | 8.1        | UTF-8 that arrives in pieces                            |
//! | `close.rs`     | 7.4        | status codes                                            |
//! | `deflate/`     | RFC 7692   | compressed messages                                     |
//! | `error.rs`     | 7.1.7      | what a peer did wrong, and the status code to fail with |
//!
//! ```
//! use brolly_core::outbox::Outbox;
//! use brolly_core::ws::{self, Decoder, Item, Limits, Opcode, Role};
//!
//! // A client sends a masked frame...
//! let mut wire = Outbox::new();
//! ws::encode(Opcode::Text, b"hello", Some([1, 2, 3, 4]), &mut wire);
//! let mut bytes = wire.tail().clone();
//!
//! // ...which the server unmasks where it lies.
//! let mut decoder = Decoder::new(Role::Server, Limits::default());
//! assert_eq!(decoder.decode(&mut bytes), Ok((11, Some(Item::Text("hello".into())))));
//! ```

mod close;
mod decoder;
pub mod deflate;
mod error;
mod frame;
pub mod handshake;
mod item;
mod mask;
mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use decoder::Decoder;
pub use error::ProtocolError;
pub use frame::{
    Fin, FrameHeader, Opcode, RSV1, encode, encode_close, encode_deflated, encode_fragment, encode_owned, frame_header,
};
pub use item::{Item, Limits};
pub use mask::mask;
pub use utf8::{InvalidUtf8, Utf8Validator};

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// We opened the connection: we mask what we send, and refuse what is masked (RFC 6455 §5.1).
    Client,
    /// We accepted the connection: we send in the clear, and refuse what is not masked (RFC 6455 §5.1).
    Server,
}

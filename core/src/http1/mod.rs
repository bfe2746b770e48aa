//! HTTP/1.1 as bytes: RFC 9112, with the semantics of RFC 9110 that decide how bytes are read.
//!
//! ```text
//! request.rs, response.rs   the decoders: state machines over borrowed input
//!   scan.rs                 where an unfinished head ends         chunk.rs, trailers.rs, body.rs   content
//!   tokenise.rs             httparse                              framing.rs          where content ends
//!   head.rs, fields.rs, target.rs, method.rs, status.rs           what a head says
//! encode.rs, edit.rs        heads and chunks into an Outbox
//! path.rs, query.rs         what a target means to a handler
//! ```
//!
//! Strict: of two readings of a message, neither is chosen; it is refused (`400`), because the next hop may choose the
//! other. Nothing is decoded, unfolded, merged or repaired on the way.

mod body;
mod chunk;
mod edit;
mod encode;
mod error;
mod fields;
mod framing;
mod grammar;
mod head;
mod limits;
mod method;
mod path;
mod query;
mod request;
mod response;
mod scan;
mod status;
mod target;
mod tokenise;
mod trailers;

pub use edit::CheckedLines;
pub use encode::{EncodeError, FieldLines, HeadWriter, chunk, chunk_shared, last_chunk};
pub use error::ParseError;
pub use fields::Fields;
pub use framing::Framing;
pub(crate) use grammar::is_token;
pub use head::{RequestHead, ResponseHead};
pub use limits::Limits;
pub use method::Method;
pub use path::{PathError, decode_segment, has_dot_segment, normalise, readings};
pub use query::{QueryError, query_pairs};
pub use request::RequestDecoder;
pub use response::ResponseDecoder;
pub use status::StatusCode;
pub use target::{Authority, Target};

/// The version of the sender of a message (RFC 9110 §2.5). A minor version above 1 counts as 1.1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no interim responses, one request per connection unless both agree.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// A piece of a message, borrowed from the input. `H` is [`RequestHead`] or [`ResponseHead`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part<'a, H> {
    /// The head, and how the content after it is delimited.
    Head(H, Framing),
    /// Some of the content, without its coding. Where it is cut means nothing.
    Content(&'a [u8]),
    /// The message is complete. Trailer fields that must not be trusted (RFC 9110 §6.5.1) are left out.
    End(Option<Fields<'a>>),
}

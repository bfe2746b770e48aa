//! Event streams (WHATWG HTML §9.2, "Server-sent events"): what a server writes, and what a client makes of it.
//!
//! ```
//! use brolly_core::sse::{Event, Parser};
//!
//! let mut stream = Vec::new();
//! Event { id: Some("7"), data: "two\nlines", ..Event::default() }.encode(&mut stream).unwrap();
//! assert_eq!(stream, b"id: 7\ndata: two\ndata: lines\n\n");
//!
//! let (_, dispatched) = Parser::new(1024).parse(&stream).unwrap();
//! let event = dispatched.unwrap();
//! assert_eq!((&*event.event_type, &*event.data, &*event.last_event_id), ("message", "two\nlines", "7"));
//! ```

mod encode;
mod parse;

pub use encode::{Event, InvalidField, encode_comment, encode_data};
pub use parse::{Dispatched, Parser, TooLong};

/// Whether a response with this `Content-Type` is an event stream: with any other, clients fail (WHATWG HTML §9.2.2). Parameters say
/// nothing: event streams are UTF-8.
pub fn is_event_stream(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

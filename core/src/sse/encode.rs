//! Writing an event stream (WHATWG HTML §9.2.5).

use alloc::vec::Vec;
use core::error::Error;
use core::fmt::{self, Write};
use core::time::Duration;
use memchr::{memchr2, memchr3};

/// One event to send.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Event<'a> {
    /// What the client sends as `Last-Event-ID` when it reconnects; `None` leaves what it has, `""` clears it. Without
    /// NUL, CR and LF: a client ignores an id with the first, and the others end it.
    pub id: Option<&'a str>,
    /// The name listeners listen to; `None` and `""` mean `message`. Without CR and LF.
    pub event_type: Option<&'a str>,
    /// Anything. CR and CRLF arrive as LF.
    pub data: &'a str,
    /// How long the client waits before it reconnects; sent in whole milliseconds.
    pub retry: Option<Duration>,
}

/// A field that would not arrive as it is. Nothing was written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum InvalidField {
    /// CR or LF in the event type.
    EventType,
    /// NUL, CR or LF in the id.
    Id,
}

impl InvalidField {
    /// The status to answer a publisher with, who gave the field.
    pub const fn status(self) -> u16 {
        400
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EventType => "line break in the event type",
            Self::Id => "NUL or line break in the event id",
        })
    }
}

impl Error for InvalidField {}

impl Event<'_> {
    /// Appends the event to `out`, ending with the blank line that dispatches it.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), InvalidField> {
        if self.id.is_some_and(|id| memchr3(b'\0', b'\r', b'\n', id.as_bytes()).is_some()) {
            return Err(InvalidField::Id);
        }
        if self.event_type.is_some_and(|name| memchr2(b'\r', b'\n', name.as_bytes()).is_some()) {
            return Err(InvalidField::EventType);
        }
        if let Some(name) = self.event_type {
            encode_line("event: ", name.as_bytes(), out);
        }
        if let Some(id) = self.id {
            encode_line("id: ", id.as_bytes(), out);
        }
        if let Some(retry) = self.retry {
            // Writing to memory does not fail.
            let _ = writeln!(Utf8(out), "retry: {}", retry.as_millis());
        }
        encode_data(self.data, out);
        out.push(b'\n');
        Ok(())
    }
}

/// Appends only the data lines of an event: at least one, each ending with LF. A blank line after them dispatches.
pub fn encode_data(data: &str, out: &mut Vec<u8>) {
    encode_lines("data: ", data, out);
}

/// Appends a comment, which no client sees: for keeping a connection alive. Can stand anywhere between lines.
pub fn encode_comment(text: &str, out: &mut Vec<u8>) {
    encode_lines(": ", text, out);
}

/// One line for each line of `text`. The space at the end of `name` is the one that the client strips, so that a space
/// at the beginning of the text arrives.
fn encode_lines(name: &str, text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(end) = memchr2(b'\r', b'\n', rest)
        && let Some((line, after)) = rest.split_at_checked(end)
    {
        encode_line(name, line, out);
        rest = match after {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => after,
        };
    }
    encode_line(name, rest, out);
}

fn encode_line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 1);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Formats into bytes.
struct Utf8<'a>(&'a mut Vec<u8>);

impl Write for Utf8<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(event: &Event<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        event.encode(&mut out).unwrap();
        out
    }

    #[test]
    fn writes_all_fields() {
        let retry = Some(Duration::from_millis(1500));
        let event = Event { id: Some("a:b"), event_type: Some("tick"), data: " x", retry };
        assert_eq!(encoded(&event), b"event: tick\nid: a:b\nretry: 1500\ndata:  x\n\n");
        assert_eq!(encoded(&Event::default()), b"data: \n\n");
    }

    #[test]
    fn data_is_split_at_every_kind_of_line_end() {
        let event = Event { data: "a\r\nb\rc\nd\n\re\r\n", ..Event::default() };
        assert_eq!(encoded(&event), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\ndata: \n\n");
    }

    #[test]
    fn a_comment_cannot_end_early() {
        let mut out = Vec::new();
        encode_comment("a\ndata: b\r\n", &mut out);
        encode_comment("", &mut out);
        assert_eq!(out, b": a\n: data: b\n: \n: \n");
    }

    #[test]
    fn a_refused_event_writes_nothing() {
        let mut out = Vec::new();
        for id in ["a\0", "\r", "a\nb"] {
            assert_eq!(Event { id: Some(id), ..Event::default() }.encode(&mut out), Err(InvalidField::Id));
        }
        for name in ["a\r", "\nb"] {
            let event = Event { id: Some("1"), event_type: Some(name), ..Event::default() };
            assert_eq!(event.encode(&mut out), Err(InvalidField::EventType));
        }
        assert!(out.is_empty());
    }
}

//! Reading an event stream (WHATWG HTML §9.2.6, "Interpreting an event stream").

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::mem;
use core::time::Duration;
use core::{fmt, str};
use memchr::memchr2;

/// An event as a listener sees it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Dispatched {
    /// The name to find listeners by; `message` unless the event said otherwise.
    pub event_type: String,
    /// The data lines, joined with LF.
    pub data: String,
    /// The last id so far, from this event or an earlier one; empty if there was none.
    pub last_event_id: Arc<str>,
}

/// An event needs more memory than the parser may use. The connection is of no further use.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event is too long")
    }
}

impl Error for TooLong {}

impl TooLong {
    /// The status a gateway answers with, whose upstream sent the event.
    pub const fn status(self) -> u16 {
        502
    }
}

/// The receiving half of an event stream.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Parser {
    max_event_bytes: usize,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    data: String,
    event_type: String,
    /// The last event ID buffer, if it changed since the last dispatch.
    id: Option<Arc<str>>,
    last_event_id: Arc<str>,
    reconnection_time: Option<Duration>,
    step: Step,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Step {
    /// The first line: a BOM at its beginning is skipped.
    First,
    Line,
    /// After a CR: an LF belongs to it.
    AfterCr,
    Failed,
}

impl Parser {
    /// A parser for a stream from its beginning.
    ///
    /// `max_event_bytes` bounds what is held: data, event type and id of the unfinished event, and the line that is
    /// being read, together, in bytes. Beyond it the stream fails.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            line: Vec::new(),
            data: String::new(),
            event_type: String::new(),
            id: None,
            last_event_id: Arc::default(),
            reconnection_time: None,
            step: Step::First,
        }
    }

    /// Takes as much of `input` as it can, up to and including the first event; says how much that was.
    ///
    /// Without an event, that was everything. Call again with the rest until there is no event. [`TooLong`] is final.
    pub fn parse(&mut self, input: &[u8]) -> Result<(usize, Option<Dispatched>), TooLong> {
        let mut rest = input;
        loop {
            match self.step {
                Step::Failed => return Err(TooLong),
                Step::AfterCr => match rest {
                    [] => break,
                    [b'\n', after @ ..] => {
                        rest = after;
                        self.step = Step::Line;
                    }
                    [_, ..] => self.step = Step::Line,
                },
                Step::First | Step::Line => {
                    let end = memchr2(b'\r', b'\n', rest);
                    let (line, after) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
                    if self.held() + line.len() > self.max_event_bytes {
                        return self.fail();
                    }
                    let Some((terminator, after)) = after.split_first() else {
                        self.line.extend_from_slice(line);
                        return Ok((input.len(), None));
                    };
                    rest = after;
                    let dispatched = self.line(line);
                    self.step = if *terminator == b'\r' { Step::AfterCr } else { Step::Line };
                    if self.held() > self.max_event_bytes {
                        return self.fail();
                    }
                    if dispatched.is_some() {
                        return Ok((input.len() - rest.len(), dispatched));
                    }
                }
            }
        }
        Ok((input.len(), None))
    }

    /// The stream ended and another will follow: forgets the unfinished event, keeps the last event ID and the
    /// reconnection time.
    pub fn restart(&mut self) {
        *self = Self {
            last_event_id: mem::take(&mut self.last_event_id),
            reconnection_time: self.reconnection_time,
            ..Self::new(self.max_event_bytes)
        };
    }

    /// How long to wait before reconnecting, if the stream said so.
    pub const fn reconnection_time(&self) -> Option<Duration> {
        self.reconnection_time
    }

    /// What to send as `Last-Event-ID` when reconnecting; nothing if empty.
    pub const fn last_event_id(&self) -> &Arc<str> {
        &self.last_event_id
    }

    /// What counts towards the limit (bytes).
    fn held(&self) -> usize {
        let id = self.id.as_ref().map_or(0, |id| id.len());
        self.line.len() + self.data.len() + self.event_type.len() + id
    }

    fn fail<T>(&mut self) -> Result<T, TooLong> {
        self.restart();
        self.step = Step::Failed;
        Err(TooLong)
    }

    /// A line that ends with `end`, whose beginning may have come earlier.
    fn line(&mut self, end: &[u8]) -> Option<Dispatched> {
        if self.line.is_empty() {
            return self.whole_line(end);
        }
        let mut line = mem::take(&mut self.line);
        line.extend_from_slice(end);
        let dispatched = self.whole_line(&line);
        line.clear();
        self.line = line;
        dispatched
    }

    fn whole_line(&mut self, line: &[u8]) -> Option<Dispatched> {
        // Decoding the stream as UTF-8 takes one BOM away.
        let line = match self.step {
            Step::First => line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line),
            Step::AfterCr | Step::Failed | Step::Line => line,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => line.split_at_checked(colon).unwrap_or((line, &[])),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b":").unwrap_or(value);
        self.field(name, value.strip_prefix(b" ").unwrap_or(value));
        None
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"event" => {
                self.event_type.clear();
                self.event_type.push_str(&String::from_utf8_lossy(value));
            }
            b"data" => {
                self.data.push_str(&String::from_utf8_lossy(value));
                self.data.push('\n');
            }
            b"id" if !value.contains(&0) => self.id = Some(String::from_utf8_lossy(value).into()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let digits = str::from_utf8(value).unwrap_or_default();
                // All digits: only too large a number does not parse.
                self.reconnection_time = Some(Duration::from_millis(digits.parse().unwrap_or(u64::MAX)));
            }
            // Comments have the empty name.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Dispatched> {
        if let Some(id) = self.id.take() {
            self.last_event_id = id;
        }
        let mut data = mem::take(&mut self.data);
        let event_type = mem::take(&mut self.event_type);
        // The LF after the last line; no line, no event.
        data.pop()?;
        let event_type = if event_type.is_empty() { "message".to_owned() } else { event_type };
        Some(Dispatched { event_type, data, last_event_id: self.last_event_id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(parser: &mut Parser, stream: &[u8]) -> Vec<(String, String, String)> {
        let (mut rest, mut events) = (stream, Vec::new());
        loop {
            let (taken, event) = parser.parse(rest).unwrap();
            rest = &rest[taken..];
            let Some(Dispatched { event_type, data, last_event_id }) = event else {
                break;
            };
            events.push((event_type, data, last_event_id.as_ref().into()));
        }
        assert!(rest.is_empty());
        events
    }

    #[test]
    fn a_line_end_may_be_torn_apart() {
        let mut parser = Parser::new(100);
        assert_eq!(events(&mut parser, b"data: a\r"), []);
        assert_eq!(events(&mut parser, b"\n\r").len(), 1);
        assert_eq!(events(&mut parser, b"\n"), []);
        assert_eq!(events(&mut parser, b"data: b\n\n").len(), 1);
    }

    #[test]
    fn an_unfinished_event_is_forgotten_with_its_id() {
        let mut parser = Parser::new(100);
        assert_eq!(events(&mut parser, b"id: 1\nretry: 50\ndata: a\n\nid: 2\ndata: b\nda").len(), 1);
        parser.restart();
        assert_eq!(&**parser.last_event_id(), "1");
        assert_eq!(parser.reconnection_time(), Some(Duration::from_millis(50)));
        let event = ("message".to_owned(), "c".to_owned(), "1".to_owned());
        assert_eq!(events(&mut parser, b"\xEF\xBB\xBFdata: c\n\n"), [event]);
    }

    #[test]
    fn an_id_without_data_counts() {
        let mut parser = Parser::new(100);
        assert_eq!(events(&mut parser, b"id: 1\n\n"), []);
        assert_eq!(&**parser.last_event_id(), "1");
        assert_eq!(events(&mut parser, b"id\n\n"), []);
        assert_eq!(&**parser.last_event_id(), "");
    }

    #[test]
    fn the_limit_is_exact_and_final() {
        // "data: 1234" is ten bytes; then "1234\n" is held.
        let event = b"data: 1234\n\n";
        assert_eq!(events(&mut Parser::new(10), &event.repeat(3)).len(), 3);
        let mut parser = Parser::new(9);
        assert_eq!(parser.parse(&event[..9]), Ok((9, None)));
        assert_eq!(parser.parse(&event[9..]), Err(TooLong));
        assert_eq!(parser.parse(b"\n\n"), Err(TooLong));
        assert_eq!(Parser::new(20).parse(b"data: 1\ndata: 2\ndata: 3\ndata: 4\ndata: 567890\ndata: 1"), Err(TooLong));
    }

    #[test]
    fn comments_do_not_add_up() {
        assert_eq!(events(&mut Parser::new(16), &b": keep alive\n".repeat(100)), []);
    }

    #[test]
    fn a_huge_reconnection_time_saturates() {
        let mut parser = Parser::new(100);
        events(&mut parser, b"retry: 99999999999999999999999\n");
        assert_eq!(parser.reconnection_time(), Some(Duration::from_millis(u64::MAX)));
    }
}

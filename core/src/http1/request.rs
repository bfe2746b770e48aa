//! The server's side: bytes in, requests out (RFC 9112 §3).

use super::body::{Body, Step};
use super::grammar::{is_target, is_tchar};
use super::limits::{Caps, Limits};
use super::scan::{FieldScan, MAX_METHOD_BYTES, RequestLine, RequestLineScan};
use super::tokenise;
use super::{Framing, ParseError, Part, RequestHead, Version};
use core::mem;
use core::str;

/// RFC 9112 §2.2: "a server [...] SHOULD ignore at least one empty line (CRLF) received prior to the request-line." Some
/// clients send one after a body; nobody sends more than a few.
const MAX_EMPTY_LINES: u8 = 4;

/// Decodes the requests of one connection, one at a time.
///
/// | state | next |
/// |---|---|
/// | between messages | the first byte of a head |
/// | head | [`Part::Head`], or an error |
/// | content | any number of [`Part::Content`], then [`Part::End`], or an error |
/// | complete | nothing, until [`start_next_message`](Self::start_next_message) |
/// | failed | the same error for ever |
///
/// ```
/// use brolly_core::http1::{Framing, Limits, Method, Part, RequestDecoder};
///
/// let mut decoder = RequestDecoder::new(Limits::default());
/// let input = b"POST /a?b HTTP/1.1\r\nHost: example\r\nContent-Length: 2\r\n\r\nhi";
/// let (head_length, part) = decoder.decode(input)?;
/// let Some(Part::Head(head, Framing::Length(2))) = part else { panic!() };
/// assert_eq!((head.method, head.target.path(), head.target.query()), (Method::Post, "/a", Some("b")));
/// assert_eq!(decoder.decode(&input[head_length..])?, (2, Some(Part::Content(b"hi"))));
/// assert_eq!(decoder.decode(b"")?, (0, Some(Part::End(None))));
/// # Ok::<_, brolly_core::http1::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RequestDecoder {
    caps: Caps,
    state: State,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum State {
    Head(HeadScan),
    Body(Body),
    Complete,
    Failed(ParseError),
}

/// How far an unfinished head was looked at.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct HeadScan {
    /// Empty lines skipped before it.
    empty_lines: u8,
    line: RequestLineScan,
    /// The request line and the search behind it, once that line is complete.
    fields: Option<(RequestLine, FieldScan)>,
}

impl RequestDecoder {
    /// A decoder between messages.
    pub fn new(limits: Limits) -> Self {
        Self { caps: Caps::new(limits), state: State::Head(HeadScan::default()) }
    }

    /// Consumes the beginning of `input`: says how many bytes, and the part that they are.
    ///
    /// Without a part, more input is needed: the next call gets the rest of this input and what follows it. A complete
    /// message gives `(0, None)` until the next one is started. After an error the same error is given for ever.
    /// Content parts are never empty. Ask again after each part: the end of a message needs no bytes of its own.
    #[inline]
    pub fn decode<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Option<Part<'i, RequestHead<'i>>>), ParseError> {
        let decoded = match &mut self.state {
            State::Head(scan)
                if !scan.line.has_begun()
                    && let Some(head) = ordinary_head(input, self.caps) =>
            {
                head
            }
            State::Head(scan) => scan.advance(input, self.caps),
            State::Body(_) => return self.decode_body(input),
            State::Complete => return Ok((0, None)),
            State::Failed(error) => return Err(*error),
        };
        match decoded {
            Ok((consumed, Some((head, framing)))) => {
                self.state = State::Body(Body::new(framing));
                Ok((consumed, Some(Part::Head(head, framing))))
            }
            Ok((consumed, None)) => Ok((consumed, None)),
            Err(error) => self.fail(error),
        }
    }

    /// Goes on to the next request of the connection, if the current one is complete; else nothing happens.
    ///
    /// Pipelined requests wait for this: nothing of the next one is looked at while the answer to this one may still
    /// close the connection.
    pub fn start_next_message(&mut self) {
        if self.is_complete() {
            self.state = State::Head(HeadScan::default());
        }
    }

    /// Whether no byte of the next request was seen: the connection may be closed without harm.
    pub const fn is_between_messages(&self) -> bool {
        matches!(&self.state, State::Head(scan) if !scan.line.has_begun())
    }

    /// Whether a head has begun and is not complete: its deadline runs.
    pub const fn is_head_started(&self) -> bool {
        matches!(&self.state, State::Head(scan) if scan.line.has_begun())
    }

    /// Whether content, or the end of the message, is still to come.
    pub const fn is_in_content(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// Whether [`Part::End`] was given, and [`start_next_message`](Self::start_next_message) not yet called.
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    fn decode_body<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Option<Part<'i, RequestHead<'i>>>), ParseError> {
        let State::Body(body) = &mut self.state else { return Ok((0, None)) };
        match body.decode(input, self.caps) {
            Ok((consumed, Some(Step::Content(content)))) => Ok((consumed, Some(Part::Content(content)))),
            Ok((consumed, Some(Step::End(trailers)))) => {
                self.state = State::Complete;
                Ok((consumed, Some(Part::End(trailers))))
            }
            Ok((consumed, None)) => Ok((consumed, None)),
            Err(error) => self.fail(error),
        }
    }

    #[cold]
    fn fail<T>(&mut self, error: ParseError) -> Result<T, ParseError> {
        self.state = State::Failed(error);
        Err(error)
    }
}

type Head<'i> = (RequestHead<'i>, Framing);

/// The usual case: the head is complete, and nothing about its syntax is unusual. Everything else is left to
/// [`HeadScan`], which alone defines which error comes first.
#[inline]
fn ordinary_head(input: &[u8], caps: Caps) -> Option<Result<(usize, Option<Head<'_>>), ParseError>> {
    input.first().filter(|&&byte| is_tchar(byte))?;
    let tokens = tokenise::request(input, caps.head_bytes(), caps.field_lines())?;
    let fits = tokens.method.len() <= MAX_METHOD_BYTES
        && tokens.target.len() <= caps.target_bytes()
        && tokens.target.bytes().all(is_target);
    if !fits {
        return None;
    }
    let head = RequestHead::new(tokens.head, (tokens.method, tokens.target, tokens.version), tokens.lines);
    Some(head.map(|head| (tokens.head.len(), Some(head))))
}

impl HeadScan {
    /// Looks at what is new in `input`; the head, once it is complete.
    #[cold]
    fn advance<'i>(&mut self, input: &'i [u8], caps: Caps) -> Result<(usize, Option<Head<'i>>), ParseError> {
        let (skipped, input) = if self.line.has_begun() { (0, input) } else { self.skip_empty_lines(input)? };
        if matches!(input, [] | [b'\r']) {
            return Ok((skipped, None));
        }
        let (line, mut fields) = match mem::take(&mut self.fields) {
            Some(found) => found,
            None => match self.line.advance(input, caps)? {
                Some(line) => (line, FieldScan::starting_at(line.end.into())),
                None => return Ok((skipped, None)),
            },
        };
        match fields.advance(input, caps.head_bytes(), caps.field_lines(), ParseError::HeadTooLarge)? {
            Some(end) => {
                let head = complete_head(input.get(..end).unwrap_or_default(), line)?;
                Ok((skipped + end, Some(head)))
            }
            None => {
                self.fields = Some((line, fields));
                Ok((skipped, None))
            }
        }
    }

    fn skip_empty_lines<'i>(&mut self, mut input: &'i [u8]) -> Result<(usize, &'i [u8]), ParseError> {
        let length = input.len();
        while let [b'\r', b'\n', rest @ ..] = input {
            if self.empty_lines == MAX_EMPTY_LINES {
                return Err(ParseError::LineEnd);
            }
            self.empty_lines += 1;
            input = rest;
        }
        match input {
            [b'\n', ..] | [b'\r', _, ..] => Err(ParseError::LineEnd),
            _ => Ok((length - input.len(), input)),
        }
    }
}

/// A head whose request line and whose end were found.
fn complete_head(head: &[u8], line: RequestLine) -> Result<Head<'_>, ParseError> {
    let lines = tokenise::fields(head, line.end.into())?;
    let part = |range| head.get(range).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default();
    let [method, target, minor] = [
        part(0..usize::from(line.target) - 1),
        part(line.target.into()..usize::from(line.version) - 1),
        // The digit before CRLF.
        part(usize::from(line.end) - 3..usize::from(line.end) - 2),
    ];
    // RFC 9110 §2.5: "A recipient that receives a message with a major version number that it implements and a minor version
    // number higher than what it implements SHOULD process the message as if it was in the highest minor version".
    let version = if minor == "0" { Version::Http10 } else { Version::Http11 };
    RequestHead::new(head, (method, target, version), lines)
}

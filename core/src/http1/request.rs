//! The server's side: bytes in, requests out (RFC 9112 §3).

use super::body::{Body, Step};
use super::fields::{Fields, Lines};
use super::grammar::{is_target, is_tchar};
use super::head::CheckedRequest;
use super::limits::{Caps, Limits};
use super::scan::{FieldScan, MAX_METHOD_BYTES, RequestLine, RequestLineScan};
use super::tokenise::{self, RequestTokens, Tokens};
use super::{ParseError, Part, RequestHead, Version, trailers};
use core::mem;
use core::str;

/// RFC 9112 §2.2: "a server [...] SHOULD ignore at least one empty line (CRLF) received prior to the request-line."
/// Some clients send one after a body; nobody sends more than a few.
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
        let mut lines = Lines::new();
        let (skipped, tokens) = match &mut self.state {
            State::Head(scan) => {
                match (!scan.line.has_begun()).then(|| ordinary_head(input, self.caps, &mut lines)).flatten() {
                    Some(tokens) => (0, tokens),
                    None => match scan.advance(input, self.caps, &mut lines) {
                        Ok((skipped, Some(tokens))) => (skipped, tokens),
                        Ok((skipped, None)) => return Ok((skipped, None)),
                        Err(error) => return self.fail(error),
                    },
                }
            }
            State::Body(_) => return self.decode_body(input),
            State::Complete => return Ok((0, None)),
            State::Failed(error) => return Err(*error),
        };
        let fields = Fields::new(tokens.head, lines);
        match CheckedRequest::new(tokens.line, &fields) {
            Ok(request) => {
                let framing = request.framing;
                self.state = State::Body(Body::new(framing));
                Ok((skipped + tokens.head.len(), Some(Part::Head(request.head(fields), framing))))
            }
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

    #[inline]
    fn decode_body<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Option<Part<'i, RequestHead<'i>>>), ParseError> {
        let State::Body(body) = &mut self.state else { return Ok((0, None)) };
        match body.decode(input, self.caps) {
            Ok((consumed, Some(Step::Content(content)))) => Ok((consumed, Some(Part::Content(content)))),
            Ok((consumed, Some(Step::End))) => {
                self.state = State::Complete;
                Ok((consumed, Some(Part::End(None))))
            }
            Ok((consumed, Some(Step::Trailers(section)))) => match trailers::parse(section) {
                Ok(trailers) => {
                    self.state = State::Complete;
                    Ok((consumed, Some(Part::End(trailers))))
                }
                Err(error) => self.fail(error),
            },
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

/// The usual case: the head is complete, and nothing about its syntax is unusual. Everything else is left to
/// [`HeadScan`], which alone defines which error comes first.
#[inline]
fn ordinary_head<'i>(input: &'i [u8], caps: Caps, lines: &mut Lines) -> Option<RequestTokens<'i>> {
    input.first().filter(|&&byte| is_tchar(byte))?;
    let tokens = tokenise::request(input, caps.head_bytes(), caps.field_lines(), lines)?;
    let (method, target, _) = tokens.line;
    let fits = method.len() <= MAX_METHOD_BYTES && target.len() <= caps.target_bytes();
    (fits && is_target(target.as_bytes())).then_some(tokens)
}

impl HeadScan {
    /// Looks at what is new in `input`: how many bytes are skipped, and the head behind them, once it is complete.
    #[cold]
    fn advance<'i>(
        &mut self,
        input: &'i [u8],
        caps: Caps,
        lines: &mut Lines,
    ) -> Result<(usize, Option<RequestTokens<'i>>), ParseError> {
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
                let head = input.get(..end).unwrap_or_default();
                *lines = tokenise::fields(head, line.end.into())?;
                Ok((skipped, Some(Tokens { head, line: request_line(head, line) })))
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

/// The parts of a request line that was found in order.
fn request_line(head: &[u8], line: RequestLine) -> (&str, &str, Version) {
    let part = |range| head.get(range).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default();
    let method = part(0..usize::from(line.target) - 1);
    let target = part(line.target.into()..usize::from(line.version) - 1);
    // RFC 9110 §2.5: "A recipient that receives a message with a major version number that it implements and a minor
    // version number higher than what it implements SHOULD process the message as if it was in the highest minor
    // version".
    let minor = head.get(usize::from(line.version) + 7);
    (method, target, if minor == Some(&b'0') { Version::Http10 } else { Version::Http11 })
}

//! The client's side: bytes in, responses out (RFC 9112 §4).

use super::body::{Body, Step};
use super::fields::{Fields, Lines};
use super::framing::Asked;
use super::grammar::is_text;
use super::head::CheckedResponse;
use super::limits::{Caps, Limits};
use super::scan::FieldScan;
use super::tokenise::{self, ResponseTokens, Tokens};
use super::{Method, ParseError, Part, ResponseHead, StatusCode, Version, trailers};
use core::str;
use memchr::memchr;

/// More interim responses than this before a final one are refused: 100 comes once, 103 a few times.
const MAX_INTERIM: u8 = 16;

/// Decodes the responses on one connection, each after [`expect`](Self::expect) was told what it answers.
///
/// | state | next |
/// |---|---|
/// | idle | nothing, until [`expect`](Self::expect) |
/// | head | [`Part::Head`]; after 1xx another head; after 101, and 2xx to CONNECT, upgraded |
/// | content | any number of [`Part::Content`], then [`Part::End`] and idle |
/// | upgraded | nothing more: all further bytes belong to the tunnel |
/// | failed | the same error for ever |
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ResponseDecoder {
    caps: Caps,
    state: State,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum State {
    Idle,
    Head { asked: Asked, interim: u8, scan: HeadScan },
    Body(Body),
    Upgraded,
    Failed(ParseError),
}

/// How far an unfinished head was looked at.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct HeadScan {
    /// How far the end of the status line was looked for.
    at: u16,
    /// Where the field lines begin, and the search for their end, once the status line is complete.
    fields: Option<(u16, FieldScan)>,
}

impl ResponseDecoder {
    /// A decoder that expects no response yet.
    pub fn new(limits: Limits) -> Self {
        Self { caps: Caps::new(limits), state: State::Idle }
    }

    /// The next response answers a request with this method, on which its framing depends (RFC 9112 §6.3). Only while
    /// [between messages](Self::is_between_messages); else nothing happens.
    pub fn expect(&mut self, method: Method<'_>) {
        if self.is_between_messages() {
            self.state = State::Head { asked: Asked::new(method), interim: 0, scan: HeadScan::default() };
        }
    }

    /// Consumes the beginning of `input`: says how many bytes, and the part that they are.
    ///
    /// Without a part, more input is needed: the next call gets the rest of this input and what follows it. Between
    /// messages and after an upgrade nothing is consumed. After an error the same error is given for ever. An interim
    /// response (1xx) is a head without an end. Ask again after each part.
    #[inline]
    pub fn decode<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Option<Part<'i, ResponseHead<'i>>>), ParseError> {
        match &mut self.state {
            State::Idle | State::Upgraded => Ok((0, None)),
            State::Head { asked, scan, .. } => {
                let (asked, mut lines) = (*asked, Lines::new());
                let tokens = match scan.is_untouched().then(|| ordinary_head(input, self.caps, &mut lines)).flatten() {
                    Some(tokens) => tokens,
                    None => match scan.advance(input, self.caps, &mut lines) {
                        Ok(Some(tokens)) => tokens,
                        Ok(None) => return Ok((0, None)),
                        Err(error) => return self.fail(error),
                    },
                };
                let fields = Fields::new(tokens.head, lines);
                match CheckedResponse::new(asked, tokens.line, &fields).and_then(|head| self.begin(asked, head)) {
                    Ok(head) => {
                        let framing = head.framing;
                        Ok((tokens.head.len(), Some(Part::Head(head.head(fields), framing))))
                    }
                    Err(error) => self.fail(error),
                }
            }
            State::Body(body) => match body.decode(input, self.caps) {
                Ok((consumed, Some(Step::Content(content)))) => Ok((consumed, Some(Part::Content(content)))),
                Ok((consumed, Some(Step::End))) => {
                    self.state = State::Idle;
                    Ok((consumed, Some(Part::End(None))))
                }
                Ok((consumed, Some(Step::Trailers(section)))) => match trailers::parse(section) {
                    Ok(trailers) => {
                        self.state = State::Idle;
                        Ok((consumed, Some(Part::End(trailers))))
                    }
                    Err(error) => self.fail(error),
                },
                Ok((consumed, None)) => Ok((consumed, None)),
                Err(error) => self.fail(error),
            },
            State::Failed(error) => Err(*error),
        }
    }

    /// The server closed its side, and all input before was decoded. Completes a response that lasts until then;
    /// between messages and in a tunnel it is nothing; anything else was cut short (RFC 9112 §8).
    pub fn decode_eof(&mut self) -> Result<Option<Part<'static, ResponseHead<'static>>>, ParseError> {
        match &self.state {
            State::Idle | State::Upgraded => Ok(None),
            State::Body(Body::UntilClose | Body::Length(0)) => {
                self.state = State::Idle;
                Ok(Some(Part::End(None)))
            }
            State::Head { .. } | State::Body(Body::Length(_) | Body::Chunked(_)) => self.fail(ParseError::Truncated),
            State::Failed(error) => Err(*error),
        }
    }

    /// Whether no response is expected: the connection can be used again. Bytes that arrive now answer nothing.
    pub const fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether a response is expected and no byte of it was seen: a request without effect may be sent again elsewhere.
    pub fn is_untouched(&self) -> bool {
        matches!(&self.state, State::Head { scan, interim: 0, .. } if scan.is_untouched())
    }

    /// Whether a head has begun and is not complete.
    pub fn is_head_started(&self) -> bool {
        matches!(&self.state, State::Head { scan, .. } if !scan.is_untouched())
    }

    /// Whether content, or the end of the message, is still to come.
    pub const fn is_in_content(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// Whether the connection is a tunnel now.
    pub const fn is_upgraded(&self) -> bool {
        matches!(self.state, State::Upgraded)
    }

    /// A head is complete: what comes next?
    #[inline]
    fn begin<'i>(&mut self, asked: Asked, head: CheckedResponse<'i>) -> Result<CheckedResponse<'i>, ParseError> {
        // RFC 9112 §6.3 rule 2, and RFC 9110 §15.2.2: the connection is no longer HTTP.
        let tunnels =
            head.status == StatusCode::SWITCHING_PROTOCOLS || (asked == Asked::Connect && head.status.is_success());
        if tunnels {
            self.state = State::Upgraded;
        } else if head.status.is_informational() {
            // RFC 9110 §15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final
            // response".
            if let State::Head { interim, scan, .. } = &mut self.state {
                if *interim == MAX_INTERIM {
                    return Err(ParseError::TooManyInterim);
                }
                *interim += 1;
                *scan = HeadScan::default();
            }
        } else {
            self.state = State::Body(Body::new(head.framing));
        }
        Ok(head)
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
fn ordinary_head<'i>(input: &'i [u8], caps: Caps, lines: &mut Lines) -> Option<ResponseTokens<'i>> {
    input.first().filter(|&&byte| byte == b'H')?;
    tokenise::response(input, caps.head_bytes(), caps.field_lines(), lines)
}

impl HeadScan {
    fn is_untouched(&self) -> bool {
        self.at == 0
    }

    /// Looks at what is new in `input`; the head, once it is complete.
    #[cold]
    fn advance<'i>(
        &mut self,
        input: &'i [u8],
        caps: Caps,
        lines: &mut Lines,
    ) -> Result<Option<ResponseTokens<'i>>, ParseError> {
        let window = input.get(..caps.head_bytes()).unwrap_or(input);
        let (start, fields) = match &mut self.fields {
            Some((start, fields)) => (usize::from(*start), fields),
            None => {
                let Some(found) = memchr(b'\n', window.get(self.at.into()..).unwrap_or_default()) else {
                    self.at = window.len() as u16;
                    let is_full = window.len() >= caps.head_bytes();
                    return if is_full { Err(ParseError::HeadTooLarge) } else { Ok(None) };
                };
                let start = usize::from(self.at) + found + 1;
                self.at = start as u16;
                status_line(window.get(..start).unwrap_or_default())?;
                (start, &mut self.fields.insert((start as u16, FieldScan::starting_at(start))).1)
            }
        };
        let end = fields.advance(input, caps.head_bytes(), caps.field_lines(), ParseError::HeadTooLarge)?;
        let Some(head) = end.and_then(|end| input.get(..end)) else { return Ok(None) };
        let line = status_line(head.get(..start).unwrap_or_default())?;
        *lines = tokenise::fields(head, start)?;
        Ok(Some(Tokens { head, line }))
    }
}

/// RFC 9112 §4: `HTTP-version SP status-code SP [ reason-phrase ]`. The second space may be missing with the phrase, as
/// in many servers.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode, &str), ParseError> {
    let line = line.strip_suffix(b"\r\n").ok_or(ParseError::LineEnd)?;
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b' ', a, b, c, reason @ ..] = line else {
        return Err(ParseError::StatusLine);
    };
    let version = match (major, minor) {
        (b'1', b'0') => Version::Http10,
        (b'1', b'1'..=b'9') => Version::Http11,
        (b'2'..=b'9', b'0'..=b'9') => return Err(ParseError::VersionNotSupported),
        _ => return Err(ParseError::StatusLine),
    };
    let code = [a, b, c]
        .into_iter()
        .try_fold(0, |code, digit| digit.is_ascii_digit().then(|| code * 10 + u16::from(digit - b'0')));
    let status = code.and_then(StatusCode::new).ok_or(ParseError::StatusLine)?;
    let reason = match reason {
        [] => &[],
        [b' ', phrase @ ..] if phrase.iter().all(|&byte| is_text(byte)) => phrase,
        _ => return Err(ParseError::StatusLine),
    };
    let reason = if reason.is_ascii() { str::from_utf8(reason).unwrap_or_default() } else { "" };
    Ok((version, status, reason))
}

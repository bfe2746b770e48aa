//! Writing heads and chunks (RFC 9112 §3 to §7) so that no value can add a line to them.

use super::StatusCode;
use super::grammar::{is_field_value, is_name, is_target, is_token};
use super::trailers::may_trail;
use crate::outbox::Outbox;
use alloc::vec::Vec;
use bytes::Bytes;
use core::error::Error;
use core::fmt;

/// What a caller must not write. The outbox is as it was before the call.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum EncodeError {
    /// A second `Content-Length` or `Transfer-Encoding`, in any combination (RFC 9112 §6.2).
    ConflictingFraming,
    /// A trailer that recipients must not trust (RFC 9110 §6.5.1).
    ForbiddenTrailer,
    /// The method is not a token.
    InvalidMethod,
    /// The name of a field is not a token.
    InvalidName,
    /// The request target is empty, or contains white space, control characters or non-ASCII.
    InvalidTarget,
    /// The value of a field contains CR, LF, NUL or another control character; or `Content-Length` is not a number, or
    /// `Transfer-Encoding` not `chunked`.
    InvalidValue,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConflictingFraming => "more than one Content-Length or Transfer-Encoding",
            Self::ForbiddenTrailer => "field not allowed in trailers",
            Self::InvalidMethod => "invalid method",
            Self::InvalidName => "invalid field name",
            Self::InvalidTarget => "invalid request target",
            Self::InvalidValue => "invalid field value",
        })
    }
}

impl Error for EncodeError {}

/// Field lines that were checked at compile time and are copied as they are.
///
/// ```
/// use brolly_core::http1::FieldLines;
/// const SECURITY: FieldLines = FieldLines::new("server: brolly\r\nx-content-type-options: nosniff\r\n");
/// ```
/// ```compile_fail
/// # use brolly_core::http1::FieldLines;
/// const BARE_LF: FieldLines = FieldLines::new("server: brolly\n");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FieldLines(&'static str);

impl FieldLines {
    /// Lines of the form `name: value\r\n`, of visible ASCII and spaces. No framing: its `Content-Length` would not be
    /// noticed.
    ///
    /// # Panics
    ///
    /// If they have another form; use it in a `const`.
    #[expect(clippy::panic, reason = "at compile time")]
    pub const fn new(lines: &'static str) -> Self {
        let mut rest = lines.as_bytes();
        while !rest.is_empty() {
            let [first, ..] = rest else { break };
            assert!(first.is_ascii_alphabetic(), "a field line begins with a name");
            while let [byte, after @ ..] = rest
                && *byte != b':'
            {
                assert!(byte.is_ascii_alphanumeric() || *byte == b'-', "a field name is letters, digits and hyphens");
                rest = after;
            }
            let [b':', b' ', after @ ..] = rest else { panic!("a field line is `name: value` CRLF") };
            rest = after;
            while let [byte, after @ ..] = rest
                && *byte != b'\r'
            {
                assert!(byte.is_ascii_graphic() || *byte == b' ', "a field value is visible ASCII and spaces");
                rest = after;
            }
            let [b'\r', b'\n', after @ ..] = rest else { panic!("a field line is `name: value` CRLF") };
            rest = after;
        }
        Self(lines)
    }
}

/// Writes one head. Nothing is kept of it until [`finish`](Self::finish): dropped before, it takes back what it wrote.
///
/// ```
/// use brolly_core::http1::{HeadWriter, StatusCode};
/// use brolly_core::outbox::Outbox;
///
/// let mut out = Outbox::new();
/// let mut head = HeadWriter::response(&mut out, StatusCode::OK);
/// head.field("content-type", b"text/plain")?.content_length(2)?;
/// head.finish();
/// out.extend(b"hi");
/// assert_eq!(out.tail(), b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nhi");
/// # Ok::<_, brolly_core::http1::EncodeError>(())
/// ```
#[derive(Debug)]
#[must_use = "a head that is not finished is taken back"]
pub struct HeadWriter<'o> {
    pub(super) tail: &'o mut Vec<u8>,
    /// Where the head begins; behind the end once it is finished.
    pub(super) start: usize,
    framing: Declared,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Declared {
    Nothing,
    Framing,
}

impl<'o> HeadWriter<'o> {
    /// Begins a response. The version is always 1.1, also to a client of 1.0 (RFC 9110 §6.2).
    #[inline]
    pub fn response(out: &'o mut Outbox, status: StatusCode) -> Self {
        let tail = out.tail();
        let start = tail.len();
        match status.line() {
            Some(line) => tail.extend_from_slice(line.as_bytes()),
            None => {
                let [a, b, c] = status.digits();
                // RFC 9112 §4: the space stands there also without a reason.
                tail.extend_from_slice(&[
                    b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', a, b, c, b' ', b'\r', b'\n',
                ]);
            }
        }
        Self { tail, start, framing: Declared::Nothing }
    }

    /// Begins a request. `Host` is up to the caller.
    pub fn request(out: &'o mut Outbox, method: &str, target: &str) -> Result<Self, EncodeError> {
        if !is_token(method.as_bytes()) {
            return Err(EncodeError::InvalidMethod);
        }
        if !is_target(target.as_bytes()) {
            return Err(EncodeError::InvalidTarget);
        }
        let tail = out.tail();
        let start = tail.len();
        tail.reserve(method.len() + target.len() + 12);
        tail.extend_from_slice(method.as_bytes());
        tail.push(b' ');
        tail.extend_from_slice(target.as_bytes());
        tail.extend_from_slice(b" HTTP/1.1\r\n");
        Ok(Self { tail, start, framing: Declared::Nothing })
    }

    /// Writes a field line. White space around the value does not survive the way.
    #[inline]
    pub fn field(&mut self, name: &str, value: &[u8]) -> Result<&mut Self, EncodeError> {
        if is_name(name.as_bytes(), b"content-length") {
            let is_number = !value.is_empty() && value.len() < 20 && value.iter().all(u8::is_ascii_digit);
            self.declare(is_number)?;
        } else if is_name(name.as_bytes(), b"transfer-encoding") {
            self.declare(value.eq_ignore_ascii_case(b"chunked"))?;
        }
        write_field(self.tail, name, value)?;
        Ok(self)
    }

    /// Writes lines that are known to be right.
    #[inline]
    pub fn lines(&mut self, lines: FieldLines) -> &mut Self {
        self.tail.extend_from_slice(lines.0.as_bytes());
        self
    }

    /// Writes `Content-Length`: so many bytes of content follow the head (or would, in a response to HEAD).
    #[inline]
    pub fn content_length(&mut self, bytes: u64) -> Result<&mut Self, EncodeError> {
        self.declare(true)?;
        let mut digits = [0; 20];
        self.tail.extend_from_slice(b"content-length: ");
        self.tail.extend_from_slice(decimal(bytes, &mut digits));
        self.tail.extend_from_slice(b"\r\n");
        Ok(self)
    }

    /// Writes `Transfer-Encoding: chunked`: [`chunk`]s and a [`last_chunk`] follow the head. Never to HTTP/1.0.
    pub fn chunked(&mut self) -> Result<&mut Self, EncodeError> {
        self.declare(true)?;
        self.tail.extend_from_slice(b"transfer-encoding: chunked\r\n");
        Ok(self)
    }

    /// Ends the head.
    #[inline]
    pub fn finish(mut self) {
        self.tail.extend_from_slice(b"\r\n");
        self.start = usize::MAX;
    }

    fn declare(&mut self, is_valid: bool) -> Result<(), EncodeError> {
        if self.framing == Declared::Framing {
            return Err(EncodeError::ConflictingFraming);
        }
        if !is_valid {
            return Err(EncodeError::InvalidValue);
        }
        self.framing = Declared::Framing;
        Ok(())
    }
}

impl Drop for HeadWriter<'_> {
    #[inline]
    fn drop(&mut self) {
        self.tail.truncate(self.start);
    }
}

/// Writes a chunk with a copy of `data` (RFC 9112 §7.1); nothing if it is empty, because that would be the last one.
pub fn chunk(out: &mut Outbox, data: &[u8]) {
    if !data.is_empty() {
        chunk_size(out, data.len());
        out.extend(data);
        out.extend(b"\r\n");
    }
}

/// As [`chunk`], sharing `data` if it is long.
pub fn chunk_shared(out: &mut Outbox, data: Bytes) {
    if !data.is_empty() {
        chunk_size(out, data.len());
        out.push(data);
        out.extend(b"\r\n");
    }
}

/// Ends a chunked message, with trailer fields if there are any (RFC 9112 §7.1.2). On an error nothing is written.
pub fn last_chunk<'t>(
    out: &mut Outbox,
    trailers: impl IntoIterator<Item = (&'t str, &'t [u8])>,
) -> Result<(), EncodeError> {
    let tail = out.tail();
    let start = tail.len();
    tail.extend_from_slice(b"0\r\n");
    let written = trailers.into_iter().try_for_each(|(name, value)| {
        if may_trail(name.as_bytes()) { write_field(tail, name, value) } else { Err(EncodeError::ForbiddenTrailer) }
    });
    match written {
        Ok(()) => tail.extend_from_slice(b"\r\n"),
        Err(_) => tail.truncate(start),
    }
    written
}

#[inline]
pub(super) fn write_field(tail: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), EncodeError> {
    if !is_token(name.as_bytes()) {
        return Err(EncodeError::InvalidName);
    }
    if !is_field_value(value) {
        return Err(EncodeError::InvalidValue);
    }
    tail.reserve(name.len() + value.len() + 4);
    tail.extend_from_slice(name.as_bytes());
    tail.extend_from_slice(b": ");
    tail.extend_from_slice(value);
    tail.extend_from_slice(b"\r\n");
    Ok(())
}

fn chunk_size(out: &mut Outbox, size: usize) {
    let tail = out.tail();
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        let nibble = (size >> (digit * 4) & 0xf) as u8;
        tail.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
    tail.extend_from_slice(b"\r\n");
}

/// The decimal digits of `value`, at the end of `digits`.
fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        start -= 1;
        if value == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn refused_fields_leave_no_trace() {
        let mut out = Outbox::new();
        out.extend(b"before");
        let mut head = HeadWriter::response(&mut out, StatusCode::new(299).unwrap());
        for (name, value, error) in [
            ("", "v", EncodeError::InvalidName),
            ("a b", "v", EncodeError::InvalidName),
            ("a:", "v", EncodeError::InvalidName),
            ("a\r\nb", "v", EncodeError::InvalidName),
            ("ä", "v", EncodeError::InvalidName),
            ("a", "v\r\nb: c", EncodeError::InvalidValue),
            ("a", "v\n", EncodeError::InvalidValue),
            ("a", "\rv", EncodeError::InvalidValue),
            ("a", "\0", EncodeError::InvalidValue),
            ("a", "\x7f", EncodeError::InvalidValue),
            ("Content-Length", "1, 1", EncodeError::InvalidValue),
            ("Content-Length", "", EncodeError::InvalidValue),
            ("Transfer-Encoding", "gzip, chunked", EncodeError::InvalidValue),
        ] {
            assert_eq!(head.field(name, value.as_bytes()).err(), Some(error), "{name}: {value}");
        }
        head.field("a", "\tä".as_bytes()).unwrap();
        head.finish();
        assert_eq!(out.tail(), "beforeHTTP/1.1 299 \r\na: \tä\r\n\r\n".as_bytes());
    }

    #[test]
    fn a_message_has_one_framing() {
        let mut out = Outbox::new();
        let mut head = HeadWriter::response(&mut out, StatusCode::OK);
        head.field("Content-Length", b"5").unwrap();
        assert_eq!(head.content_length(5).err(), Some(EncodeError::ConflictingFraming));
        assert_eq!(head.chunked().err(), Some(EncodeError::ConflictingFraming));
        assert_eq!(head.field("transfer-encoding", b"chunked").err(), Some(EncodeError::ConflictingFraming));
        head.finish();
        assert_eq!(out.tail(), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    }

    #[test]
    fn an_unfinished_head_is_taken_back() {
        let mut out = Outbox::new();
        out.extend(b"before");
        let mut head = HeadWriter::request(&mut out, "GET", "/").unwrap();
        head.field("a", b"b").unwrap();
        drop(head);
        assert_eq!(out.tail(), b"before");
        assert_eq!(HeadWriter::request(&mut out, "G T", "/").err(), Some(EncodeError::InvalidMethod));
        for target in ["", "/ ", "/\r\n", "/ä", "/#"] {
            assert_eq!(HeadWriter::request(&mut out, "GET", target).err(), Some(EncodeError::InvalidTarget));
        }
        assert_eq!(out.tail(), b"before");
    }

    #[test]
    fn chunks_carry_their_size() {
        let mut out = Outbox::new();
        chunk(&mut out, b"");
        chunk(&mut out, &[b'x'; 0x1a]);
        chunk_shared(&mut out, Bytes::new());
        chunk_shared(&mut out, Bytes::from_static(b"y"));
        last_chunk(&mut out, [("x-sum", &b"1"[..])]).unwrap();
        assert_eq!(last_chunk(&mut out, [("a", &b"1"[..]), ("Host", b"a")]), Err(EncodeError::ForbiddenTrailer));
        assert_eq!(last_chunk(&mut out, [("a", &b"1\n"[..])]), Err(EncodeError::InvalidValue));
        let expected = alloc::format!("1a\r\n{}\r\n1\r\ny\r\n0\r\nx-sum: 1\r\n\r\n", "x".repeat(0x1a));
        assert_eq!(out.tail(), expected.as_bytes());
    }

    #[test]
    fn lengths_are_decimal() {
        for value in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(decimal(value, &mut [0; 20]), value.to_string().as_bytes());
        }
    }

    #[test]
    fn checked_lines_are_copied() {
        const LINES: FieldLines = FieldLines::new("server: brolly\r\nx-a: b c\r\n");
        let mut out = Outbox::new();
        let mut head = HeadWriter::response(&mut out, StatusCode::NO_CONTENT);
        head.lines(LINES);
        head.finish();
        assert_eq!(out.tail(), b"HTTP/1.1 204 No Content\r\nserver: brolly\r\nx-a: b c\r\n\r\n");
    }
}

//! The only file that knows `httparse`: finds the tokens of a head, as strictly as that crate can.
//!
//! `httparse` accepts bare LF, leading empty lines and bytes that we refuse; everything it returns is checked here or in
//! [`head`](super::head).

use super::fields::{Line, Lines};
use super::limits::MAX_FIELD_LINES;
use super::{ParseError, StatusCode, Version};
use core::mem::MaybeUninit;
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};

/// The tokens of a request head.
#[derive(Debug)]
pub(super) struct RequestTokens<'a> {
    /// Everything up to and with the empty line.
    pub(super) head: &'a [u8],
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version: Version,
    pub(super) lines: Lines,
}

/// The tokens of a response head.
#[derive(Debug)]
pub(super) struct ResponseTokens<'a> {
    /// Everything up to and with the empty line.
    pub(super) head: &'a [u8],
    pub(super) version: Version,
    pub(super) status: StatusCode,
    pub(super) reason: &'a str,
    pub(super) lines: Lines,
}

/// A complete and ordinary request head at the beginning of `input`. `None` if it is incomplete or in any way unusual:
/// the caller then looks closer.
#[inline]
pub(super) fn request(input: &[u8], max_bytes: usize, max_lines: usize) -> Option<RequestTokens<'_>> {
    let mut storage = [const { MaybeUninit::uninit() }; MAX_FIELD_LINES];
    let mut request = Request::new(&mut []);
    let Ok(Status::Complete(length)) = request.parse_with_uninit_headers(input, storage.get_mut(..max_lines)?) else {
        return None;
    };
    let head = input.get(..length).filter(|_| length <= max_bytes)?;
    Some(RequestTokens {
        head,
        method: request.method?,
        target: request.path?,
        version: version(request.version?),
        lines: lines(head, request.headers)?,
    })
}

/// As [`request`], for a response.
#[inline]
pub(super) fn response(input: &[u8], max_bytes: usize, max_lines: usize) -> Option<ResponseTokens<'_>> {
    let mut storage = [const { MaybeUninit::uninit() }; MAX_FIELD_LINES];
    let mut response = Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        storage.get_mut(..max_lines)?,
    );
    let Ok(Status::Complete(length)) = parsed else { return None };
    let head = input.get(..length).filter(|_| length <= max_bytes)?;
    Some(ResponseTokens {
        head,
        version: version(response.version?),
        status: StatusCode::new(response.code?)?,
        reason: response.reason?,
        lines: lines(head, response.headers)?,
    })
}

/// The field lines from `start` to the empty line that ends `section`; their positions count from the beginning of
/// `section`. The slower way, for sections whose end was looked for before.
#[cold]
pub(super) fn fields(section: &[u8], start: usize) -> Result<Lines, ParseError> {
    let mut storage = [EMPTY_HEADER; MAX_FIELD_LINES];
    let block = section.get(start..).unwrap_or_default();
    match httparse::parse_headers(block, &mut storage) {
        Ok(Status::Complete((_, headers))) => lines(section, headers).ok_or(ParseError::FieldSyntax),
        Err(httparse::Error::TooManyHeaders) => Err(ParseError::TooManyFields),
        Ok(Status::Partial) | Err(_) => Err(ParseError::FieldSyntax),
    }
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// Turns slices of `head` into positions; `None` if a line before, between or after them does not end in CRLF.
#[inline]
fn lines(head: &[u8], headers: &[Header<'_>]) -> Option<Lines> {
    let base = head.as_ptr().addr();
    let mut lines = Lines::new();
    for header in headers {
        let name = header.name.as_ptr().addr() - base;
        let value = header.value.as_ptr().addr() - base;
        // The first line of a trailer section has no line before it.
        if name != 0 && head.get(name.checked_sub(2)?..name) != Some(b"\r\n") {
            return None;
        }
        lines.push(line(name, header.name.len(), value, header.value.len()));
    }
    head.ends_with(if head.len() == 2 { b"\r\n" } else { b"\r\n\r\n" }).then_some(lines)
}

/// Heads are shorter than 64 KiB, see [`Limits::head_bytes`](super::Limits).
fn line(name: usize, name_length: usize, value: usize, value_length: usize) -> Line {
    [name as u16, (name + name_length) as u16, value as u16, (value + value_length) as u16]
}

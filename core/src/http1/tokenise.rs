//! The only file that knows `httparse`: finds the tokens of a head, as strictly as that crate can.
//!
//! `httparse` accepts bare LF, leading empty lines and bytes that we refuse; everything it returns is checked here or
//! in [`head`](super::head).

use super::fields::Lines;
use super::limits::MAX_FIELD_LINES;
use super::{ParseError, StatusCode, Version};
use core::mem::MaybeUninit;
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};

/// A head with its empty line, and the tokens of its first line.
#[derive(Debug)]
pub(super) struct Tokens<'a, L> {
    pub(super) head: &'a [u8],
    pub(super) line: L,
}

/// Method, target, version.
pub(super) type RequestTokens<'a> = Tokens<'a, (&'a str, &'a str, Version)>;
/// Version, status, reason.
pub(super) type ResponseTokens<'a> = Tokens<'a, (Version, StatusCode, &'a str)>;

/// A complete and ordinary request head at the beginning of `input`; its field lines go into `lines`. `None` if it is
/// incomplete or in any way unusual: the caller then looks closer.
#[inline]
pub(super) fn request<'i>(
    input: &'i [u8],
    max_bytes: usize,
    max_lines: usize,
    lines: &mut Lines,
) -> Option<RequestTokens<'i>> {
    let mut storage = [const { MaybeUninit::uninit() }; MAX_FIELD_LINES];
    let mut request = Request::new(&mut []);
    let Ok(Status::Complete(length)) = request.parse_with_uninit_headers(input, storage.get_mut(..max_lines)?) else {
        return None;
    };
    let head = input.get(..length).filter(|_| length <= max_bytes)?;
    locate(head, request.headers, lines)?;
    Some(Tokens { head, line: (request.method?, request.path?, version(request.version?)) })
}

/// As [`request`], for a response.
#[inline]
pub(super) fn response<'i>(
    input: &'i [u8],
    max_bytes: usize,
    max_lines: usize,
    lines: &mut Lines,
) -> Option<ResponseTokens<'i>> {
    let mut storage = [const { MaybeUninit::uninit() }; MAX_FIELD_LINES];
    let mut response = Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        storage.get_mut(..max_lines)?,
    );
    let Ok(Status::Complete(length)) = parsed else { return None };
    let head = input.get(..length).filter(|_| length <= max_bytes)?;
    locate(head, response.headers, lines)?;
    Some(Tokens { head, line: (version(response.version?), StatusCode::new(response.code?)?, response.reason?) })
}

/// The field lines from `start` to the empty line that ends `section`; their positions count from the beginning of
/// `section`. The slower way, for sections whose end was looked for before.
#[cold]
pub(super) fn fields(section: &[u8], start: usize) -> Result<Lines, ParseError> {
    let mut storage = [EMPTY_HEADER; MAX_FIELD_LINES];
    let mut lines = Lines::new();
    let block = section.get(start..).unwrap_or_default();
    match httparse::parse_headers(block, &mut storage) {
        Ok(Status::Complete((_, headers))) => {
            locate(section, headers, &mut lines).map(|()| lines).ok_or(ParseError::FieldSyntax)
        }
        Err(httparse::Error::TooManyHeaders) => Err(ParseError::TooManyFields),
        Ok(Status::Partial) | Err(_) => Err(ParseError::FieldSyntax),
    }
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// Turns slices of `head` into positions; `None` if a line before, between or after them does not end in CRLF.
#[inline]
fn locate(head: &[u8], headers: &[Header<'_>], lines: &mut Lines) -> Option<()> {
    let base = head.as_ptr().addr();
    lines.reserve(headers.len());
    for header in headers {
        let name = header.name.as_ptr().addr() - base;
        let value = header.value.as_ptr().addr() - base;
        // The first line of a trailer section has no line before it.
        if name != 0 && !matches!(head.get(name.checked_sub(2)?..name), Some([b'\r', b'\n'])) {
            return None;
        }
        // Heads are shorter than 64 KiB, see `Limits::head_bytes`.
        let [name_end, value_end] = [name + header.name.len(), value + header.value.len()];
        lines.push([name as u16, name_end as u16, value as u16, value_end as u16]);
    }
    (head.last_chunk() == Some(b"\r\n\r\n") || head == b"\r\n").then_some(())
}

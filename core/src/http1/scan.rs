//! Looks for the end of an unfinished head without looking at a byte twice, however slowly it drips in.
//!
//! Every verdict here depends on the bytes up to it only, never on where reads cut them.

use super::ParseError;
use super::grammar::{is_target_byte, is_tchar};
use super::limits::Caps;
use memchr::memchr;

/// No registered method is longer than 17 bytes (`UPDATEREDIRECTREF`).
pub(super) const MAX_METHOD_BYTES: usize = 32;

/// Finds the empty line after field lines. Positions count from the beginning of the section.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct FieldScan {
    /// Where the search goes on.
    at: u16,
    /// Where the line begins that is being searched.
    line: u16,
    /// How many lines are complete.
    lines: u8,
}

impl FieldScan {
    pub(super) fn starting_at(at: usize) -> Self {
        Self { at: at as u16, line: at as u16, lines: 0 }
    }

    /// Where the section ends, if it does within `input`; `too_large` if it cannot within `max_bytes`.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        max_bytes: usize,
        max_lines: usize,
        too_large: ParseError,
    ) -> Result<Option<usize>, ParseError> {
        let window = input.get(..max_bytes).unwrap_or(input);
        while let Some(found) = memchr(b'\n', window.get(self.at.into()..).unwrap_or_default()) {
            let end = usize::from(self.at) + found + 1;
            let line = window.get(self.line.into()..end).unwrap_or_default();
            if !line.ends_with(b"\r\n") {
                return Err(ParseError::LineEnd);
            }
            if line.len() == 2 {
                return Ok(Some(end));
            }
            if usize::from(self.lines) == max_lines {
                return Err(ParseError::TooManyFields);
            }
            *self = Self { at: end as u16, line: end as u16, lines: self.lines + 1 };
        }
        self.at = window.len() as u16;
        if window.len() >= max_bytes { Err(too_large) } else { Ok(None) }
    }
}

/// Finds the end of a request line, and refuses it at the first byte that cannot be part of one.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct RequestLineScan {
    place: Place,
    at: u16,
    /// Where the target begins; valid after [`Place::Method`].
    target: u16,
    /// Where the version begins; valid after [`Place::Target`].
    version: u16,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum Place {
    #[default]
    Method,
    Target,
    Version,
}

/// Where the parts of a request line are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct RequestLine {
    pub(super) target: u16,
    pub(super) version: u16,
    pub(super) end: u16,
}

impl RequestLineScan {
    /// Whether a byte was looked at.
    pub(super) const fn has_begun(&self) -> bool {
        self.at > 0
    }

    /// The request line at the beginning of `input`, once it is complete.
    pub(super) fn advance(&mut self, input: &[u8], caps: Caps) -> Result<Option<RequestLine>, ParseError> {
        let window = input.get(..caps.head_bytes()).unwrap_or(input);
        for &byte in window.get(self.at.into()..).unwrap_or_default() {
            let at = usize::from(self.at);
            self.at += 1;
            match self.place {
                Place::Method if byte == b' ' && at > 0 => {
                    self.place = Place::Target;
                    self.target = self.at;
                }
                Place::Method if !is_tchar(byte) => return Err(ParseError::RequestLine),
                Place::Method if at >= MAX_METHOD_BYTES => return Err(ParseError::MethodTooLong),
                Place::Method => {}
                Place::Target if byte == b' ' && at > self.target.into() => {
                    self.place = Place::Version;
                    self.version = self.at;
                }
                Place::Target if !is_target_byte(byte) => return Err(ParseError::RequestLine),
                Place::Target if at - usize::from(self.target) >= caps.target_bytes() => {
                    return Err(ParseError::TargetTooLong);
                }
                Place::Target => {}
                Place::Version => {
                    let start = self.version;
                    if let Some(result) = version_byte(at - usize::from(start), byte, window.get(start.into()..)) {
                        return result
                            .map(|()| Some(RequestLine { target: self.target, version: start, end: self.at }));
                    }
                }
            }
        }
        if window.len() >= caps.head_bytes() { Err(ParseError::HeadTooLarge) } else { Ok(None) }
    }
}

/// Checks the byte at `offset` of `HTTP/1.1` CRLF; a verdict once the line is complete or wrong.
fn version_byte(offset: usize, byte: u8, version: Option<&[u8]>) -> Option<Result<(), ParseError>> {
    let fits = match offset {
        5 | 7 => byte.is_ascii_digit(),
        _ => b"HTTP/x.x\r\n".get(offset) == Some(&byte),
    };
    match (fits, offset) {
        (false, 8) if byte == b'\n' => Some(Err(ParseError::LineEnd)),
        (false, _) => Some(Err(ParseError::RequestLine)),
        (true, 9) => Some(match version.and_then(|version| version.get(5)) {
            Some(b'1') => Ok(()),
            Some(b'2'..=b'9') => Err(ParseError::VersionNotSupported),
            _ => Err(ParseError::RequestLine),
        }),
        (true, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    #[test]
    fn no_byte_is_looked_at_twice() {
        let head = b"GET /target HTTP/1.1\r\nName: value\r\n\r\n";
        let caps = Caps::new(Limits::default());
        let (mut line_scan, mut line) = (RequestLineScan::default(), None);
        let mut at = 0;
        while line.is_none() {
            at += 1;
            line = line_scan.advance(&head[..at], caps).unwrap();
            assert_eq!(usize::from(line_scan.at), at);
        }
        assert_eq!(line, Some(RequestLine { target: 4, version: 12, end: 22 }));
        let mut fields = FieldScan::starting_at(at);
        for end in at..head.len() {
            assert_eq!(fields.advance(&head[..end], 100, 1, ParseError::HeadTooLarge), Ok(None));
            assert_eq!(usize::from(fields.at), end);
        }
        assert_eq!(fields.advance(head, 100, 1, ParseError::HeadTooLarge), Ok(Some(head.len())));
    }
}

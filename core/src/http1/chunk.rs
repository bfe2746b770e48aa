//! The chunked transfer coding (RFC 9112 §7.1), byte by byte where it is grammar and slice by slice where it is data.

use super::ParseError;
use super::body::Step;
use super::grammar::{hex, is_tchar, is_text};
use super::limits::Caps;
use super::scan::FieldScan;

/// What the lines before the chunks of a message may take beyond what is usual (bytes); see [`Chunks::excess`].
const MAX_EXCESS: u32 = 16 * 1024;
/// More digits than fit 64 bits; zeros in front count too.
const MAX_SIZE_DIGITS: u8 = 16;

/// A decoder of the coding, in the middle of a message.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Chunks {
    place: Place,
    digits: u8,
    /// Bytes of the current chunk's line.
    line: u16,
    /// Line bytes beyond 16 and twice the data of each chunk: one byte of data per chunk is legal, but an extension for
    /// each makes us work for nothing (CVE-2023-39326).
    excess: u32,
    /// What is left of the current chunk (bytes).
    size: u64,
    trailers: FieldScan,
}

// chunk          = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
// chunk-size     = 1*HEXDIG
// chunk-ext      = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
// chunk-ext-val  = token / quoted-string
// last-chunk     = 1*("0") [ chunk-ext ] CRLF
// chunked-body   = *chunk last-chunk trailer-section CRLF
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum Place {
    #[default]
    Size,
    /// After white space that only an extension may follow.
    BeforeExtension,
    /// After the semicolon.
    BeforeName,
    Name,
    /// After white space that `=` or `;` must follow.
    AfterName,
    BeforeValue,
    Value,
    Quoted,
    QuotedPair,
    AfterQuoted,
    /// After the CR of the chunk's line.
    LineFeed,
    Data,
    /// Before the CR after the data.
    DataReturn,
    /// Before the LF after the data.
    DataFeed,
    Trailers,
}

impl Chunks {
    /// Consumes a part of `input`: says how much, and what it was if it was anything.
    pub(super) fn decode<'i>(&mut self, input: &'i [u8], caps: Caps) -> Result<(usize, Option<Step<'i>>), ParseError> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            match self.place {
                Place::Data => {
                    let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest.len());
                    let data = rest.get(..length).filter(|data| !data.is_empty());
                    self.size -= length as u64;
                    if self.size == 0 {
                        self.place = Place::DataReturn;
                    }
                    return Ok((consumed + length, data.map(Step::Content)));
                }
                Place::Trailers => {
                    if rest.starts_with(b"\r\n") {
                        return Ok((consumed + 2, Some(Step::End)));
                    }
                    let (max, lines) = (caps.trailer_bytes(), caps.field_lines());
                    let end = self.trailers.advance(rest, max, lines, ParseError::TrailersTooLarge)?;
                    let section = end.and_then(|end| rest.get(..end));
                    return Ok((consumed + section.map_or(0, <[u8]>::len), section.map(Step::Trailers)));
                }
                Place::Size
                    if self.digits == 0
                        && let Some((size, line)) = ordinary_line(rest, caps) =>
                {
                    consumed += line;
                    (self.size, self.line) = (size, line as u16 - 1);
                    self.place = self.line_end()?;
                }
                Place::DataReturn if rest.starts_with(b"\r\n") => {
                    consumed += 2;
                    self.place = Place::Size;
                }
                _ => {
                    let Some(&byte) = rest.first() else { return Ok((consumed, None)) };
                    consumed += 1;
                    self.place = self.after(byte, caps)?;
                }
            }
        }
    }

    /// Where a byte of a chunk's line, or of the CRLF after its data, leads.
    fn after(&mut self, byte: u8, caps: Caps) -> Result<Place, ParseError> {
        let next = match (self.place, byte) {
            (Place::Size, _) if let Some(digit) = hex(byte) => {
                if self.digits == MAX_SIZE_DIGITS {
                    return Err(ParseError::ChunkSyntax);
                }
                self.digits += 1;
                self.size = self.size << 4 | u64::from(digit);
                Place::Size
            }
            (Place::Size, _) if self.digits == 0 => return Err(ParseError::ChunkSyntax),
            (Place::Size | Place::Name | Place::Value | Place::AfterQuoted, b'\r') => Place::LineFeed,
            (
                Place::Size
                | Place::BeforeExtension
                | Place::Name
                | Place::AfterName
                | Place::Value
                | Place::AfterQuoted,
                b';',
            ) => Place::BeforeName,
            (Place::Size | Place::BeforeExtension | Place::Value | Place::AfterQuoted, b' ' | b'\t') => {
                Place::BeforeExtension
            }
            (Place::BeforeName | Place::BeforeValue, b' ' | b'\t') => self.place,
            (Place::BeforeName | Place::Name, _) if is_tchar(byte) => Place::Name,
            (Place::Name | Place::AfterName, b' ' | b'\t') => Place::AfterName,
            (Place::Name | Place::AfterName, b'=') => Place::BeforeValue,
            (Place::BeforeValue, b'"') => Place::Quoted,
            (Place::BeforeValue | Place::Value, _) if is_tchar(byte) => Place::Value,
            (Place::Quoted, b'"') => Place::AfterQuoted,
            (Place::Quoted, b'\\') => Place::QuotedPair,
            (Place::Quoted | Place::QuotedPair, _) if is_text(byte) => Place::Quoted,
            (Place::LineFeed, b'\n') => return self.line_end(),
            (Place::DataReturn, b'\r') => return Ok(Place::DataFeed),
            (Place::DataFeed, b'\n') => return Ok(Place::Size),
            _ => return Err(ParseError::ChunkSyntax),
        };
        self.line += 1;
        // One more byte must fit: the LF.
        if self.line >= caps.chunk_line_bytes() { Err(ParseError::ChunkTooLong) } else { Ok(next) }
    }

    /// The chunk's line is complete.
    fn line_end(&mut self) -> Result<Place, ParseError> {
        let line = u32::from(self.line) + 1;
        let usual = u32::try_from(self.size.saturating_mul(2)).unwrap_or(u32::MAX).saturating_add(16);
        self.excess = (self.excess + line).saturating_sub(usual);
        if self.excess > MAX_EXCESS {
            return Err(ParseError::ChunkTooLong);
        }
        (self.digits, self.line) = (0, 0);
        Ok(if self.size == 0 { Place::Trailers } else { Place::Data })
    }
}

/// A whole line of nothing but digits: the size, and how long the line is. Every other line goes byte by byte.
fn ordinary_line(rest: &[u8], caps: Caps) -> Option<(u64, usize)> {
    let mut size = 0;
    for (digits, &byte) in rest.iter().take(usize::from(MAX_SIZE_DIGITS)).enumerate() {
        match hex(byte) {
            Some(digit) => size = size << 4 | u64::from(digit),
            None => {
                let ends = digits > 0 && rest.get(digits..)?.starts_with(b"\r\n");
                return (ends && digits + 2 <= caps.chunk_line_bytes().into()).then_some((size, digits + 2));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, trailers};
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    type Decoded = (Vec<u8>, Option<Vec<String>>, usize);

    /// Data, names of trailers, bytes after the end. `None` if the input is not a complete body.
    fn decode(input: &[u8]) -> Result<Option<Decoded>, ParseError> {
        let caps = Caps::new(Limits::default());
        let (mut chunks, mut data, mut rest) = (Chunks::default(), Vec::new(), input);
        loop {
            let (consumed, step) = chunks.decode(rest, caps)?;
            rest = &rest[consumed..];
            match step {
                Some(Step::Content(bytes)) => data.extend(bytes),
                Some(Step::End) => return Ok(Some((data, None, rest.len()))),
                Some(Step::Trailers(section)) => {
                    let names =
                        trailers::parse(section)?.map(|fields| fields.iter().map(|(name, _)| name.into()).collect());
                    return Ok(Some((data, names, rest.len())));
                }
                None => return Ok(None),
            }
        }
    }

    #[test]
    fn bodies_are_joined() {
        for (body, data) in [
            ("0\r\n\r\n", ""),
            ("000\r\n\r\n", ""),
            ("0000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
            ("a\r\n0123456789\r\nA;x\r\n0123456789\r\n0;y=z\r\n\r\n", "01234567890123456789"),
            ("1;a;b=c;d=\"e;\\\"\t\x7e\\\\\"\r\nx\r\n1 ; a = \"\" ;b\r\n\n\r\n0\r\n\r\n", "x\n"),
        ] {
            assert_eq!(decode(format!("{body}rest").as_bytes()), Ok(Some((data.into(), None, 4))), "{body}");
            for end in 0..body.len() {
                assert_eq!(decode(&body.as_bytes()[..end]), Ok(None), "{body} cut at {end}");
            }
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for body in [
            "\r\n",
            " 1\r\n",
            "g\r\n",
            "+1\r\n",
            "-1\r\n",
            "0x1\r\n",
            "1_0\r\n",
            "1\n",
            "1\rx",
            "1\r\r\n",
            "1 \r\n",
            "1\t\r\n",
            "1 a",
            "10000000000000000\r\n",
            "00000000000000001\r\n",
            "fffffffffffffffff\r\n",
            "1,\r\n",
            ";a\r\n",
            "1;\r\n",
            "1;;a",
            "1;a \r\n",
            "1;a=\r\n",
            "1;a=b \r\n",
            "1;=b\r\n",
            "1;a=b=c\r\n",
            "1;a=\"b\r\n",
            "1;a=\"\n",
            "1;a=\"b\"c\r\n",
            "1;a=\"\\\n",
            "1;a\n",
            "1;a\0",
            "1;a=\"\0\"",
            "1;a b",
            "1;\u{e9}",
            "1\r\naX\r\n",
            "1\r\na\n",
            "1\r\na\r\r",
            "1\r\nab\r\n",
            "1\r\na0\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\nA: b\r\n c\r\n\r\n",
            "0\r\nA\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\n\n",
            "0\r\nA: \rb\r\n\r\n",
        ] {
            assert!(decode(body.as_bytes()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn forbidden_trailers_are_dropped() {
        let body = "0\r\nContent-Length: 5\r\nX-Sum: 1\r\nHOST: a\r\nServer-Timing: x\r\nTransfer-encoding: a\r\n\r\n";
        let names = Some(["X-Sum", "Server-Timing"].map(String::from).into());
        assert_eq!(decode(body.as_bytes()), Ok(Some((Vec::new(), names, 0))));
        assert_eq!(decode(b"0\r\nHost: a\r\n\r\n"), Ok(Some((Vec::new(), None, 0))));
    }

    #[test]
    fn overhead_is_limited_per_line_and_per_message() {
        let line = |extension: usize| format!("1;{}\r\nx\r\n", "a".repeat(extension));
        // 1 ; extension CR LF
        assert_eq!(decode(line(256 - 4).as_bytes()), Ok(None));
        assert_eq!(decode(line(256 - 3).as_bytes()), Err(ParseError::ChunkTooLong));
        assert_eq!(decode(line(100).repeat(300).as_bytes()), Err(ParseError::ChunkTooLong));
        assert_eq!(decode(line(10).repeat(10_000).as_bytes()), Ok(None));
        assert_eq!(decode("1\r\nx\r\n".repeat(10_000).as_bytes()), Ok(None));
        let trailers = |lines: usize| format!("0\r\n{}", "a: b\r\n".repeat(lines));
        assert_eq!(decode(trailers(100).as_bytes()), Ok(None));
        assert_eq!(decode(trailers(101).as_bytes()), Err(ParseError::TooManyFields));
        let long = format!("0\r\na: {}", "b".repeat(4096));
        assert_eq!(decode(long.as_bytes()), Err(ParseError::TrailersTooLarge));
    }
}

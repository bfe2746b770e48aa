//! UTF-8 that arrives in pieces (RFC 6455 §8.1, RFC 3629).

use core::error::Error;
use core::fmt;
use core::str;

/// Bytes that are not UTF-8, whatever follows them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not UTF-8")
    }
}

impl Error for InvalidUtf8 {}

/// Checks text piece by piece, and fails at the first byte that cannot be part of it, not only at the end.
///
/// Remembers nothing but the bytes of a character that was begun: at most three. Once failed, it stays so.
///
/// ```
/// use brolly_core::ws::{InvalidUtf8, Utf8Validator};
///
/// let mut validator = Utf8Validator::new();
/// assert_eq!(validator.push(b"caf\xc3"), Ok(()));
/// assert_eq!(validator.push(b"\xa9"), Ok(()));
/// assert_eq!(validator.push(b"\xed"), Ok(()));
/// assert_eq!(validator.push(b"\xa0"), Err(InvalidUtf8)); // half a surrogate pair
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Utf8Validator {
    /// The bytes of an unfinished character; zero where unused.
    begun: [u8; 3],
    /// How many; or `FAILED`.
    len: u8,
}

const FAILED: u8 = u8::MAX;

impl Utf8Validator {
    /// A validator at the beginning of a text.
    pub const fn new() -> Self {
        Self { begun: [0; 3], len: 0 }
    }

    /// Checks the next piece of the text; it may end inside a character.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        self.decode(bytes).map(|_| ())
    }

    /// The text ends here: fails inside a character. Otherwise ready for the next text.
    pub fn finish(&mut self) -> Result<(), InvalidUtf8> {
        match self.len {
            0 => Ok(()),
            _ => self.fail(),
        }
    }

    /// Like [`push`](Self::push), and gives what became complete: the character begun in an earlier piece, and the
    /// text after it.
    pub(super) fn decode<'b>(&mut self, bytes: &'b [u8]) -> Result<(Option<char>, &'b str), InvalidUtf8> {
        if self.len == FAILED {
            return Err(InvalidUtf8);
        }
        let (mut rest, mut completed) = (bytes, None);
        while self.len > 0
            && let Some((byte, after)) = rest.split_first()
        {
            completed = self.complete(*byte)?;
            rest = after;
        }
        let (whole, begun) = rest.split_at_checked(rest.len() - unfinished(rest)).unwrap_or((rest, &[]));
        let Ok(text) = text(whole) else {
            return self.fail();
        };
        for byte in begun {
            self.complete(*byte)?;
        }
        Ok((completed, text))
    }

    /// Bytes of a character that was begun.
    pub(super) fn pending(&self) -> usize {
        match self.len {
            FAILED => 0,
            len => len.into(),
        }
    }

    /// Adds a byte to the character that was begun. `None` if it needs more.
    fn complete(&mut self, byte: u8) -> Result<Option<char>, InvalidUtf8> {
        let [a, b, c] = self.begun;
        let (sequence, len) = match self.len {
            0 => ([byte, 0, 0, 0], 1),
            1 => ([a, byte, 0, 0], 2),
            2 => ([a, b, byte, 0], 3),
            3 => ([a, b, c, byte], 4),
            _ => return Err(InvalidUtf8),
        };
        match str::from_utf8(sequence.get(..len).unwrap_or_default()) {
            Ok(text) => {
                *self = Self::new();
                Ok(text.chars().next())
            }
            // Not wrong yet, only short; four bytes are never short.
            Err(error) if error.error_len().is_none() => {
                let [a, b, c, _] = sequence;
                *self = Self { begun: [a, b, c], len: len as u8 };
                Ok(None)
            }
            Err(_) => self.fail(),
        }
    }

    fn fail<T>(&mut self) -> Result<T, InvalidUtf8> {
        *self = Self { begun: [0; 3], len: FAILED };
        Err(InvalidUtf8)
    }
}

/// A whole text.
pub(super) fn text(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8)
}

/// How many bytes at the end of `bytes` look like the beginning of a character that needs more: 0 to 3.
fn unfinished(bytes: &[u8]) -> usize {
    for (position, byte) in bytes.iter().rev().take(3).enumerate() {
        let len = match byte {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
            0x00..=0x7F => 1,
        };
        return if position + 1 < len { position + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn gives_the_text_back_for_every_cut() {
        let text = "κόσμε, ☂ and 𝄞";
        for cut in 0..=text.len() {
            let (mut validator, mut joined) = (Utf8Validator::new(), String::new());
            let (left, right) = text.as_bytes().split_at(cut);
            for piece in [left, right] {
                let (character, rest) = validator.decode(piece).unwrap();
                joined.extend(character);
                joined.push_str(rest);
            }
            assert_eq!(validator.finish(), Ok(()));
            assert_eq!(joined, text);
        }
    }

    #[test]
    fn stays_failed() {
        let mut validator = Utf8Validator::new();
        assert_eq!(validator.push(b"a\xff"), Err(InvalidUtf8));
        assert_eq!(validator.push(b"a"), Err(InvalidUtf8));
        assert_eq!(validator.push(b""), Err(InvalidUtf8));
        assert_eq!(validator.finish(), Err(InvalidUtf8));
    }

    #[test]
    fn an_end_inside_a_character_is_an_error() {
        let mut validator = Utf8Validator::new();
        assert_eq!(validator.push(b"\xe2\x98"), Ok(()));
        assert_eq!(validator.finish(), Err(InvalidUtf8));
    }
}

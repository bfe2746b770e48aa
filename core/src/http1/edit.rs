//! Changing a head that is being written: taking lines back, adding lines that were checked before, `Vary`.

use super::encode::{EncodeError, HeadWriter, write_field};
use super::fields::Members;
use super::grammar::{is_name, is_token};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::str;

/// Field lines that are checked when they are put together and copied as they are afterwards.
///
/// ```
/// use brolly_core::http1::CheckedLines;
/// let mut lines = CheckedLines::default();
/// lines.push("server", b"brolly")?;
/// assert!(lines.push("server", b"a\r\nb: c").is_err());
/// # Ok::<_, brolly_core::http1::EncodeError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct CheckedLines(Vec<u8>);

impl CheckedLines {
    /// Adds a line.
    ///
    /// # Errors
    /// The name is no token, or decides framing; or the value could end the line. Nothing is added.
    pub fn push(&mut self, name: &str, value: &[u8]) -> Result<(), EncodeError> {
        if is_framing(name.as_bytes()) {
            return Err(EncodeError::ConflictingFraming);
        }
        write_field(&mut self.0, name, value)
    }

    /// Adds lines that were checked before.
    pub fn extend(&mut self, lines: &Self) {
        self.0.extend_from_slice(&lines.0);
    }

    /// The lines as text, without their ends.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let lines = self.0.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| String::from_utf8_lossy(line.trim_ascii_end()))
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl HeadWriter<'_> {
    /// Writes lines that were checked before.
    #[inline]
    pub fn checked(&mut self, lines: &CheckedLines) -> &mut Self {
        self.tail.extend_from_slice(&lines.0);
        self
    }

    /// Takes back the lines written so far whose name `keep` does not accept. Framing stays.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) -> &mut Self {
        let mut read = self.fields_start();
        let mut write = read;
        while let Some((line, name, _)) = self.line(read) {
            let name = self.tail.get(name).unwrap_or_default();
            read = line.end;
            if is_framing(name) || keep(str::from_utf8(name).unwrap_or_default()) {
                let length = line.len();
                if write != line.start {
                    self.tail.copy_within(line, write);
                }
                write += length;
            }
        }
        self.tail.truncate(write);
        self
    }

    /// Says that the answer depends on the request field `name` (RFC 9110 §12.5.5), unless `Vary` says so already.
    ///
    /// # Errors
    /// `name` is no token.
    pub fn vary(&mut self, name: &str) -> Result<&mut Self, EncodeError> {
        if !is_token(name.as_bytes()) {
            return Err(EncodeError::InvalidName);
        }
        let mut at = self.fields_start();
        let mut last = None;
        while let Some((line, known, value)) = self.line(at) {
            at = line.end;
            let (known, value_end) = (self.tail.get(known).unwrap_or_default(), value.end);
            if is_name(known, b"vary") {
                let is_member = |member: &[u8]| member == b"*" || member.eq_ignore_ascii_case(name.as_bytes());
                if Members::new(self.tail.get(value).unwrap_or_default()).any(is_member) {
                    return Ok(self);
                }
                last = Some(value_end);
            }
        }
        match last {
            // Not a line of its own: there are caches that look at one only.
            Some(end) => drop(self.tail.splice(end..end, b", ".iter().chain(name.as_bytes()).copied())),
            None => write_field(self.tail, "vary", name.as_bytes())?,
        }
        Ok(self)
    }

    /// Where the first field line begins: behind the start line.
    fn fields_start(&self) -> usize {
        let head = self.tail.get(self.start..).unwrap_or_default();
        self.start + memchr::memchr(b'\n', head).map_or(head.len(), |newline| newline + 1)
    }

    /// The line that begins at `start`: all of it, its name, its value.
    fn line(&self, start: usize) -> Option<(Range<usize>, Range<usize>, Range<usize>)> {
        let rest = self.tail.get(start..)?;
        let end = memchr::memchr(b'\n', rest)? + 1;
        let colon = memchr::memchr(b':', rest.get(..end)?)?;
        // We have written it: `name: value` CRLF.
        Some((start..start + end, start..start + colon, start + colon + 2..start + end - 2))
    }
}

fn is_framing(name: &[u8]) -> bool {
    is_name(name, b"content-length") || is_name(name, b"transfer-encoding")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::StatusCode;
    use crate::outbox::Outbox;

    /// What becomes of a head with these lines.
    fn edited(lines: &[(&str, &str)], edit: impl FnOnce(&mut HeadWriter<'_>)) -> String {
        let mut out = Outbox::new();
        out.extend(b"vary: not ours\r\n");
        let mut head = HeadWriter::response(&mut out, StatusCode::OK);
        for (name, value) in lines {
            head.field(name, value.as_bytes()).unwrap();
        }
        edit(&mut head);
        head.finish();
        let text = String::from_utf8(out.tail().clone()).unwrap();
        text.strip_prefix("vary: not ours\r\nHTTP/1.1 200 OK\r\n").unwrap().replace("\r\n", "|")
    }

    #[test]
    fn lines_are_taken_back_wherever_they_stand() {
        let lines = [("A", "1"), ("b", ""), ("Content-Length", "5"), ("a", "2"), ("c", "x: y")];
        let without = |names: &[&str]| {
            edited(&lines, |head| _ = head.retain(|name| !names.iter().any(|of| of.eq_ignore_ascii_case(name))))
        };
        assert_eq!(without(&[]), "A: 1|b: |Content-Length: 5|a: 2|c: x: y||");
        assert_eq!(without(&["a"]), "b: |Content-Length: 5|c: x: y||");
        assert_eq!(without(&["b", "c"]), "A: 1|Content-Length: 5|a: 2||");
        assert_eq!(without(&["a", "b", "c", "content-length"]), "Content-Length: 5||");
    }

    #[test]
    fn lines_are_put_in_as_they_were_checked() {
        let mut lines = CheckedLines::default();
        lines.push("X-A", b"1").unwrap();
        assert_eq!(lines.push("content-Length", b"1"), Err(EncodeError::ConflictingFraming));
        assert_eq!(lines.push("a b", b"1"), Err(EncodeError::InvalidName));
        assert_eq!(lines.push("a", b"1\r\nb: 2"), Err(EncodeError::InvalidValue));
        assert_eq!(edited(&[], |head| _ = head.checked(&lines)), "X-A: 1||");
    }

    #[test]
    fn vary_has_every_member_once() {
        for (lines, expected) in [
            (&[][..], "vary: origin||"),
            (&[("Vary", "Accept")], "Vary: Accept, origin||"),
            (&[("Vary", "Accept"), ("a", "b")], "Vary: Accept, origin|a: b||"),
            (&[("Vary", "Accept, ORIGIN")], "Vary: Accept, ORIGIN||"),
            (&[("vary", "*")], "vary: *||"),
            (&[("vary", "a"), ("vary", "b")], "vary: a|vary: b, origin||"),
            (&[("vary", "origin"), ("vary", "b")], "vary: origin|vary: b||"),
        ] {
            assert_eq!(edited(lines, |head| _ = head.vary("origin").unwrap()), expected);
        }
        assert_eq!(edited(&[], |head| assert!(head.vary("a b").is_err())), "|");
    }
}

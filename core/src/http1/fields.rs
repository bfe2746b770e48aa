//! Header and trailer fields (RFC 9110 §5, §6.5), without copying them.

use super::grammar::trim;
use core::fmt;
use core::str;
use smallvec::SmallVec;

/// Where a field line's name and value begin and end in the section: `[name, colon, value, end of value]`.
pub(super) type Line = [u16; 4];
/// As many lines as browsers send need no allocation.
pub(super) type Lines = SmallVec<[Line; 24]>;

/// The field lines of a head or a trailer section, in the order of arrival. Borrows the input.
///
/// Names are tokens; values have no white space around them and no control character but HTAB in them.
#[derive(Clone, Default)]
pub struct Fields<'a> {
    raw: &'a [u8],
    lines: Lines,
}

impl<'a> Fields<'a> {
    pub(super) fn new(raw: &'a [u8], lines: Lines) -> Self {
        Self { raw, lines }
    }

    /// What the lines were found in.
    pub(super) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Every line: name as sent (compare it without case), and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'_, 'a> {
        self.pairs().map(|(name, value)| (str::from_utf8(name).unwrap_or_default(), value))
    }

    /// The value of the first line with this name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let length = name.len();
        let line = self.lines.iter().find(|&&[start, end, ..]| {
            usize::from(end - start) == length && self.range(start, end).eq_ignore_ascii_case(name.as_bytes())
        })?;
        let &[_, _, start, end] = line;
        Some(self.range(start, end))
    }

    /// The values of all lines with this name.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + use<'s, 'a> {
        self.pairs().filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The members of a list field over all its lines (RFC 9110 §5.6.1), trimmed, without the empty ones. A comma
    /// within a quoted string separates nothing.
    pub fn list<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + use<'s, 'a> {
        self.all(name).flat_map(Members::new).filter(|member| !member.is_empty())
    }

    /// Whether the list field `name` has the member `token`, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// As [`iter`](Self::iter), without making the names strings.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'_, 'a> {
        self.lines.iter().map(|&[name, colon, value, end]| (self.range(name, colon), self.range(value, end)))
    }

    /// Keeps the lines whose name `keep` accepts.
    pub(super) fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let raw = self.raw;
        self.lines.retain(|&mut [name, colon, ..]| raw.get(name.into()..colon.into()).is_some_and(&keep));
    }

    fn range(&self, start: u16, end: u16) -> &'a [u8] {
        self.raw.get(start.into()..end.into()).unwrap_or_default()
    }
}

impl PartialEq for Fields<'_> {
    /// Same names and values in the same order; names without case.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.pairs().zip(other.pairs()).all(|(a, b)| a.0.eq_ignore_ascii_case(b.0) && a.1 == b.1)
    }
}
impl Eq for Fields<'_> {}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.iter() {
            map.entry(&name, &format_args!("\"{}\"", value.escape_ascii()));
        }
        map.finish()
    }
}

/// Splits a list at its commas.
pub(super) struct Members<'a>(&'a [u8]);

impl<'a> Members<'a> {
    pub(super) fn new(list: &'a [u8]) -> Self {
        Self(list)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let comma = self.0.iter().position(|&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = quoted,
                b'"' => quoted = !quoted,
                b',' => return !quoted,
                _ => {}
            }
            false
        });
        let (member, rest) = match comma.and_then(|comma| self.0.split_at_checked(comma)) {
            Some((member, [_, rest @ ..])) => (member, rest),
            Some((member, [])) => (member, &[][..]),
            None => (self.0, &[][..]),
        };
        self.0 = rest;
        Some(trim(member))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokenise;
    use super::*;
    use alloc::vec::Vec;

    fn fields(section: &[u8]) -> Fields<'_> {
        Fields::new(section, tokenise::fields(section, 0).unwrap())
    }

    #[test]
    fn names_are_compared_without_case_and_the_first_line_wins() {
        let fields = fields(b"Accept: a\r\nX-Empty:\r\naccept:  b \r\n\r\n");
        assert_eq!(fields.get("ACCEPT"), Some(&b"a"[..]));
        assert_eq!(fields.get("x-empty"), Some(&b""[..]));
        assert_eq!(fields.get("acceptx"), None);
        assert_eq!(fields.all("aCCEPT").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(fields.all("none").count(), 0);
        assert_eq!(fields.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["Accept", "X-Empty", "accept"]);
    }

    #[test]
    fn lists_are_joined_trimmed_and_split_outside_of_quotes() {
        let fields = fields(b"L: a ,, \"b, \\\" c\" ,\r\nOther: x\r\nl: d;q=\"\\\\\",e\r\nL: \"open, f\r\n\r\n");
        let members: Vec<_> = fields.list("l").collect();
        assert_eq!(members, [&b"a"[..], b"\"b, \\\" c\"", b"d;q=\"\\\\\"", b"e", b"\"open, f"]);
        assert!(fields.has_token("L", "A") && !fields.has_token("L", "b") && !fields.has_token("Other", "a"));
    }

    #[test]
    fn fields_are_equal_by_what_they_say() {
        assert_eq!(fields(b"A:b\r\n\r\n"), fields(b"a:   b  \r\n\r\n"));
        assert_ne!(fields(b"A:b\r\n\r\n"), fields(b"A:B\r\n\r\n"));
        assert_ne!(fields(b"A:b\r\n\r\n"), Fields::default());
    }
}

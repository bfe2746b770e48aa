//! Conditional requests (RFC 9110 §13).

use super::Validator;
use crate::http1::Fields;
use crate::text::date;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What a client knows of a file already, or insists on.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Conditions {
    /// Lists of entity tags: the values of all lines, joined by commas.
    if_match: Option<Box<[u8]>>,
    if_none_match: Option<Box<[u8]>>,
    /// Seconds since 1970. What is not a date is no condition.
    if_modified_since: Option<u64>,
    if_unmodified_since: Option<u64>,
    /// An entity tag or a date.
    if_range: Option<Box<[u8]>>,
}

/// What the conditions come to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// 412: the file is not the one that was meant.
    Failed,
    /// 304: the client's copy is still good.
    NotModified,
    /// The method is carried out.
    Passed,
}

impl Conditions {
    /// Reads the five fields.
    pub fn new(fields: &Fields<'_>) -> Self {
        // Most requests have none: one look at each name.
        if !fields.iter().any(|(name, _)| name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("if-"))) {
            return Self::default();
        }
        let list = |name| {
            let lines: Vec<_> = fields.all(name).collect();
            (!lines.is_empty()).then(|| lines.join(&b','))
        };
        // §13.1.3, §13.1.4: ignored if "the field value has more than one member".
        let only = |name| {
            let mut values = fields.all(name);
            values.next().filter(|_| values.next().is_none())
        };
        let date = |name| only(name).and_then(date::parse);
        Self {
            if_match: list("if-match").map(Into::into),
            if_none_match: list("if-none-match").map(Into::into),
            if_modified_since: date("if-modified-since"),
            if_unmodified_since: date("if-unmodified-since"),
            // Two of them match nothing: the whole file is always right.
            if_range: fields.get("if-range").map(|_| only("if-range").unwrap_or_default().into()),
        }
    }

    /// Evaluates all but `If-Range` for a GET or HEAD of a file that is there, in the order of RFC 9110 §13.2.2.
    pub fn evaluate(&self, file: &Validator<'_>) -> Outcome {
        let holds = match (&self.if_match, self.if_unmodified_since, file.modified) {
            // §13.1.1: compared strongly.
            (Some(list), ..) => is_any(list) || tags(list).any(|tag| tag.is_same(file)),
            // §13.1.4: ignored without a date to compare with.
            (None, Some(since), Some(modified)) => modified <= since,
            (None, ..) => true,
        };
        if !holds {
            return Outcome::Failed;
        }
        let is_fresh = match (&self.if_none_match, self.if_modified_since, file.modified) {
            // §13.1.2: compared weakly; then `If-Modified-Since` does not count (§13.1.3).
            (Some(list), ..) => is_any(list) || tags(list).any(|tag| tag.is_similar(file)),
            (None, Some(since), Some(modified)) => modified <= since,
            (None, ..) => false,
        };
        if is_fresh { Outcome::NotModified } else { Outcome::Passed }
    }

    /// Whether a part of this version is of use to the client: what `If-Range` names, if there is one, is exactly it
    /// (RFC 9110 §13.1.5). Dates count only as strong validators (§8.8.2.2).
    pub fn wants_part_of(&self, file: &Validator<'_>) -> bool {
        match &self.if_range {
            None => true,
            Some(value) => match Tag::parse(value) {
                Some((tag, [])) => tag.is_same(file),
                Some(_) => false,
                None => file.is_strong() && file.modified.is_some() && date::parse(value) == file.modified,
            },
        }
    }
}

/// RFC 9110 §13.1.1: any representation at all.
fn is_any(list: &[u8]) -> bool {
    list.trim_ascii() == b"*"
}

/// An entity tag of a request (RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Tag<'t> {
    is_weak: bool,
    /// Without quotes. Anything but a quote may stand there: backslashes and commas too.
    opaque: &'t [u8],
}

impl<'t> Tag<'t> {
    /// Takes a tag from the start of `text`; returns the rest.
    fn parse(text: &'t [u8]) -> Option<(Self, &'t [u8])> {
        let (is_weak, quoted) = text.strip_prefix(b"W/").map_or((false, text), |quoted| (true, quoted));
        let quoted = quoted.strip_prefix(b"\"")?;
        let end = quoted.iter().position(|&byte| byte == b'"')?;
        let (opaque, rest) = quoted.split_at_checked(end)?;
        Some((Self { is_weak, opaque }, rest.get(1..)?))
    }

    /// The weak comparison (RFC 9110 §8.8.3.2).
    fn is_similar(&self, file: &Validator<'_>) -> bool {
        Tag::parse(file.etag.as_bytes()).is_some_and(|(tag, _)| tag.opaque == self.opaque)
    }

    /// The strong comparison.
    fn is_same(&self, file: &Validator<'_>) -> bool {
        !self.is_weak && file.is_strong() && self.is_similar(file)
    }
}

/// The entity tags of a list. What is malformed, and what follows it, matches nothing.
fn tags(mut list: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    core::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', rest @ ..] = list {
            list = rest;
        }
        let (tag, rest) = Tag::parse(list)?;
        // Only the end or a comma may follow.
        let after = rest.trim_ascii_start();
        list = if after.is_empty() || after.starts_with(b",") { after } else { b"?" };
        (list != b"?").then_some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    const DATE: u64 = 784_111_777;
    const STRONG: Validator<'static> = Validator { etag: "\"a,b\"", modified: Some(DATE) };
    const WEAK: Validator<'static> = Validator { etag: "W/\"a,b\"", modified: Some(DATE) };

    fn conditions(lines: &[(&str, &str)]) -> Conditions {
        let mut section = String::new();
        for (name, value) in lines {
            section.push_str(&format!("{name}: {value}\r\n"));
        }
        section.push_str("\r\n");
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{section}");
        let mut decoder = crate::http1::RequestDecoder::new(crate::http1::Limits::default());
        match decoder.decode(request.as_bytes()).unwrap() {
            (_, Some(crate::http1::Part::Head(head, _))) => Conditions::new(&head.fields),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tags_are_compared_as_each_field_says() {
        for (value, is_match, is_none_match) in [
            ("\"a,b\"", true, true),
            ("W/\"a,b\"", false, true),
            (" \"x\" ,, W/\"y\", \"a,b\"", true, true),
            ("*", true, true),
            ("\"a\"", false, false),
            ("a,b", false, false),
            ("\"a,b", false, false),
            ("w/\"a,b\"", false, false),
            ("\"x\", *", false, false),
            ("\"x\"\"a,b\"", false, false),
            ("", false, false),
        ] {
            let outcome = |name, file| conditions(&[(name, value)]).evaluate(file);
            let expected = if is_match { Outcome::Passed } else { Outcome::Failed };
            assert_eq!(outcome("If-Match", &STRONG), expected, "{value}");
            // A weak tag is never the same, but it is there.
            let expected = if value == "*" { Outcome::Passed } else { Outcome::Failed };
            assert_eq!(outcome("If-Match", &WEAK), expected, "{value}");
            let expected = if is_none_match { Outcome::NotModified } else { Outcome::Passed };
            assert_eq!(outcome("If-None-Match", &STRONG), expected, "{value}");
            assert_eq!(outcome("If-None-Match", &WEAK), expected, "{value}");
        }
        let lines = conditions(&[("If-None-Match", "\"x\""), ("if-none-match", "\"a,b\"")]);
        assert_eq!(lines.evaluate(&STRONG), Outcome::NotModified);
    }

    /// RFC 9110 §13.2.2, written down once more: every combination of fields that hold, do not hold, are malformed or
    /// missing.
    #[test]
    fn the_fields_count_in_the_order_of_the_rfc() {
        let tags = [None, Some(("\"a,b\"", true)), Some(("\"x\"", false)), Some(("x", false))];
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        let same = "Sun, 06 Nov 1994 08:49:37 GMT";
        let dates = [None, Some((before, Some(false))), Some((same, Some(true))), Some(("yesterday", None))];
        for if_match in tags {
            for unmodified in dates {
                for none_match in tags {
                    for modified in dates {
                        let mut lines = Vec::new();
                        lines.extend(if_match.map(|(value, _)| ("If-Match", value)));
                        lines.extend(unmodified.map(|(value, _)| ("If-Unmodified-Since", value)));
                        lines.extend(none_match.map(|(value, _)| ("If-None-Match", value)));
                        lines.extend(modified.map(|(value, _)| ("If-Modified-Since", value)));
                        // Steps 1 and 2, then 3 and 4.
                        let holds = match if_match {
                            Some((_, is_match)) => is_match,
                            None => unmodified.and_then(|(_, holds)| holds).unwrap_or(true),
                        };
                        let is_fresh = match none_match {
                            Some((_, is_match)) => is_match,
                            None => modified.and_then(|(_, is_fresh)| is_fresh).unwrap_or(false),
                        };
                        let expected = match (holds, is_fresh) {
                            (false, _) => Outcome::Failed,
                            (true, true) => Outcome::NotModified,
                            (true, false) => Outcome::Passed,
                        };
                        assert_eq!(conditions(&lines).evaluate(&STRONG), expected, "{lines:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn without_a_date_only_tags_count() {
        let undated = Validator { modified: None, ..STRONG };
        for name in ["If-Unmodified-Since", "If-Modified-Since"] {
            for date in ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
                assert_eq!(conditions(&[(name, date)]).evaluate(&undated), Outcome::Passed);
            }
        }
    }

    #[test]
    fn a_part_must_be_of_the_same_version() {
        for (value, is_wanted) in [
            ("\"a,b\"", true),
            ("W/\"a,b\"", false),
            ("\"x\"", false),
            ("\"a,b\", \"x\"", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", false),
            ("Sun, 06 Nov 1994 08:49:36 GMT", false),
            ("*", false),
            ("", false),
        ] {
            let conditions = conditions(&[("If-Range", value)]);
            assert_eq!(conditions.wants_part_of(&STRONG), is_wanted, "{value}");
            assert!(!conditions.wants_part_of(&WEAK), "{value}");
        }
        assert!(conditions(&[]).wants_part_of(&WEAK));
    }
}

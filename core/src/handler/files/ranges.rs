//! Range requests (RFC 9110 §14).

use crate::http1::Fields;
use alloc::vec::Vec;
use core::ops::Range;

/// Who asks for more ranges gets the whole (RFC 9110 §14.2): no reader needs them, and each costs a part.
const MAX_RANGES: usize = 32;
/// Ranges that are closer together than this become one: what lies between is shorter than the head of a part (bytes).
const GAP: u64 = 80;

/// The ranges of a request, in its order. They are well formed; whether they are satisfiable depends on the length.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Ranges(Vec<Spec>);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Spec {
    /// The first and the last byte; `u64::MAX` is the end.
    Bytes(u64, u64),
    /// So many bytes before the end.
    Suffix(u64),
}

/// What the ranges mean for a representation.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Selected {
    /// 200: all of it.
    Whole,
    /// 416: none of it.
    Nothing,
    /// 206: these parts, none of them empty, none overlapping another, in the order in which they were asked for.
    Parts(Vec<Range<u64>>),
}

impl Ranges {
    /// Reads `Range`. What is not understood is as if it was not there (RFC 9110 §14.2).
    pub fn new(fields: &Fields<'_>) -> Option<Self> {
        let value = fields.get("range")?;
        let (unit, set) = value.split_at_checked(value.iter().position(|&byte| byte == b'=')?)?;
        // Two lines are no list: which one counts?
        if !unit.eq_ignore_ascii_case(b"bytes") || fields.all("range").nth(1).is_some() {
            return None;
        }
        Self::parse(set.get(1..)?)
    }

    /// Reads a range set (RFC 9110 §14.1.1).
    fn parse(set: &[u8]) -> Option<Self> {
        let mut specs = Vec::new();
        for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
            if specs.len() == MAX_RANGES {
                return None;
            }
            let (first, last) = spec.split_at_checked(spec.iter().position(|&byte| byte == b'-')?)?;
            specs.push(match (first, last.get(1..)?) {
                ([], length) => Spec::Suffix(number(length)?),
                (first, []) => Spec::Bytes(number(first)?, u64::MAX),
                (first, last) => Spec::Bytes(number(first)?, number(last)?),
            });
        }
        // §14.1.1: a last position before the first one makes the whole set invalid.
        let is_valid = |spec: &Spec| matches!(spec, Spec::Suffix(_)) || matches!(spec, Spec::Bytes(a, b) if a <= b);
        (!specs.is_empty() && specs.iter().all(is_valid)).then_some(Self(specs))
    }

    /// Which parts of `length` bytes they are. Overlapping and neighbouring ones become one (RFC 9110 §15.3.7.2), so that
    /// nothing is sent twice.
    pub fn select(&self, length: u64) -> Selected {
        // Nothing of an empty file can be named in `Content-Range`; clients that always ask for a range want it still.
        if length == 0 {
            return Selected::Whole;
        }
        let mut parts: Vec<Range<u64>> = Vec::new();
        for spec in &self.0 {
            let Some(mut part) = spec.resolve(length) else { continue };
            let mut at = parts.len();
            while let Some(near) = parts.iter().position(|other| is_near(other, &part)) {
                let other = parts.remove(near);
                part = part.start.min(other.start)..part.end.max(other.end);
                at = at.min(near).min(parts.len());
            }
            parts.insert(at, part);
        }
        if parts.is_empty() { Selected::Nothing } else { Selected::Parts(parts) }
    }
}

impl Spec {
    /// `None` if nothing of it is there.
    fn resolve(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Bytes(first, last) => first..last.saturating_add(1).min(length),
            Self::Suffix(bytes) => length.saturating_sub(bytes)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

fn is_near(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start.saturating_sub(b.end) < GAP && b.start.saturating_sub(a.end) < GAP
}

/// Digits. What is too large for any file is the largest number.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        digit.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    fn select(set: &str, length: u64) -> Option<Selected> {
        Ranges::parse(set.as_bytes()).map(|ranges| ranges.select(length))
    }

    fn part(range: Range<u64>) -> Option<Selected> {
        Some(Selected::Parts(vec![range]))
    }

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(select("0-499", 10_000), part(0..500));
        assert_eq!(select("500-999", 10_000), part(500..1000));
        assert_eq!(select("-500", 10_000), part(9500..10_000));
        assert_eq!(select("9500-", 10_000), part(9500..10_000));
        assert_eq!(select("0-0,-1", 10_000), Some(Selected::Parts(vec![0..1, 9999..10_000])));
        assert_eq!(select("500-700,601-999", 10_000), part(500..1000));
        assert_eq!(
            select(" 0-0 , , 500-999 , -500 ", 10_000),
            Some(Selected::Parts(vec![0..1, 500..1000, 9500..10_000]))
        );
        // The order of the request stays.
        assert_eq!(select("9000-9099,0-99", 10_000), Some(Selected::Parts(vec![9000..9100, 0..100])));
        assert_eq!(select("9000-9099,0-99,9050-9200", 10_000), Some(Selected::Parts(vec![9000..9201, 0..100])));
        assert_eq!(select("10000-", 10_000), Some(Selected::Nothing));
        assert_eq!(select("-0", 10_000), Some(Selected::Nothing));
        assert_eq!(select("99999-,5-5", 10_000), part(5..6));
        assert_eq!(select("-99999", 10_000), part(0..10_000));
        assert_eq!(select("0-", 0), Some(Selected::Whole));
    }

    #[test]
    fn numbers_beyond_all_files_are_just_large() {
        let huge = "9".repeat(100);
        assert_eq!(select(&format!("5-{huge}"), 10), part(5..10));
        assert_eq!(select(&format!("{huge}-"), 10), Some(Selected::Nothing));
        assert_eq!(select(&format!("-{huge}"), 10), part(0..10));
        assert_eq!(select("18446744073709551615-18446744073709551615", u64::MAX), Some(Selected::Nothing));
    }

    #[test]
    fn what_is_malformed_is_not_there() {
        for set in [
            "", ",", "-", "a", "1", "1-a", "5-4", "0-1,5-4", "--1", "1--2", "+1-2", "0x1-2", "1-2-3", "1 - 2",
            "0-1;5-6",
        ] {
            assert_eq!(select(set, 10), None, "{set}");
        }
        let many =
            |count: u64| (0..count).map(|at| format!("{}-{}", at * 1000, at * 1000)).collect::<Vec<_>>().join(",");
        assert!(matches!(select(&many(32), 1 << 20), Some(Selected::Parts(parts)) if parts.len() == 32));
        assert_eq!(select(&many(33), 1 << 20), None);
    }

    /// Every set of up to two ranges with small numbers, at a scale at which the gap matters, against sets of bytes.
    #[test]
    fn exactly_what_was_asked_for_and_nothing_twice() {
        const SCALE: u64 = 50;
        let numbers: Vec<_> = (0..7).map(|number| number * SCALE).collect();
        let mut specs = vec![String::new()];
        for a in &numbers {
            specs.push(format!("-{a}"));
            specs.push(format!("{a}-"));
            specs.extend(numbers.iter().map(|b| format!("{a}-{b}")));
        }
        let naive = |spec: &str, length: u64| -> Option<BTreeSet<u64>> {
            let (first, last) = spec.split_once('-')?;
            let number = |text: &str| text.parse::<u64>().unwrap();
            let all = 0..length;
            Some(match (first, last) {
                ("", last) => all.filter(|at| at + number(last) >= length).collect(),
                (first, "") => all.filter(|at| *at >= number(first)).collect(),
                (first, last) if number(first) > number(last) => return None,
                (first, last) => all.filter(|at| (number(first)..=number(last)).contains(at)).collect(),
            })
        };
        for one in &specs {
            for two in &specs {
                let set = [one.as_str(), two].join(",");
                for length in [1, SCALE, 3 * SCALE, 5 * SCALE + 1] {
                    let present: Vec<_> = [one, two].into_iter().filter(|spec| !spec.is_empty()).collect();
                    let wanted: Option<Vec<_>> = present.iter().map(|spec| naive(spec, length)).collect();
                    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
                        assert_eq!(select(&set, length), None, "{set}");
                        continue;
                    };
                    let wanted: BTreeSet<u64> = wanted.into_iter().flatten().collect();
                    let parts = match select(&set, length).unwrap() {
                        Selected::Parts(parts) => parts,
                        Selected::Nothing => Vec::new(),
                        Selected::Whole => panic!("{set}"),
                    };
                    let sent: Vec<u64> = parts.iter().cloned().flatten().collect();
                    let unique: BTreeSet<u64> = sent.iter().copied().collect();
                    assert_eq!(sent.len(), unique.len(), "{set} of {length} sends something twice");
                    assert!(wanted.is_subset(&unique), "{set} of {length}");
                    // Only gaps are filled, and only small ones.
                    assert!((unique.len() - wanted.len()) < GAP as usize, "{set} of {length}: {}", parts.len());
                    assert!(parts.iter().all(|part| wanted.contains(&part.start) && wanted.contains(&(part.end - 1))));
                }
            }
        }
    }
}

//! The `Forwarded` field (RFC 7239) and its older relatives: who says what about earlier hops.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str;

/// The address of a node (RFC 7239 §6): `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`; also `2001:db8::1`, as
/// `X-Forwarded-For` has it. `None` for `unknown`, an obfuscated name, and what cannot be read.
pub(super) fn address(node: &[u8]) -> Option<IpAddr> {
    let address = |text: &str| match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inside) => inside.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    let text = str::from_utf8(node).ok()?;
    // The port may be obfuscated like the name.
    let found = address(text).or_else(|| text.rsplit_once(':').and_then(|(name, _)| address(name)));
    found.map(|address| address.to_canonical())
}

/// What one hop says (RFC 7239 §4): `for=192.0.2.43;proto=http;host=example.org;by=203.0.113.43`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Element<'a> {
    pub(super) address: Option<IpAddr>,
    pub(super) proto: Option<Cow<'a, [u8]>>,
    pub(super) host: Option<Cow<'a, [u8]>>,
}

impl<'a> Element<'a> {
    /// Reads a member of the list. `None`: it has another form, or says something twice.
    pub(super) fn parse(mut rest: &'a [u8]) -> Option<Self> {
        let [mut node, mut proto, mut host] = [None, None, None];
        loop {
            let length = rest.iter().position(|byte| *byte == b'=')?;
            let (name, after) = rest.split_at_checked(length)?;
            let (value, after) = value(after.get(1..)?)?;
            let parameter = match name.trim_ascii() {
                name if name.eq_ignore_ascii_case(b"for") => Some(&mut node),
                name if name.eq_ignore_ascii_case(b"proto") => Some(&mut proto),
                name if name.eq_ignore_ascii_case(b"host") => Some(&mut host),
                name if name.is_empty() || !name.iter().all(|byte| is_plain(*byte)) => return None,
                _ => None,
            };
            if parameter.is_some_and(|parameter| parameter.replace(value).is_some()) {
                return None;
            }
            match after.trim_ascii_start() {
                [b';', next @ ..] => rest = next.trim_ascii_start(),
                [] => break,
                _ => return None,
            }
            if rest.is_empty() {
                break;
            }
        }
        Some(Self { address: node.and_then(|node| address(&node)), proto, host })
    }
}

/// A token or a quoted string (RFC 9110 §5.6.4), and what follows it.
fn value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let length = text.iter().position(|byte| !is_plain(*byte)).unwrap_or(text.len());
        return text.split_at_checked(length).filter(|(value, _)| !value.is_empty()).map(|(v, rest)| (v.into(), rest));
    };
    let (mut unescaped, mut is_escaped) = (Vec::new(), false);
    for (at, byte) in quoted.iter().enumerate() {
        match byte {
            b'\\' if !is_escaped => is_escaped = true,
            b'"' if !is_escaped => {
                let (inside, rest) = (quoted.get(..at)?, quoted.get(at + 1..)?);
                let inside = if inside.contains(&b'\\') { unescaped.into() } else { inside.into() };
                return Some((inside, rest));
            }
            _ => {
                is_escaped = false;
                unescaped.push(*byte);
            }
        }
    }
    None
}

/// What a value without quotes may have: a token, and what addresses are made of. They should be quoted, but who does not
/// is understood all the same.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'(' | b')' | b',' | b'/' | b';'..=b'@' | b'\\' | b'{' | b'}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn node(text: &str) -> String {
        address(text.as_bytes()).map_or("hidden".into(), |address| address.to_string())
    }

    #[test]
    fn nodes_of_rfc_7239_section_6_and_what_is_seen_in_x_forwarded_for() {
        for (text, expected) in [
            ("192.0.2.43", "192.0.2.43"),
            ("192.0.2.43:47011", "192.0.2.43"),
            ("192.0.2.43:_port", "192.0.2.43"),
            ("[2001:db8:cafe::17]", "2001:db8:cafe::17"),
            ("[2001:db8:cafe::17]:4711", "2001:db8:cafe::17"),
            ("[2001:db8:cafe::17]:_x", "2001:db8:cafe::17"),
            ("2001:db8:cafe::17", "2001:db8:cafe::17"),
            ("::ffff:192.0.2.43", "192.0.2.43"),
            ("unknown", "hidden"),
            ("unknown:80", "hidden"),
            ("_gazonk", "hidden"),
            ("192.0.2", "hidden"),
            ("192.0.2.43 ", "hidden"),
            ("[192.0.2.43]", "hidden"),
            ("", "hidden"),
            ("é", "hidden"),
        ] {
            assert_eq!(node(text), expected, "{text}");
        }
    }

    #[test]
    fn elements_of_rfc_7239_section_4() {
        let element = |text: &'static str| Element::parse(text.as_bytes());
        let read = |text: &'static str| {
            let Element { address, proto, host } = element(text)?;
            let shown = |value: Option<Cow<'_, [u8]>>| value.map(|value| String::from_utf8(value.to_vec()).unwrap());
            Some((address, shown(proto), shown(host)))
        };
        let address = |text: &str| text.parse().ok();
        for (text, expected) in [
            ("for=\"_gazonk\"", (None, None, None)),
            ("For=\"[2001:db8:cafe::17]:4711\"", (address("2001:db8:cafe::17"), None, None)),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", (address("192.0.2.60"), Some("http"), None)),
            ("for=192.0.2.60:80 ; host=a:80;", (address("192.0.2.60"), None, Some("a:80"))),
            ("proto=https;ext=\"a;b=c, \\\" d\"", (None, Some("https"), None)),
            ("host=\"\\a\"", (None, None, Some("a"))),
            ("for=\"\"", (None, None, None)),
        ] {
            let (address, proto, host): (_, Option<&str>, Option<&str>) = expected;
            assert_eq!(read(text), Some((address, proto.map(Into::into), host.map(Into::into))), "{text}");
        }
        for text in
            ["", ";", "for", "for=", "=a", "for=a b", "for=\"a", "for=\"a\\", "for=a;for=a", "f r=a", "for=a;;by=b"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

//! Request targets (RFC 9112 §3.2) and authorities (RFC 3986 §3.2).

use super::Method;
use super::grammar::{hex, is_reg_name};
use core::net::Ipv6Addr;
use core::str;

/// The four forms of a request target. Nothing is decoded.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Target<'a> {
    /// `/path?query`, the usual one (RFC 9112 §3.2.1).
    Origin {
        /// Begins with `/`.
        path: &'a str,
        /// What follows the first `?`.
        query: Option<&'a str>,
    },
    /// `http://authority/path?query`, as sent to proxies; must be accepted from anyone (RFC 9112 §3.2.2).
    Absolute {
        /// The scheme is `https`; else it is `http`.
        is_https: bool,
        /// Counts instead of `Host`.
        authority: Authority<'a>,
        /// Empty or begins with `/`; `*` with `OPTIONS` instead of empty (RFC 9112 §3.2.4).
        path: &'a str,
        /// What follows the first `?`.
        query: Option<&'a str>,
    },
    /// `host:port`, only with `CONNECT` (RFC 9112 §3.2.3).
    Authority(Authority<'a>),
    /// `*`, only with `OPTIONS`: the server as a whole (RFC 9112 §3.2.4).
    Asterisk,
}

impl<'a> Target<'a> {
    /// The form that `method` allows and `text` has. `text` is visible ASCII.
    ///
    /// Schemes other than `http` and `https` are not ours. Whether a connection is one for `https` is not asked here.
    pub(super) fn parse(method: Method<'_>, text: &'a str) -> Option<Self> {
        if let Method::Connect = method {
            // The port has no default here.
            return Authority::parse(text.as_bytes()).filter(|to| to.port.is_some()).map(Target::Authority);
        }
        if text.starts_with('/') {
            let (path, query) = split_query(text);
            return Some(Self::Origin { path, query });
        }
        if text == "*" {
            return matches!(method, Method::Options).then_some(Self::Asterisk);
        }
        let (scheme, rest) = text.split_once("://")?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let (authority, path) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
        let (path, query) = match (method, split_query(path)) {
            // RFC 9112 §3.2.4: without path and query, OPTIONS is about the server as a whole.
            (Method::Options, ("", None)) => ("*", None),
            (_, parts) => parts,
        };
        Some(Self::Absolute { is_https, authority: Authority::parse(authority.as_bytes())?, path, query })
    }

    /// The path: `/` for an absolute form without one (RFC 9110 §4.2.3), `*` for the asterisk form, empty for
    /// `CONNECT`.
    pub const fn path(&self) -> &'a str {
        match *self {
            Self::Absolute { path, .. } if path.is_empty() => "/",
            Self::Absolute { path, .. } | Self::Origin { path, .. } => path,
            Self::Asterisk => "*",
            Self::Authority(_) => "",
        }
    }

    /// What follows the `?`, if there is one.
    pub const fn query(&self) -> Option<&'a str> {
        match *self {
            Self::Absolute { query, .. } | Self::Origin { query, .. } => query,
            Self::Asterisk | Self::Authority(_) => None,
        }
    }

    /// Whether it says `https`.
    pub const fn is_https(&self) -> bool {
        matches!(self, Self::Absolute { is_https: true, .. })
    }

    /// The authority, if this form has one.
    pub const fn authority(&self) -> Option<Authority<'a>> {
        match *self {
            Self::Absolute { authority, .. } | Self::Authority(authority) => Some(authority),
            Self::Asterisk | Self::Origin { .. } => None,
        }
    }
}

/// `host` or `host:port`: the value of `Host`, or the authority of a target. No user information (RFC 9110 §4.2.4).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Authority<'a> {
    text: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None` unless it is a registered name or an IP address that is not empty (RFC 9110 §4.2.1), and a port below
    /// 65,536 or none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let host_length = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, _) = rest.split_once(']')?;
                // An address of a future version (`[v1.x]`) is in the grammar, but there is none.
                address.parse::<Ipv6Addr>().ok()?;
                address.len() + 2
            }
            None => registered_name(bytes)?,
        };
        let (host, port) = text.split_at_checked(host_length)?;
        let port = match port.as_bytes() {
            [] | [b':'] => None,
            [b':', digits @ ..] if digits.len() <= 5 => Some(port_number(digits)?),
            _ => return None,
        };
        Some(Self { text, host, port })
    }

    /// As sent.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Without the port; an IPv6 address with its brackets. Compare it without case.
    pub const fn host(&self) -> &'a str {
        self.host
    }

    /// Whether both are the same: names have no case, and the port that a scheme has needs not be said (RFC 9110 §4.2.3).
    pub(crate) fn is_same(&self, other: Self, is_https: bool) -> bool {
        let port = |of: Self| of.port.unwrap_or(if is_https { 443 } else { 80 });
        self.host.eq_ignore_ascii_case(other.host) && port(*self) == port(other)
    }

    /// The port, if it was given.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    let mark = text.bytes().position(|byte| byte == b'?');
    match mark.and_then(|mark| Some((text.get(..mark)?, text.get(mark + 1..)?))) {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

/// RFC 3986 §3.2.3, within what TCP has.
fn port_number(digits: &[u8]) -> Option<u16> {
    let number = digits
        .iter()
        .try_fold(0, |number: u32, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')));
    number.and_then(|number| u16::try_from(number).ok())
}

/// How long the RFC 3986 §3.2.2 `reg-name` or `IPv4address` before a colon or the end is; `None` if it is empty or
/// wrong.
fn registered_name(text: &[u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        let rest = text.get(length..)?;
        length += rest.iter().position(|&byte| !is_reg_name(byte)).unwrap_or(rest.len());
        match text.get(length..)? {
            [] | [b':', ..] => return Some(length).filter(|length| *length > 0),
            [b'%', high, low, ..] => {
                hex(*high).and(hex(*low))?;
                length += 3;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_method_decides_which_forms_are_allowed() {
        let forms = ["/a?b", "http://a:1/b", "a:1", "*"];
        let allowed = |method| forms.map(|form| Target::parse(method, form).is_some());
        assert_eq!(allowed(Method::Get), [true, true, false, false]);
        assert_eq!(allowed(Method::Options), [true, true, false, true]);
        assert_eq!(allowed(Method::Connect), [false, false, true, false]);
    }

    #[test]
    fn path_query_and_authority_are_told_apart() {
        for (text, path, query, authority) in [
            ("/", "/", None, None),
            ("/a/b", "/a/b", None, None),
            ("/a?", "/a", Some(""), None),
            ("/a?b?c", "/a", Some("b?c"), None),
            ("//a?b", "//a", Some("b"), None),
            ("http://a", "/", None, Some("a")),
            ("HTTP://a:8/b?c", "/b", Some("c"), Some("a:8")),
            ("Https://a:8/b?c", "/b", Some("c"), Some("a:8")),
            ("http://a?c/d", "/", Some("c/d"), Some("a")),
            ("http://[::1]:80/", "/", None, Some("[::1]:80")),
        ] {
            let target = Target::parse(Method::Get, text).unwrap();
            assert_eq!((target.path(), target.query()), (path, query), "{text}");
            assert_eq!(target.authority().map(|authority| authority.text), authority, "{text}");
        }
    }

    #[test]
    fn options_without_a_path_is_about_the_server() {
        for (text, path) in [("*", "*"), ("http://a", "*"), ("http://a/", "/"), ("http://a?b", "/")] {
            assert_eq!(Target::parse(Method::Options, text).unwrap().path(), path, "{text}");
        }
    }

    #[test]
    fn other_targets_are_refused() {
        for text in [
            "",
            "a",
            "?a",
            "*a",
            "http:/a",
            "http://",
            "http:///a",
            "http://?a",
            "https:///",
            "httpss://a/",
            "ftp://a/",
            "http://u@a/",
            "://a/",
        ] {
            assert_eq!(Target::parse(Method::Get, text), None, "{text}");
        }
        for text in ["a", "a:", "/", "http://a/", ":1", "a:1/"] {
            assert_eq!(Target::parse(Method::Connect, text), None, "{text}");
        }
    }

    #[test]
    fn authorities_follow_rfc_3986() {
        for (text, host, port) in [
            ("a", "a", None),
            ("a:", "a", None),
            ("a.b-c_d~:080", "a.b-c_d~", Some(80)),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[fe80::1:2]:1", "[fe80::1:2]", Some(1)),
            ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", None),
            ("%C3%a4!$&'()*+,;=", "%C3%a4!$&'()*+,;=", None),
        ] {
            let authority = Authority::parse(text.as_bytes()).unwrap();
            assert_eq!((authority.host(), authority.port(), authority.as_str()), (host, port, text));
        }
        for text in [
            "",
            ":",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:65536",
            "a:+80",
            "a:-1",
            "a:000080",
            "a:80:80",
            "::1",
            "[::1",
            "[]",
            "[::1]a",
            "[::1]80",
            "[v1.a]",
            "[::1%25eth0]",
            "[1.2.3.4]",
            "%",
            "%4",
            "%4g",
            "a%",
            "a\\b",
            "a?",
            "a#",
            "é",
            "a,b c",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
    }
}

//! Where requests are sent that belong elsewhere: to `https`, to the one name of a site, to another address.

use crate::http1::{Authority, StatusCode, Target};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

/// Another address, for every request of a route.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// A path or a URL.
    pub location: Box<str>,
    /// Whether the path and the query of the request are appended.
    pub keep_path: bool,
}

impl Redirect {
    /// `Location` for a request.
    pub fn location(&self, target: &Target<'_>) -> Cow<'_, str> {
        if !self.keep_path {
            return Cow::Borrowed(&self.location);
        }
        // As it stood in the request: whoever decodes it and encodes it again may make another path of it. A second slash
        // at its beginning would make a host of what follows, for browsers a backslash too (RFC 3986 §4.2, WHATWG URL).
        let path = target.path().trim_start_matches(['/', '\\']);
        let mut location = format!("{}/{path}", self.location.trim_end_matches('/'));
        append_query(&mut location, target);
        Cow::Owned(location)
    }
}

/// The one address that a site has: its scheme and whether its name begins with `www.`
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Canonical {
    /// Where plain HTTP is sent, if it is sent away.
    pub https: Option<Https>,
    /// Whether names begin with `www.`
    pub www: Option<Www>,
}

/// The port of `https`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Https {
    /// The one where we speak TLS ourselves.
    Ours,
    /// The one that clients see.
    Port(u16),
}

/// What is done about `www.` at the beginning of a name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Www {
    /// `example.org` is sent to `www.example.org`.
    Add,
    /// `www.example.org` is sent to `example.org`.
    Remove,
}

/// What a route wants about a request's address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is the right one.
    Here,
    /// It is this one.
    There(String),
    /// It should be sent to `https`, but no host can be read from it: HTTP/1.0, or a host that is no name and no address.
    Nowhere,
}

impl Canonical {
    /// Compares the address of a request: the host and the target that were asked for. `is_secure`: the client speaks TLS,
    /// to us or to a gateway that we trust. `ours`: the port where we
    /// speak TLS, if it is not 443.
    pub fn judge(
        &self,
        host: Option<Authority<'_>>,
        target: &Target<'_>,
        is_secure: bool,
        ours: Option<u16>,
    ) -> Verdict {
        let host = host.filter(|authority| is_plain(authority.host()));
        let to_https = self.https.filter(|_| !is_secure);
        let Some(host) = host else {
            return if to_https.is_some() { Verdict::Nowhere } else { Verdict::Here };
        };
        let renamed = self.www.and_then(|www| www.apply(host.host()));
        if (to_https.is_none() && renamed.is_none()) || target.path() == "*" {
            return Verdict::Here;
        }
        let (scheme, port) = match to_https {
            Some(Https::Port(443)) => ("https", None),
            Some(Https::Port(port)) => ("https", Some(port)),
            Some(Https::Ours) => ("https", ours),
            None => (if is_secure { "https" } else { "http" }, host.port()),
        };
        let name = renamed.unwrap_or(Cow::Borrowed(host.host()));
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let mut location = format!("{scheme}://{name}{port}{}", target.path());
        append_query(&mut location, target);
        Verdict::There(location)
    }
}

impl Www {
    /// The right name, if this one is not. Addresses and names without a dot are left alone.
    pub fn apply(self, name: &str) -> Option<Cow<'_, str>> {
        let bare = name.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("www.")).and_then(|_| name.get(4..));
        match (self, bare) {
            (Self::Remove, Some(bare)) if bare.contains('.') => Some(Cow::Borrowed(bare)),
            (Self::Add, None) if is_name(name) => Some(Cow::Owned(format!("www.{name}"))),
            (Self::Remove | Self::Add, _) => None,
        }
    }
}

/// Whether a host is a name of the usual characters, or an address. RFC 3986 allows more: `Location` does not repeat it.
fn is_plain(host: &str) -> bool {
    host.starts_with('[') || host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn is_name(host: &str) -> bool {
    host.trim_end_matches('.').contains('.') && !host.starts_with('[') && host.parse::<IpAddr>().is_err()
}

fn append_query(location: &mut String, target: &Target<'_>) {
    if let Some(query) = target.query() {
        location.push('?');
        location.push_str(query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Limits, Part, RequestDecoder, RequestHead};

    fn with_head<T>(text: &str, then: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let mut decoder = RequestDecoder::new(Limits::default());
        match decoder.decode(text.as_bytes()) {
            Ok((_, Some(Part::Head(head, _)))) => then(&head),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_location_keeps_the_path_as_it_was() {
        for (location, keep_path, target, expected) in [
            ("https://example.org/new", false, "/a?b", "https://example.org/new"),
            ("https://example.org", true, "/a/%2e%2E/b%2Fc?d=%20&e?", "https://example.org/a/%2e%2E/b%2Fc?d=%20&e?"),
            ("https://example.org/", true, "/", "https://example.org/"),
            ("https://example.org/new/", true, "/a/", "https://example.org/new/a/"),
            ("https://example.org", true, "http://a/x?", "https://example.org/x?"),
            // No open redirect: what follows the host stays behind it.
            ("https://example.org", true, "//evil.example/", "https://example.org/evil.example/"),
            ("https://example.org", true, "/@evil.example/", "https://example.org/@evil.example/"),
            ("/", true, "//evil.example/x", "/evil.example/x"),
            ("/", true, "/\\evil.example/x", "/evil.example/x"),
            ("/new", true, "///\\/evil.example", "/new/evil.example"),
        ] {
            let redirect = Redirect { status: StatusCode::FOUND, location: location.into(), keep_path };
            with_head(&format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"), |head| {
                assert_eq!(redirect.location(&head.target), expected, "{location} {target}");
            });
        }
    }

    #[test]
    fn a_site_has_one_address() {
        use Verdict::{Here, Nowhere, There};
        let there = |text: &str| There(text.into());
        let https = |port| Canonical { https: Some(Https::Port(port)), www: None };
        let ours = Canonical { https: Some(Https::Ours), www: None };
        let www = |www| Canonical { https: None, www: Some(www) };
        let all = Canonical { https: Some(Https::Port(443)), www: Some(Www::Remove) };
        for (canonical, is_secure, request, expected) in [
            (https(443), false, "GET /a?b HTTP/1.1\r\nhost: example.org", there("https://example.org/a?b")),
            (https(443), false, "GET /a HTTP/1.1\r\nhost: Example.org:8080", there("https://Example.org/a")),
            (https(8443), false, "GET /%2e/ HTTP/1.1\r\nhost: [::1]:80", there("https://[::1]:8443/%2e/")),
            (https(443), false, "GET //evil.example HTTP/1.1\r\nhost: a", there("https://a//evil.example")),
            (https(443), false, "GET http://b/x HTTP/1.1\r\nhost: b", there("https://b/x")),
            (ours, false, "GET /a HTTP/1.1\r\nhost: a", there("https://a:444/a")),
            (https(443), true, "GET /a HTTP/1.1\r\nhost: a", Here),
            (https(443), false, "GET /a HTTP/1.0", Nowhere),
            (https(443), true, "GET /a HTTP/1.0", Here),
            (https(443), false, "GET /a HTTP/1.1\r\nhost: a;b", Nowhere),
            (https(443), false, "OPTIONS * HTTP/1.1\r\nhost: a", Here),
            (www(Www::Remove), false, "GET /a HTTP/1.1\r\nhost: WWW.a.example:81", there("http://a.example:81/a")),
            (www(Www::Remove), true, "GET /a HTTP/1.1\r\nhost: www.a.example", there("https://a.example/a")),
            (www(Www::Remove), false, "GET /a HTTP/1.1\r\nhost: a.example", Here),
            (www(Www::Remove), false, "GET /a HTTP/1.1\r\nhost: www.localhost", Here),
            (www(Www::Remove), false, "GET /a HTTP/1.0", Here),
            (www(Www::Add), true, "GET /a HTTP/1.1\r\nhost: a.example:8443", there("https://www.a.example:8443/a")),
            (www(Www::Add), false, "GET /a HTTP/1.1\r\nhost: www.a.example", Here),
            (www(Www::Add), false, "GET /a HTTP/1.1\r\nhost: localhost", Here),
            (www(Www::Add), false, "GET /a HTTP/1.1\r\nhost: 127.0.0.1", Here),
            (www(Www::Add), false, "GET /a HTTP/1.1\r\nhost: [::1]", Here),
            // Both at once.
            (all, false, "GET /a HTTP/1.1\r\nhost: www.a.example", there("https://a.example/a")),
            (all, true, "GET /a HTTP/1.1\r\nhost: a.example", Here),
            (Canonical::default(), false, "GET /a HTTP/1.1\r\nhost: www.a.example", Here),
        ] {
            with_head(&format!("{request}\r\n\r\n"), |head| {
                assert_eq!(
                    canonical.judge(head.host(), &head.target, is_secure, Some(444)),
                    expected,
                    "{canonical:?} {request}"
                );
            });
        }
    }
}

//! Who a request is from: the peer, or whom it speaks for, if it is believed.

use super::forwarded::{self, Element};
use super::networks::Networks;
use crate::http1::{Authority, Fields};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str;

/// In which fields hops say for whom they speak. One setting for both directions: what is written is what is believed, so
/// that a proxy in front that writes one and passes the other on as the client sent it deceives nobody.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Forwarding {
    /// None: nobody is asked, and backends are told nothing.
    Off,
    /// `Forwarded` (RFC 7239).
    Standard,
    /// `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
    #[default]
    XForwarded,
    /// Both are written; the `X-Forwarded` ones are believed, because every proxy knows these.
    Both,
}

/// Who a request is from. Everything that depends on the client goes by this.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Client<'h> {
    /// The address; `None` if whom we believe does not know it or will not say, and for a peer on a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether the client used TLS: with us, or with whom we believe.
    pub is_secure: bool,
    /// The host that it asked for, if whom we believe says so. Else it is the one of the request.
    pub host: Option<Authority<'h>>,
    /// What was said about the client and the hops behind it, in the notation that is believed. What the client itself
    /// claims about others is not in it.
    pub hops: Vec<Hop<'h>>,
}

/// A hop before the peer: the client itself, or somebody believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hop<'h> {
    /// As it was said.
    pub said: &'h [u8],
    /// The address, if it is one.
    pub address: Option<IpAddr>,
}

/// A `Forwarded` field that cannot be read: where one element ends and the next begins nobody knows, so nothing in it can
/// be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed;

impl<'h> Client<'h> {
    /// A peer that speaks for itself.
    pub fn direct(peer: Option<IpAddr>, is_secure: bool) -> Self {
        Self { address: peer.map(|peer| peer.to_canonical()), is_secure, ..Self::default() }
    }

    /// For whom a believed peer speaks: the last address in its list that is not one of `trusted`; if all are, the first.
    /// `is_secure` is about the connection of the peer.
    ///
    /// # Errors
    /// There is a `Forwarded` field, it counts, and it cannot be read.
    pub fn behind(
        peer: Option<IpAddr>,
        is_secure: bool,
        fields: &Fields<'h>,
        trusted: &Networks,
        forwarding: Forwarding,
    ) -> Result<Self, Malformed> {
        let direct = Self::direct(peer, is_secure);
        match forwarding {
            Forwarding::Off => Ok(direct),
            Forwarding::Standard => direct.by_forwarded(fields, trusted),
            Forwarding::XForwarded | Forwarding::Both => Ok(direct.by_x_forwarded(fields, trusted)),
        }
    }

    fn by_forwarded(mut self, fields: &Fields<'h>, trusted: &Networks) -> Result<Self, Malformed> {
        let elements = fields.list("forwarded").map(|said| Some((said, Element::parse(said)?)));
        let elements = elements.collect::<Option<Vec<_>>>().ok_or(Malformed)?;
        let first = self.walk(elements.iter().map(|(said, element)| Hop { said, address: element.address }), trusted);
        if let Some((_, element)) = elements.into_iter().nth(first) {
            self.is_secure = element.proto.and_then(|proto| is_secure(&proto)).unwrap_or(self.is_secure);
            self.host = match element.host {
                Some(Cow::Borrowed(host)) => Authority::parse(host),
                // No host needs an escape.
                Some(Cow::Owned(_)) | None => None,
            };
        }
        Ok(self)
    }

    fn by_x_forwarded(mut self, fields: &Fields<'h>, trusted: &Networks) -> Self {
        let hops: Vec<_> = fields.all("x-forwarded-for").flat_map(members).collect();
        self.walk(hops.iter().map(|said| Hop { said, address: forwarded::address(said) }), trusted);
        // What the peer itself has added comes last.
        let last = |name| fields.all(name).flat_map(members).last();
        self.is_secure = last("x-forwarded-proto").and_then(is_secure).unwrap_or(self.is_secure);
        self.host = last("x-forwarded-host").and_then(Authority::parse);
        self
    }

    /// Goes back from the last hop as far as there are believed ones; returns which one is the client.
    fn walk(
        &mut self,
        hops: impl DoubleEndedIterator<Item = Hop<'h>> + ExactSizeIterator,
        trusted: &Networks,
    ) -> usize {
        let mut first = hops.len();
        for hop in hops.rev() {
            first -= 1;
            self.hops.push(hop);
            self.address = hop.address;
            if !hop.address.is_some_and(|address| trusted.contains(address)) {
                break;
            }
        }
        self.hops.reverse();
        first
    }
}

/// The members of a list that has no quotes, whatever stands in it.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// What a scheme says about TLS; some proxies name that of WebSockets.
fn is_secure(scheme: &[u8]) -> Option<bool> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name.as_bytes());
    if is("https") || is("wss") {
        Some(true)
    } else if is("http") || is("ws") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Limits, Part, RequestDecoder};
    use crate::rng::{Rng, Seed};
    use alloc::format;
    use alloc::string::{String, ToString};

    /// Who the client is behind 10.0.0.1 with these field lines, and the hops that are passed on.
    fn client(lines: &str, forwarding: Forwarding) -> Result<String, Malformed> {
        let mut trusted = Networks::default();
        trusted.insert("10.0.0.0/8".parse().unwrap(), ());
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines.replace('\n', "\r\n"));
        let mut decoder = RequestDecoder::new(Limits::default());
        let Ok((_, Some(Part::Head(head, _)))) = decoder.decode(head.as_bytes()) else { panic!("{head}") };
        let client = Client::behind("10.0.0.1".parse().ok(), false, &head.fields, &trusted, forwarding)?;
        let address = client.address.map_or("nobody".into(), |address| address.to_string());
        let scheme = if client.is_secure { "https" } else { "http" };
        let hops: Vec<_> = client.hops.iter().map(|hop| String::from_utf8_lossy(hop.said)).collect();
        Ok(format!("{scheme}://{address}@{} via {}", client.host.map_or("", |host| host.as_str()), hops.join("|")))
    }

    #[test]
    fn the_last_address_that_is_not_trusted_is_the_client() {
        for (lines, expected) in [
            ("", "http://10.0.0.1@ via "),
            ("X-Forwarded-For: 192.0.2.1\n", "http://192.0.2.1@ via 192.0.2.1"),
            ("X-Forwarded-For: 6.6.6.6, 192.0.2.1 ,10.1.1.1\n", "http://192.0.2.1@ via 192.0.2.1|10.1.1.1"),
            ("X-Forwarded-For: 6.6.6.6\nx-forwarded-for: 192.0.2.1\n", "http://192.0.2.1@ via 192.0.2.1"),
            ("X-Forwarded-For: 10.3.3.3, 10.2.2.2\n", "http://10.3.3.3@ via 10.3.3.3|10.2.2.2"),
            ("X-Forwarded-For: 192.0.2.1, unknown, 10.2.2.2\n", "http://nobody@ via unknown|10.2.2.2"),
            ("X-Forwarded-For: \"6.6.6.6, 192.0.2.1\n", "http://192.0.2.1@ via 192.0.2.1"),
            ("X-Forwarded-For: [2001:db8::1]:443\n", "http://2001:db8::1@ via [2001:db8::1]:443"),
            ("X-Forwarded-Proto: http, https\nX-Forwarded-Host: b, c:8\n", "https://10.0.0.1@c:8 via "),
            ("X-Forwarded-Proto: gopher\nX-Forwarded-Host: a/b\n", "http://10.0.0.1@ via "),
            ("Forwarded: for=192.0.2.1;proto=https\n", "http://10.0.0.1@ via "),
        ] {
            assert_eq!(client(lines, Forwarding::XForwarded).as_deref(), Ok(expected), "{lines}");
            assert_eq!(client(lines, Forwarding::Both).as_deref(), Ok(expected), "{lines}");
            assert_eq!(client(lines, Forwarding::Off).as_deref(), Ok("http://10.0.0.1@ via "), "{lines}");
        }
    }

    #[test]
    fn forwarded_has_for_proto_and_host_of_the_same_hop() {
        let both = "for=192.0.2.1;proto=https;host=\"b:443\"|for=10.2.2.2;proto=http";
        let expected = format!("https://192.0.2.1@b:443 via {both}");
        let lines = format!("Forwarded: for=6.6.6.6;host=evil, {}\n", both.replace('|', ", "));
        assert_eq!(client(&lines, Forwarding::Standard), Ok(expected));
        for (lines, expected) in [
            ("X-Forwarded-For: 6.6.6.6\n", "http://10.0.0.1@ via "),
            ("Forwarded: for=\"_hidden\", for=10.1.1.1\n", "http://nobody@ via for=\"_hidden\"|for=10.1.1.1"),
            ("Forwarded: for=\"[2001:db8::1]:80\"\n", "http://2001:db8::1@ via for=\"[2001:db8::1]:80\""),
        ] {
            assert_eq!(client(lines, Forwarding::Standard).as_deref(), Ok(expected), "{lines}");
        }
    }

    /// A quote that the client opens must not swallow what the peer adds behind it.
    #[test]
    fn a_field_that_cannot_be_split_is_not_believed() {
        for lines in ["Forwarded: for=\"6.6.6.6, for=192.0.2.1\n", "Forwarded: 6.6.6.6, for=192.0.2.1\n"] {
            assert_eq!(client(lines, Forwarding::Standard), Err(Malformed), "{lines}");
            assert!(client(lines, Forwarding::XForwarded).is_ok());
        }
    }

    /// Whatever the client writes, the client is who the peer says it is, or the request is refused.
    #[test]
    fn nothing_that_stands_before_the_peers_word_changes_it() {
        let mut rng = Rng::new(Seed([9; 32]), 0);
        let pieces =
            ["for=", "\"", ",", ";", "=", "\\", "10.0.0.9", "6.6.6.6", "[::1]", "unknown", " ", "proto=https", "_"];
        for _ in 0..3000 {
            let mut claimed = String::new();
            for _ in 0..rng.next_u64() % 8 {
                claimed.push_str(pieces[rng.next_u64() as usize % pieces.len()]);
            }
            let x_forwarded = client(&format!("X-Forwarded-For: {claimed}, 192.0.2.1\n"), Forwarding::XForwarded);
            assert_eq!(x_forwarded.as_deref(), Ok("http://192.0.2.1@ via 192.0.2.1"), "{claimed}");
            let standard = client(&format!("Forwarded: {claimed}, for=192.0.2.1\n"), Forwarding::Standard);
            if let Ok(standard) = standard {
                assert_eq!(standard, "http://192.0.2.1@ via for=192.0.2.1", "{claimed}");
            }
        }
    }
}

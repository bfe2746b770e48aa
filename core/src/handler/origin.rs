//! What a backend learns about where a request came from: `Forwarded` (RFC 7239), `X-Forwarded-*`, `X-Barium`, and what was
//! found out about the user.
//!
//! Backends believe these fields, so that none of them may come from a client. A server that takes them from its
//! environment cannot tell `_` from `-`: here neither can.

use crate::http1::{Authority, EncodeError, HeadWriter, RequestHead};
use crate::route::{Client, Forwarding};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use uuid::Uuid;

/// Where a request came from.
#[derive(Clone, Debug)]
pub struct Origin<'h> {
    /// Who it is from.
    pub client: Client<'h>,
    /// Who has sent it; `None` over a Unix socket.
    pub peer: Option<IpAddr>,
    /// Whether the peer used TLS.
    pub is_tls: bool,
    /// Whether the peer is believed.
    pub is_believed: bool,
    /// In which fields backends are told.
    pub forwarding: Forwarding,
    /// `X-Barium`.
    pub id: Uuid,
    /// What admission has found out.
    pub vouched: Option<Box<Vouched>>,
}

/// What was found out about the user of a request before a backend gets it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Vouched {
    /// The name, for `X-Forwarded-User`.
    pub user: Option<Box<str>>,
    /// Whether `Authorization` was for us alone.
    pub hides_authorization: bool,
    /// Fields that the client must not set, because somebody who is asked first may.
    pub reserved: Arc<[Box<str>]>,
    /// What that one has said.
    pub fields: Vec<(Box<str>, Box<[u8]>)>,
}

impl Origin<'_> {
    /// Whether a field of the client has no place in the request, because we write it or it would be believed.
    pub fn replaces(&self, name: &str) -> bool {
        if let Some(vouched) = &self.vouched
            && (vouched.reserved.iter().any(|reserved| is_same(name, reserved))
                || vouched.hides_authorization && is_same(name, "authorization")
                || vouched.user.is_some() && is_same(name, "x-forwarded-user"))
        {
            return true;
        }
        match name.as_bytes() {
            [b'h' | b'H', ..] => is_same(name, "host"),
            [b'f' | b'F', ..] => is_same(name, "forwarded"),
            [b'x' | b'X', ..] => match name.split_at_checked(X_FORWARDED.len()) {
                Some((start, end)) if is_same(start, X_FORWARDED) => {
                    !self.is_believed || ["for", "host", "port", "proto"].into_iter().any(|of| is_same(end, of))
                }
                _ => is_same(name, "x-barium") || !self.is_believed && is_same(name, "x-real-ip"),
            },
            _ => false,
        }
    }

    /// As [`replaces`](Self::replaces), for a question about the request: it names the method and the target too.
    pub fn replaces_in_question(&self, name: &str) -> bool {
        self.replaces(name) || ["x-forwarded-method", "x-forwarded-uri"].into_iter().any(|of| is_same(name, of))
    }

    /// Writes what [`replaces`](Self::replaces) leaves out.
    ///
    /// # Errors
    /// A field that cannot be written.
    pub fn write(&self, head: &RequestHead<'_>, out: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
        match self.forwarding {
            Forwarding::Off => {}
            Forwarding::Standard => self.write_standard(head, |hop, _| hop.to_vec(), out)?,
            Forwarding::XForwarded => self.write_x_forwarded(head, out)?,
            Forwarding::Both => {
                self.write_x_forwarded(head, out)?;
                self.write_standard(head, |_, address| format!("for={}", node(address)).into_bytes(), out)?;
            }
        }
        write_id(self.id, out)?;
        let Some(vouched) = &self.vouched else { return Ok(()) };
        if let Some(user) = &vouched.user {
            out.field("x-forwarded-user", user.as_bytes())?;
        }
        vouched.fields.iter().try_for_each(|(name, value)| out.field(name, value).map(|_| ()))
    }

    fn write_x_forwarded(&self, head: &RequestHead<'_>, out: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
        let mut list: Vec<u8> = Vec::new();
        let peer = self.peer.map(|peer| peer.to_canonical().to_string());
        for hop in self.client.hops.iter().map(|hop| hop.said).chain(peer.as_ref().map(String::as_bytes)) {
            append(&mut list, hop);
        }
        if !list.is_empty() {
            out.field("x-forwarded-for", &list)?;
        }
        let (scheme, default_port) = scheme(self.client.is_secure);
        out.field("x-forwarded-proto", scheme.as_bytes())?;
        if let Some(host) = self.client.host.or_else(|| asked_host(head)) {
            out.field("x-forwarded-host", host.as_str().as_bytes())?;
            out.field("x-forwarded-port", host.port().unwrap_or(default_port).to_string().as_bytes())?;
        }
        Ok(())
    }

    /// `element` makes what is said about a hop of the way it was told us and of its address.
    fn write_standard(
        &self,
        head: &RequestHead<'_>,
        element: impl Fn(&[u8], Option<IpAddr>) -> Vec<u8>,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), EncodeError> {
        let mut list = Vec::new();
        for hop in &self.client.hops {
            append(&mut list, &element(hop.said, hop.address));
        }
        let mut ours = format!("for={};proto={}", node(self.peer), scheme(self.is_tls).0);
        if let Some(host) = asked_host(head) {
            // It has neither quotes nor backslashes.
            ours.push_str(&format!(";host=\"{}\"", host.as_str()));
        }
        append(&mut list, ours.as_bytes());
        out.field("forwarded", &list)?;
        Ok(())
    }
}

/// Writes `X-Barium`: the id of a request, for whoever follows it.
///
/// # Errors
/// None, in fact.
#[inline]
pub fn write_id(id: Uuid, out: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    out.field("x-barium", id.hyphenated().encode_lower(&mut text).as_bytes()).map(|_| ())
}

const X_FORWARDED: &str = "x-forwarded-";

fn append(list: &mut Vec<u8>, member: &[u8]) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(member);
}

/// RFC 7239 §6: an IPv6 address has brackets, and quotes because of them.
fn node(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        None => "unknown".into(),
    }
}

fn scheme(is_secure: bool) -> (&'static str, u16) {
    if is_secure { ("https", 443) } else { ("http", 80) }
}

fn asked_host<'h>(head: &RequestHead<'h>) -> Option<Authority<'h>> {
    head.host().filter(|host| !host.as_str().is_empty())
}

/// Whether a field name is `lower` to somebody who takes `_` for `-`.
pub(super) fn is_same(name: &str, lower: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == lower.len() && name.bytes().zip(lower.bytes()).all(|(a, b)| plain(a) == plain(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::forward;
    use crate::http1::{Limits, Part, RequestDecoder};
    use crate::outbox::Outbox;
    use crate::route::Networks;
    use alloc::borrow::ToOwned;

    /// What a backend reads of a request with these lines, without the request line, `Host`, `Via` and `X-Barium`.
    fn forwarded(lines: &str, is_believed: bool, forwarding: Forwarding, vouched: Option<Vouched>) -> String {
        let peer: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let text = format!("GET / HTTP/1.1\nHost: a:81\n{lines}\n").replace('\n', "\r\n");
        let mut decoder = RequestDecoder::new(Limits::default());
        let Ok((_, Some(Part::Head(head, _)))) = decoder.decode(text.as_bytes()) else { panic!("{text}") };
        let client = match is_believed {
            true => Client::behind(Some(peer), false, &head.fields, &Networks::default(), forwarding).unwrap(),
            false => Client::direct(Some(peer), false),
        };
        let vouched = vouched.map(Box::new);
        let (peer, id) = (Some(peer), Uuid::nil());
        let origin = Origin { client, peer, is_tls: false, is_believed, forwarding, id, vouched };
        let mut out = Outbox::new();
        let mut writer = HeadWriter::request(&mut out, "GET", "/").unwrap();
        forward::request(&head, &origin, Some("a:81"), &mut writer).unwrap();
        writer.finish();
        let written = String::from_utf8(out.tail().clone()).unwrap();
        let ours = ["host: a:81", "via: 1.1 brolly", "x-barium: 00000000-0000-0000-0000-000000000000"];
        for line in ours {
            assert!(written.contains(&format!("{line}\r\n")), "{written}");
        }
        let is_other = |line: &&str| !line.is_empty() && !ours.contains(line);
        written.split("\r\n").skip(1).filter(is_other).collect::<Vec<_>>().join("\n")
    }

    const ALL: &str = "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https\nX-Forwarded-Host: b\nX-Forwarded-User: root\n\
                       X-Forwarded-Prefix: /p\nForwarded: for=192.0.2.9\nX-Real-IP: 192.0.2.1\nX_Forwarded_For: 6.6.6.6\n\
                       X-Barium: x\nAccept: y\n";

    #[test]
    fn what_a_client_claims_is_replaced() {
        for (forwarding, expected) in [
            (Forwarding::Off, ""),
            (Forwarding::Standard, "\nforwarded: for=10.0.0.1;proto=http;host=\"a:81\""),
            (
                Forwarding::XForwarded,
                "\nx-forwarded-for: 10.0.0.1\nx-forwarded-proto: http\nx-forwarded-host: a:81\nx-forwarded-port: 81",
            ),
        ] {
            assert_eq!(forwarded(ALL, false, forwarding, None), format!("Accept: y{expected}"));
        }
    }

    #[test]
    fn what_a_believed_peer_says_is_continued() {
        let kept = "X-Forwarded-User: root\nX-Forwarded-Prefix: /p\nX-Real-IP: 192.0.2.1\nAccept: y";
        let x_forwarded = "x-forwarded-for: 192.0.2.1, 10.0.0.1\nx-forwarded-proto: https\nx-forwarded-host: b\n\
                           x-forwarded-port: 443";
        for (forwarding, expected) in [
            (Forwarding::Standard, "forwarded: for=192.0.2.9, for=10.0.0.1;proto=http;host=\"a:81\"".to_owned()),
            (Forwarding::XForwarded, x_forwarded.to_owned()),
            (
                Forwarding::Both,
                format!("{x_forwarded}\nforwarded: for=192.0.2.1, for=10.0.0.1;proto=http;host=\"a:81\""),
            ),
        ] {
            assert_eq!(forwarded(ALL, true, forwarding, None), format!("{kept}\n{expected}"));
        }
        let ipv6 = "X-Forwarded-For: 2001:db8::1, ::ffff:10.9.9.9\nX-Forwarded-Proto: https";
        assert!(
            forwarded(&format!("{ipv6}\n"), true, Forwarding::Both, None)
                .ends_with("for=10.0.0.1;proto=http;host=\"a:81\"")
        );
    }

    #[test]
    fn what_was_found_out_comes_from_us_alone() {
        let fields = [(Box::from("X-Role"), Box::from(&b"guest"[..]))].into();
        let reserved = ["X-User".into(), "X-Role".into()].into();
        let vouched = Vouched { user: Some("ann".into()), hides_authorization: true, reserved, fields };
        let lines = "Authorization: Basic eA==\nX-User: root\nx_role: admin\nX-Forwarded-User: root\nAccept: y\n";
        for is_believed in [false, true] {
            let written = forwarded(lines, is_believed, Forwarding::Off, Some(vouched.clone()));
            assert_eq!(written, "Accept: y\nx-forwarded-user: ann\nX-Role: guest");
        }
    }

    #[test]
    fn fields_of_one_connection_stay_there() {
        let lines = "Connection: close, X-Mine, Cookie, host, content-type, x-forwarded-for, TE\nX-Mine: 1\nCookie: a=b\n\
                     Content-Type: t\nKeep-Alive: 5\nProxy-Connection: x\nProxy-Authorization: x\nTE: trailers, x\n\
                     Trailer: a\nUpgrade: foo\nExpect: 100-continue\nVia: 1.0 other\n";
        let written = forwarded(lines, false, Forwarding::Off, None);
        assert_eq!(written, "connection: te\nte: trailers\nCookie: a=b\nContent-Type: t\nVia: 1.0 other");
    }
}

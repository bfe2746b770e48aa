//! What a gateway changes in heads that it passes on (RFC 9110 §7.6).

use crate::http1::{EncodeError, Fields, Framing, HeadWriter, RequestHead, ResponseHead, Target};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// Fields that are about one connection only (RFC 9110 §7.6.1); those that `Connection` names come to them.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
];
/// Fields that we write ourselves.
const OURS: &[&str] =
    &["host", "expect", "x-barium", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via"];
/// Fields that `Connection` must not take away: the next hop would read another message (RFC 9110 §7.6.1).
const PROTECTED: &[&str] = &["host", "content-type", "authorization", "cookie", "x-barium"];

/// What the backend learns about where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The client's address.
    pub peer: Option<&'a str>,
    /// Whether the client speaks TLS.
    pub is_tls: bool,
    /// The backend's host.
    pub host: &'a str,
    /// The backend's port.
    pub port: u16,
    /// `X-Barium`.
    pub id: &'a str,
}

/// The target in origin form, with the route's prefix replaced.
pub fn target<'t>(target: &Target<'t>, prefix: &str, replacement: Option<&str>) -> Cow<'t, str> {
    let (path, query) = (target.path(), target.query());
    let path = match replacement.and_then(|new| Some((new, cut(path, prefix)?))) {
        Some((new, rest)) => {
            let slash = if rest.is_empty() || new.is_empty() { "" } else { "/" };
            let joined = [new.trim_end_matches('/'), slash, rest.trim_start_matches('/')].concat();
            Cow::Owned(if joined.starts_with('/') { joined } else { ["/", &joined].concat() })
        }
        None => Cow::Borrowed(path),
    };
    match query {
        Some(query) => Cow::Owned([&path, "?", query].concat()),
        None => path,
    }
}

/// The rest of a raw path below a decoded prefix: as many segments less.
fn cut<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let mut rest = path;
    for _ in prefix.split('/').filter(|segment| !segment.is_empty()) {
        rest = rest.trim_start_matches('/');
        rest = rest.get(rest.find('/').unwrap_or(rest.len())..)?;
    }
    Some(rest)
}

/// The fields of a request on its way to the backend.
///
/// # Errors
/// A field that cannot be written.
pub fn request(head: &RequestHead<'_>, forwarded: &Forwarded<'_>, out: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
    let host = head.host().map_or("", |authority| authority.as_str());
    out.field("host", if host.is_empty() { forwarded.host.as_bytes() } else { host.as_bytes() })?;
    if let Some(upgrade) = head.upgrade() {
        out.field("connection", b"upgrade")?.field("upgrade", upgrade.as_bytes())?;
    }
    let nominated: Vec<&[u8]> = head.fields.list("connection").collect();
    copy(&head.fields, &nominated, |name| is_one_of(name, OURS), out)?;
    if let Some(peer) = forwarded.peer {
        out.field("x-forwarded-for", peer.as_bytes())?;
    }
    out.field("x-forwarded-proto", if forwarded.is_tls { b"https" } else { b"http" })?;
    if !host.is_empty() {
        out.field("x-forwarded-host", host.as_bytes())?;
    }
    out.field("via", b"1.1 brolly")?.field("x-barium", forwarded.id.as_bytes())?;
    Ok(())
}

/// The fields of a response on its way to the client. With [`Framing::Empty`] the length is kept: it is what the content
/// would have (RFC 9110 §8.6).
///
/// # Errors
/// A field that cannot be written.
pub fn response(head: &ResponseHead<'_>, framing: Framing, out: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
    let nominated: Vec<&[u8]> = head.fields.list("connection").collect();
    copy(&head.fields, &nominated, |name| name.eq_ignore_ascii_case("x-barium"), out)?;
    if framing == Framing::Empty
        && let Some(length) = head.fields.get("content-length")
    {
        out.field("content-length", length)?;
    }
    Ok(())
}

/// The fields of a 101, `Connection` and `Upgrade` included.
///
/// # Errors
/// A field that cannot be written.
pub fn upgrade(head: &ResponseHead<'_>, out: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
    out.field("connection", b"upgrade")?;
    if let Some(protocol) = head.fields.get("upgrade") {
        out.field("upgrade", protocol)?;
    }
    response(head, Framing::Chunked, out)
}

fn copy(
    fields: &Fields<'_>,
    nominated: &[&[u8]],
    is_left_out: impl Fn(&str) -> bool,
    out: &mut HeadWriter<'_>,
) -> Result<(), EncodeError> {
    for (name, value) in fields.iter() {
        let is_nominated = nominated.iter().any(|of| of.eq_ignore_ascii_case(name.as_bytes()));
        if is_one_of(name, HOP_BY_HOP) || is_left_out(name) || is_nominated && !is_one_of(name, PROTECTED) {
            continue;
        }
        out.field(name, value)?;
    }
    Ok(())
}

fn is_one_of(name: &str, list: &[&str]) -> bool {
    list.iter().any(|of| of.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        let origin = |path| Target::Origin { path, query: None };
        for (path, prefix, new, expected) in [
            ("/api/users", "/api", None, "/api/users"),
            ("/api/users", "/api", Some("/v2/"), "/v2/users"),
            ("/api", "/api", Some("/v2/"), "/v2"),
            ("/api/", "/api", Some("/v2/"), "/v2/"),
            ("//api//users", "/api", Some("/v2"), "/v2/users"),
            ("/%61pi/a%2Fb", "/api", Some("/"), "/a%2Fb"),
            ("/api", "/api", Some("/"), "/"),
        ] {
            assert_eq!(target(&origin(path), prefix, new), expected, "{path} {new:?}");
        }
        let queried = Target::Origin { path: "/api/x", query: Some("a=b") };
        assert_eq!(target(&queried, "/api", Some("/v2")), "/v2/x?a=b");
    }
}

//! What a gateway changes in heads that it passes on (RFC 9110 §7.6).

use super::origin::{Origin, is_same};
use crate::http1::{EncodeError, FieldLines, Fields, Framing, HeadWriter, RequestHead, ResponseHead, Target, Version};
use alloc::borrow::Cow;
use alloc::string::ToString;
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
const TE_TRAILERS: FieldLines = FieldLines::new("connection: te\r\nte: trailers\r\n");
/// Fields that `Connection` must not take away: the next hop would read another message (RFC 9110 §7.6.1).
const PROTECTED: &[&str] = &["host", "content-type", "content-encoding", "authorization", "cookie"];

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

/// The fields of a request on its way to the backend. Without `host`, `Host` is written later.
///
/// # Errors
/// A field that cannot be written.
pub fn request(
    head: &RequestHead<'_>,
    origin: &Origin<'_>,
    host: Option<&str>,
    out: &mut HeadWriter<'_>,
) -> Result<(), EncodeError> {
    if let Some(host) = host {
        out.field("host", host.as_bytes())?;
    }
    match offer(head) {
        Some(upgrade) => _ = out.field("connection", b"upgrade")?.field("upgrade", upgrade.as_bytes())?,
        // RFC 9110 §10.1.4: we can pass trailers on if the client takes them.
        None if head.fields.has_token("te", "trailers") => _ = out.lines(TE_TRAILERS),
        None => {}
    }
    // RFC 9110 §7.6.2: one less for each hop; none left was answered already.
    let hops = head.max_forwards();
    if let Some(hops) = hops {
        out.field("max-forwards", hops.saturating_sub(1).to_string().as_bytes())?;
    }
    let is_rewritten = |name: &str| {
        name.eq_ignore_ascii_case("expect")
            || hops.is_some() && name.eq_ignore_ascii_case("max-forwards")
            || origin.replaces(name)
    };
    let nominated: Vec<&[u8]> = head.fields.list("connection").collect();
    copy(&head.fields, &nominated, is_rewritten, out)?;
    origin.write(head, out)?;
    // RFC 9110 §7.6.3, behind what earlier hops have written.
    out.field("via", if head.version == Version::Http10 { b"1.0 brolly" } else { b"1.1 brolly" })?;
    Ok(())
}

/// Names the request to a backend in a field that it wants; nobody else may have said it.
///
/// # Errors
/// A field that cannot be written.
pub fn name_request(name: Option<&str>, id: &str, out: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
    let Some(name) = name else { return Ok(()) };
    out.retain(|known| !is_same(known, name)).field(name, id.as_bytes()).map(|_| ())
}

/// The fields of the question whether a request may pass: its own, without those about its content, and without `Host`.
///
/// # Errors
/// A field that cannot be written.
pub fn question(head: &RequestHead<'_>, origin: &Origin<'_>, out: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
    let nominated: Vec<&[u8]> = head.fields.list("connection").collect();
    let is_about_content = |name: &str| {
        let name = name.to_ascii_lowercase();
        // RFC 9110 §8.3, §13.1, §14.2: the answer to the question is another representation.
        name.starts_with("content-") || name.starts_with("if-") || name == "range" || name == "expect"
    };
    copy(&head.fields, &nominated, |name| is_about_content(name) || origin.replaces_in_question(name), out)?;
    origin.write(head, out)?;
    out.field("x-forwarded-method", head.method.as_str().as_bytes())?;
    out.field("x-forwarded-uri", target(&head.target, "", None).as_bytes())?;
    out.field("via", if head.version == Version::Http10 { b"1.0 brolly" } else { b"1.1 brolly" })?;
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

/// The protocols that a backend may switch to. Not HTTP/2: what came through such a tunnel would be requests that no route
/// has seen, and RFC 9113 §3.1 has given `h2c` up.
pub fn offer<'a>(head: &RequestHead<'a>) -> Option<Cow<'a, str>> {
    let offered = head.upgrade()?;
    if !head.upgrades_to("h2c") {
        return Some(Cow::Borrowed(offered));
    }
    let others = offered.split(',').map(str::trim).filter(|protocol| !protocol.eq_ignore_ascii_case("h2c"));
    let others = others.collect::<Vec<_>>().join(", ");
    (!others.is_empty()).then_some(Cow::Owned(others))
}

/// Whether a 101 switches to one of the protocols that were `wanted`, as `Upgrade` said it (RFC 9110 §7.8).
pub fn is_switch_to(head: &ResponseHead<'_>, wanted: &str) -> bool {
    let is_wanted = |protocol: &[u8]| wanted.split(',').any(|of| of.trim().as_bytes().eq_ignore_ascii_case(protocol));
    head.fields.get("upgrade").is_some() && head.fields.list("upgrade").all(is_wanted)
}

/// The value of a cookie (RFC 6265 §4.2.1): the first with this name.
pub fn cookie<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a [u8]> {
    let mut pairs = fields.all("cookie").flat_map(|value| value.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
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

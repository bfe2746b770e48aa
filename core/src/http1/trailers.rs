//! Trailer sections (RFC 9110 §6.5): fields that arrive after the content, when it is too late for most of them.

use super::ParseError;
use super::fields::Fields;
use super::tokenise;

/// The fields of a complete trailer section that may be trusted; `None` if there is none.
#[cold]
pub(super) fn parse(section: &[u8]) -> Result<Option<Fields<'_>>, ParseError> {
    let mut trailers = Fields::new(section, tokenise::fields(section, 0)?);
    trailers.retain(may_trail);
    Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
}

/// RFC 9110 §6.5.1: a trailer must not change framing, routing, authentication, request modifiers, response controls,
/// or how the content is read, because whoever needed that has acted already.
pub(super) fn may_trail(name: &[u8]) -> bool {
    const FORBIDDEN: [&str; 39] = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "cookie2",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "http2-settings",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "retry-after",
        "set-cookie",
        "set-cookie2",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "x-http-method-override",
    ];
    const FORBIDDEN_PREFIXES: [&[u8]; 3] = [b"content-", b"sec-", b"x-forwarded-"];
    let begins_with = |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    !FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()))
        && !FORBIDDEN_PREFIXES.into_iter().any(begins_with)
}

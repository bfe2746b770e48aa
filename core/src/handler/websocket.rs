//! Which requests open WebSockets, and whose scripts may (RFC 6455 §10.2): browsers let any page try, and send the user's
//! cookies along.

use super::cors::Cors;
use crate::http1::{Authority, Fields, Framing, RequestHead, Version};
use crate::ws::handshake::{self, Accepted, Refusal};

/// The server's side of the opening handshake.
///
/// # Errors
/// The request opens no WebSocket, or has content.
pub fn accept<'s>(head: &RequestHead<'_>, framing: Framing, subprotocols: &[&'s str]) -> Result<Accepted<'s>, Refusal> {
    let minor = u8::from(head.version == Version::Http11);
    let accepted = handshake::accept(head.method.as_str(), minor, head.fields.iter(), subprotocols)?;
    if framing == Framing::Empty { Ok(accepted) } else { Err(Refusal::HasContent) }
}

/// Whether the origin of a request may open a WebSocket at `host`. A page from there may, those that the route's `cors`
/// lets in may, and clients that are no browsers (they send no `Origin`) may. The scheme of our own origin is not
/// compared: who speaks TLS before us need not say so.
pub fn may_open(request: &Fields<'_>, host: Option<Authority<'_>>, cors: Option<&Cors>) -> bool {
    // RFC 6454 §7.3: one line, one origin. More of them are nobody's.
    let mut origins = request.all("origin");
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => is_same(origin, host) || cors.is_some_and(|cors| cors.admits(origin)),
        (Some(_), Some(_)) => false,
    }
}

fn is_same(origin: &[u8], host: Option<Authority<'_>>) -> bool {
    let (is_https, authority) = match (origin.strip_prefix(b"https://"), origin.strip_prefix(b"http://")) {
        (Some(authority), _) => (true, authority),
        (None, Some(authority)) => (false, authority),
        (None, None) => return false,
    };
    let authority = Authority::parse(authority);
    authority.zip(host).is_some_and(|(origin, host)| origin.is_same(host, is_https))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::cors::Wishes;
    use crate::http1::{Limits, Part, RequestDecoder};
    use alloc::format;

    #[test]
    fn pages_of_other_origins_may_not_unless_the_route_says_so() {
        let wishes = Wishes { origins: &["https://app.example.org", "https://*.example.net"], ..Wishes::default() };
        let (cors, anybody) = (Cors::new(&wishes).unwrap(), Cors::new(&Wishes { origins: &["*"], ..wishes }).unwrap());
        for (host, lines, alone, listed) in [
            ("a.example", "", true, true),
            ("a.example", "Origin: https://a.example\r\n", true, true),
            ("a.example", "Origin: http://a.example\r\n", true, true),
            ("A.example:443", "Origin: https://a.example\r\n", true, true),
            ("a.example:8080", "Origin: http://a.example:8080\r\n", true, true),
            ("a.example:8080", "Origin: http://a.example\r\n", false, false),
            ("[::1]:80", "Origin: http://[::1]\r\n", true, true),
            ("a.example", "Origin: http://a.example.evil\r\n", false, false),
            ("a.example", "Origin: http://evil/a.example\r\n", false, false),
            ("a.example", "Origin: http://evil@a.example\r\n", false, false),
            ("a.example", "Origin: ftp://a.example\r\n", false, false),
            ("a.example", "Origin: null\r\n", false, false),
            ("a.example", "Origin:\r\n", false, false),
            ("a.example", "Origin: https://app.example.org\r\n", false, true),
            ("a.example", "Origin: https://b.example.net\r\n", false, true),
            ("a.example", "Origin: http://app.example.org\r\n", false, false),
            ("a.example", "Origin: https://a.example\r\nOrigin: https://a.example\r\n", false, false),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
            let mut decoder = RequestDecoder::new(Limits::default());
            let Ok((_, Some(Part::Head(head, _)))) = decoder.decode(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(may_open(&head.fields, head.host(), None), alone, "{text}");
            assert_eq!(may_open(&head.fields, head.host(), Some(&cors)), listed, "{text}");
            let is_one = lines.matches("Origin").count() < 2;
            assert_eq!(may_open(&head.fields, head.host(), Some(&anybody)), is_one, "{text}");
        }
    }
}

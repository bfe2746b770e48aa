//! Heads of requests and responses: what stands in them, once all of it was checked.

use super::fields::Fields;
use super::framing::{Asked, Framing, Lone, Options, Survey};
use super::target::{Authority, Target};
use super::{Method, ParseError, StatusCode, Version};
use core::str;

/// A request line and its header fields (RFC 9112 §3, §5). Borrows the input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestHead<'a> {
    /// What to do.
    pub method: Method<'a>,
    /// To what.
    pub target: Target<'a>,
    /// The version of the sender, at most 1.1.
    pub version: Version,
    /// The field lines.
    pub fields: Fields<'a>,
    host: Option<Authority<'a>>,
    options: Options,
}

/// What a request line and fields say together; small, so that the fields themselves are moved once.
#[derive(Debug)]
pub(super) struct CheckedRequest<'a> {
    method: Method<'a>,
    target: Target<'a>,
    version: Version,
    host: Option<Authority<'a>>,
    options: Options,
    pub(super) framing: Framing,
}

impl<'a> CheckedRequest<'a> {
    #[inline]
    pub(super) fn new(
        (method, target, version): (&'a str, &'a str, Version),
        fields: &Fields<'a>,
    ) -> Result<Self, ParseError> {
        let method = Method::new(method);
        let target = Target::parse(method, target).ok_or(ParseError::Target)?;
        let survey = Survey::new(fields);
        // RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message
        // that lacks a Host header field and to any request message that contains more than one Host header field line
        // or a Host header field with an invalid field value."
        let host = match survey.host {
            Lone::Absent if version == Version::Http10 => None,
            Lone::Absent | Lone::Repeated => return Err(ParseError::Host),
            Lone::Once(value) => Some(Authority::parse(value).ok_or(ParseError::Host)?),
        };
        let framing = survey.request_framing(version, fields)?;
        // §3.2.2 lets the authority of an absolute form win. Not everybody behind us knows that, and a client that says
        // two things breaks RFC 9110 §7.2: "the user agent MUST generate [...] a Host [...] identical to that authority".
        if let (Target::Absolute { is_https, authority, .. }, Some(host)) = (target, host)
            && !authority.is_same(host, is_https)
        {
            return Err(ParseError::HostContradictsTarget);
        }
        let host = target.authority().or(host);
        Ok(Self { method, target, version, host, options: survey.options, framing })
    }

    /// The head that has these fields.
    #[inline]
    pub(super) fn head(self, fields: Fields<'a>) -> RequestHead<'a> {
        let Self { method, target, version, host, options, framing: _ } = self;
        RequestHead { method, target, version, fields, host, options }
    }
}

impl<'a> RequestHead<'a> {
    /// The head as it arrived, from the method to the empty line. A decoder between messages reads the same of it again.
    pub fn bytes(&self) -> &'a [u8] {
        self.fields.raw()
    }

    /// Whom the request is for: the authority of the target, else `Host` (RFC 9112 §3.3). `None` only in HTTP/1.0.
    pub const fn host(&self) -> Option<Authority<'a>> {
        self.host
    }

    /// Whether the client wants to send another request on this connection (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        self.options.persist(self.version)
    }

    /// Whether the client waits for 100 before it sends the content (RFC 9110 §10.1.1). Ignored in HTTP/1.0.
    pub fn expects_continue(&self) -> bool {
        self.options.expects_continue && self.version == Version::Http11
    }

    /// Whether the client expects something that nobody knows (RFC 9110 §10.1.1). Ignored in HTTP/1.0.
    pub fn has_unknown_expectation(&self) -> bool {
        self.options.expects_more && self.version == Version::Http11
    }

    /// How often an OPTIONS or TRACE may still be passed on (RFC 9110 §7.6.2); `None` if it says nothing that counts.
    pub fn max_forwards(&self) -> Option<u64> {
        matches!(self.method, Method::Options | Method::Trace)
            .then(|| str::from_utf8(self.fields.get("max-forwards")?).ok()?.parse().ok())
            .flatten()
    }

    /// The protocols to which the client would switch, if it says so in `Connection` too (RFC 9110 §7.8): the first
    /// `Upgrade` line as it is. Ignored in HTTP/1.0.
    pub fn upgrade(&self) -> Option<&'a str> {
        upgrade(&self.fields, self.options, self.version)
    }

    /// Whether [`upgrade`](Self::upgrade) is on offer and `protocol` among its names, in any case.
    pub fn upgrades_to(&self, protocol: &str) -> bool {
        self.upgrade().is_some() && self.fields.has_token("upgrade", protocol)
    }
}

/// A status line and its header fields (RFC 9112 §4, §5). Borrows the input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResponseHead<'a> {
    /// How it went.
    pub status: StatusCode,
    /// What the server calls it; empty if there is nothing or more than ASCII. Means nothing (RFC 9110 §15.1).
    pub reason: &'a str,
    /// The version of the sender, at most 1.1.
    pub version: Version,
    /// The field lines.
    pub fields: Fields<'a>,
    options: Options,
}

/// What a status line and fields say together.
#[derive(Debug)]
pub(super) struct CheckedResponse<'a> {
    pub(super) status: StatusCode,
    reason: &'a str,
    version: Version,
    options: Options,
    pub(super) framing: Framing,
}

impl<'a> CheckedResponse<'a> {
    #[inline]
    pub(super) fn new(
        asked: Asked,
        (version, status, reason): (Version, StatusCode, &'a str),
        fields: &Fields<'a>,
    ) -> Result<Self, ParseError> {
        let survey = Survey::new(fields);
        let framing = survey.response_framing(asked, status, version, fields)?;
        Ok(Self { status, reason, version, options: survey.options, framing })
    }

    /// The head that has these fields.
    #[inline]
    pub(super) fn head(self, fields: Fields<'a>) -> ResponseHead<'a> {
        let Self { status, reason, version, options, framing: _ } = self;
        ResponseHead { status, reason, version, fields, options }
    }
}

impl<'a> ResponseHead<'a> {
    /// Whether the server accepts another request on this connection (RFC 9112 §9.3), as far as fields and version say:
    /// content with [`Framing::UntilClose`] ends the connection anyway.
    pub fn keep_alive(&self) -> bool {
        self.options.persist(self.version)
    }

    /// The protocol to which the server switches, or the ones it wants with 426: the first `Upgrade` line as it is, if
    /// `Connection` names it too.
    pub fn upgrade(&self) -> Option<&'a str> {
        upgrade(&self.fields, self.options, self.version)
    }
}

fn upgrade<'a>(fields: &Fields<'a>, options: Options, version: Version) -> Option<&'a str> {
    // RFC 9110 §7.8: "A server that receives an Upgrade header field in an HTTP/1.0 request MUST ignore that Upgrade
    // field."
    let offered = options.upgrade && version == Version::Http11;
    fields.get("upgrade").filter(|_| offered).and_then(|value| str::from_utf8(value).ok())
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Part, RequestDecoder, ResponseDecoder};
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn request<T>(head: &str, look: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let head = head.replace('\n', "\r\n") + "\r\n\r\n";
        match RequestDecoder::new(Limits::default()).decode(head.as_bytes()) {
            Ok((_, Some(Part::Head(head, _)))) => look(&head),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_target_says_for_whom_a_request_is_before_host_does() {
        let host = |head| request(head, |head| head.host().map(|host| String::from(host.as_str())));
        assert_eq!(host("GET / HTTP/1.1\nHost: a:1").as_deref(), Some("a:1"));
        assert_eq!(host("GET http://b/ HTTP/1.1\nHost: B:80").as_deref(), Some("b"));
        assert_eq!(host("GET https://b/ HTTP/1.1\nHost: b:443").as_deref(), Some("b"));
        assert_eq!(host("CONNECT b:1 HTTP/1.1\nHost: a").as_deref(), Some("b:1"));
        assert_eq!(host("GET / HTTP/1.0"), None);
        assert_eq!(host("GET http://b/ HTTP/1.0").as_deref(), Some("b"));
    }

    #[test]
    fn http_1_0_neither_waits_nor_switches() {
        let fields = "Host: a\nConnection: x, Upgrade\nUpgrade: h2c, WebSocket\nExpect: 100-Continue";
        for (version, does) in [("1.1", true), ("1.0", false)] {
            request(&format!("GET / HTTP/{version}\n{fields}"), |head| {
                assert_eq!(head.expects_continue(), does);
                assert!(!head.has_unknown_expectation());
                assert_eq!(head.upgrade(), does.then_some("h2c, WebSocket"));
                assert_eq!(head.upgrades_to("websocket"), does);
                assert!(!head.upgrades_to("h2"));
                assert_eq!(head.keep_alive(), does);
            });
        }
    }

    #[test]
    fn an_upgrade_that_connection_does_not_name_is_none() {
        request("GET / HTTP/1.1\nHost: a\nUpgrade: websocket\nExpect: 200-ok", |head| {
            assert!(!head.upgrades_to("websocket") && head.upgrade().is_none() && !head.expects_continue());
            assert!(head.has_unknown_expectation());
        });
    }

    #[test]
    fn a_response_names_its_protocol_and_whether_it_persists() {
        for (head, upgrade, keep_alive) in [
            ("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", Some("websocket"), true),
            ("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", None, true),
            ("HTTP/1.0 200 OK\r\n\r\n", None, false),
        ] {
            let mut decoder = ResponseDecoder::new(Limits::default());
            decoder.expect(Method::Get);
            let Ok((_, Some(Part::Head(head, _)))) = decoder.decode(head.as_bytes()) else { panic!("{head}") };
            assert_eq!((head.upgrade(), head.keep_alive()), (upgrade, keep_alive));
        }
    }

    #[test]
    fn an_idle_decoder_is_small() {
        assert!(size_of::<RequestDecoder>() <= 48, "{}", size_of::<RequestDecoder>());
        assert!(size_of::<ResponseDecoder>() <= 48, "{}", size_of::<ResponseDecoder>());
    }
}

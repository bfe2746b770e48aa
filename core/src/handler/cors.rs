//! Cross-origin requests (Fetch Standard, "HTTP extensions"): who may read answers, decided by data.

use crate::http1::{CheckedLines, Fields, HeadWriter, Method, RequestHead};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Which other origins may use a route, and how. What is answered never repeats what was asked, except for an origin that
/// is in the list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    /// For every answer that an origin may read, without the origin unless that is everybody's.
    answer: CheckedLines,
    /// For preflights.
    preflight: CheckedLines,
}

/// Whose scripts may read answers.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Origins {
    /// Everybody's: `*`.
    Any,
    /// Those of the list.
    Listed(Vec<Origin>),
}

/// An entry of the list.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Origin {
    /// This one: scheme, host, port.
    Exact(Box<str>),
    /// Every host that ends with `.` and `suffix`; `suffix` ends with the port.
    Below { scheme: Box<str>, suffix: Box<str> },
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes<'a> {
    /// `https://app.example.org`, `https://*.example.org`, or `*` alone.
    pub origins: &'a [&'a str],
    /// Methods beyond the safelisted GET, HEAD and POST; `*`: all.
    pub methods: &'a [&'a str],
    /// Request fields beyond the safelisted ones; `*`: all but `Authorization`.
    pub fields: &'a [&'a str],
    /// Response fields that scripts may see beyond the safelisted ones; `*`: all.
    pub expose: &'a [&'a str],
    /// Whether browsers send cookies, certificates and `Authorization`.
    pub credentials: bool,
    /// How long browsers remember the answer to a preflight; `None`: five seconds, says the standard.
    pub max_age: Option<Duration>,
}

/// Why they make no sense: which one, and the rest of a sentence about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CorsError<'a> {
    /// `*` with credentials would give every site what the user may see (Fetch forbids it, too).
    Everybody(&'static str),
    /// `null` is what every sandboxed document and every local file calls itself.
    Null,
    /// Not `scheme://host` or `scheme://host:port` in the form that browsers send.
    Origin(&'a str),
    /// `*` and other origins.
    Surplus,
    /// A method or a field name that is no token, in this list.
    Token(&'static str, &'a str),
}

impl Default for Origins {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Cors {
    /// Prepares what is answered.
    ///
    /// # Errors
    /// The wishes contradict the standard.
    pub fn new<'a>(wishes: &Wishes<'a>) -> Result<Self, CorsError<'a>> {
        let origins = match wishes.origins {
            ["*"] => Origins::Any,
            list if list.contains(&"*") => return Err(CorsError::Surplus),
            list => Origins::Listed(list.iter().map(|origin| Origin::parse(origin)).collect::<Result<_, _>>()?),
        };
        if origins == Origins::Any && wishes.credentials {
            return Err(CorsError::Everybody("origins"));
        }
        let mut cors = Self { origins, credentials: wishes.credentials, ..Self::default() };
        if cors.origins == Origins::Any {
            let _ = cors.answer.push("access-control-allow-origin", b"*");
        }
        for (key, name, list) in [
            ("expose", "access-control-expose-headers", wishes.expose),
            ("methods", "access-control-allow-methods", wishes.methods),
            ("fields", "access-control-allow-headers", wishes.fields),
        ] {
            // Fetch, "CORS protocol and credentials": with credentials, `*` is a name like any other.
            if wishes.credentials && list.contains(&"*") {
                return Err(CorsError::Everybody(key));
            }
            if let Some(wrong) = list.iter().find(|token| CheckedLines::default().push(token, b"").is_err()) {
                return Err(CorsError::Token(key, wrong));
            }
            let lines = if key == "expose" { &mut cors.answer } else { &mut cors.preflight };
            if !list.is_empty() {
                let _ = lines.push(name, list.join(", ").as_bytes());
            }
        }
        if let Some(age) = wishes.max_age {
            let _ = cors.preflight.push("access-control-max-age", age.as_secs().to_string().as_bytes());
        }
        Ok(cors)
    }

    /// Whether a request only asks whether another one would be allowed (Fetch, "CORS-preflight request").
    pub fn is_preflight(head: &RequestHead<'_>) -> bool {
        head.method == Method::Options
            && head.fields.get("origin").is_some()
            && head.fields.get("access-control-request-method").is_some()
    }

    /// Whether `origin` may use the route.
    pub fn admits(&self, origin: &[u8]) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(list) => list.iter().any(|known| known.matches(origin)),
        }
    }

    /// Adds the lines that let the origin of a request read the answer. `false`: it may not, or the request has none.
    pub fn allow(&self, request: &Fields<'_>, is_preflight: bool, lines: &mut CheckedLines) -> bool {
        // RFC 6454 §7.3: one line, one origin. More of them are nobody's.
        let mut origins = request.all("origin");
        let Some(origin) = origins.next().filter(|_| origins.next().is_none()) else { return false };
        let is_any = self.origins == Origins::Any;
        if !self.admits(origin) || !is_any && lines.push("access-control-allow-origin", origin).is_err() {
            return false;
        }
        if self.credentials {
            let _ = lines.push("access-control-allow-credentials", b"true");
        }
        if is_preflight {
            lines.extend(&self.preflight);
        } else if !is_any {
            lines.extend(&self.answer);
        }
        true
    }

    /// Makes an answer ready for the lines of [`allow`](Self::allow): takes back what a backend says about other origins,
    /// and keeps caches from giving what one origin got to another (Fetch, "CORS protocol and HTTP caches"): the answer
    /// varies, also where there is no origin, or everybody gets the same, also without having asked.
    pub fn apply(&self, head: &mut HeadWriter<'_>) {
        head.retain(|name| !name.get(..15).is_some_and(|prefix| prefix.eq_ignore_ascii_case("access-control-")));
        match self.origins {
            Origins::Any => _ = head.checked(&self.answer),
            Origins::Listed(_) => _ = head.vary("origin"),
        }
    }
}

impl Origin {
    fn parse(text: &str) -> Result<Self, CorsError<'_>> {
        let wrong = CorsError::Origin(text);
        if text == "null" {
            return Err(CorsError::Null);
        }
        let (scheme, host) = text.split_once("://").ok_or(wrong)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
        let is_default =
            matches!((scheme, host.rsplit_once(':')), ("http", Some((_, "80"))) | ("https", Some((_, "443"))));
        let name = host.strip_prefix("*.").unwrap_or(host);
        // Browsers send it in lower case, and without the port that the scheme has anyway (Fetch, "serialized origin").
        let is_host = crate::http1::Authority::parse(name.as_bytes())
            .is_some_and(|authority| !name.ends_with(':') && !authority.host().contains(['*', '%']))
            && !name.bytes().any(|byte| byte.is_ascii_uppercase());
        if !is_scheme || !is_host || is_default || (name.len() < host.len() && name.starts_with('[')) {
            return Err(wrong);
        }
        Ok(match host.strip_prefix("*.") {
            Some(suffix) => Self::Below { scheme: scheme.into(), suffix: suffix.into() },
            None => Self::Exact(text.into()),
        })
    }

    fn matches(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(known) => known.as_bytes() == origin,
            Self::Below { scheme, suffix } => {
                let host = origin.strip_prefix(scheme.as_bytes()).and_then(|rest| rest.strip_prefix(b"://"));
                let labels = host.and_then(|host| host.strip_suffix(suffix.as_bytes()));
                labels.and_then(|labels| labels.strip_suffix(b".")).is_some_and(is_labels)
            }
        }
    }
}

impl fmt::Display for Cors {
    /// Who may, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origins {
            Origins::Any => f.write_str("all")?,
            Origins::Listed(list) => {
                for (at, origin) in list.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    match origin {
                        Origin::Exact(origin) => f.write_str(origin)?,
                        Origin::Below { scheme, suffix } => write!(f, "{scheme}://*.{suffix}")?,
                    }
                }
            }
        }
        f.write_str(if self.credentials { ", with credentials" } else { "" })
    }
}

/// Names between dots: nothing that could end the host or begin another one.
fn is_labels(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'.').all(|label| {
        !label.is_empty()
            && label.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Limits, Part, RequestDecoder, StatusCode};
    use crate::outbox::Outbox;
    use alloc::format;
    use alloc::string::String;

    const LISTED: &[&str] = &["https://app.example.org", "http://localhost:3000", "https://*.example.net:8443"];

    fn wishes<'a>() -> Wishes<'a> {
        Wishes {
            origins: LISTED,
            methods: &["PUT", "DELETE"],
            fields: &["Content-Type"],
            expose: &["X-Total"],
            credentials: true,
            max_age: Some(Duration::from_secs(600)),
        }
    }

    fn with_head<T>(lines: &str, method: &str, then: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let text = format!("{method} / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
        let mut decoder = RequestDecoder::new(Limits::default());
        match decoder.decode(text.as_bytes()) {
            Ok((_, Some(Part::Head(head, _)))) => then(&head),
            other => panic!("{other:?}"),
        }
    }

    /// The whole head of an answer to a request with this origin.
    fn answer(cors: &Cors, request: &str, is_preflight: bool, backend: &[(&str, &str)]) -> String {
        let mut lines = CheckedLines::default();
        with_head(request, "GET", |head| cors.allow(&head.fields, is_preflight, &mut lines));
        let mut out = Outbox::new();
        let mut head = HeadWriter::response(&mut out, StatusCode::OK);
        for (name, value) in backend {
            head.field(name, value.as_bytes()).unwrap();
        }
        cors.apply(&mut head);
        head.checked(&lines);
        head.finish();
        let text = String::from_utf8(out.tail().clone()).unwrap().replace("\r\n", "|");
        text.strip_prefix("HTTP/1.1 200 OK|").unwrap().strip_suffix("|").unwrap().into()
    }

    #[test]
    fn an_origin_is_allowed_or_not() {
        let cors = Cors::new(&wishes()).unwrap();
        for (origin, is_allowed) in [
            ("https://app.example.org", true),
            ("http://localhost:3000", true),
            ("https://a.example.net:8443", true),
            ("https://a.b-c.example.net:8443", true),
            // RFC 6454 §5: another scheme, host or port is another origin; browsers send lower case.
            ("http://app.example.org", false),
            ("https://app.example.org:8443", false),
            ("https://app.example.org.evil.example", false),
            ("https://evilapp.example.org", false),
            ("https://APP.example.org", false),
            ("http://localhost", false),
            ("https://a.example.net", false),
            ("https://example.net:8443", false),
            ("https://.example.net:8443", false),
            ("https://evil.example/.example.net:8443", false),
            ("https://evil.example#.example.net:8443", false),
            ("https://evil.example:80.example.net:8443", false),
            ("https://user@a.example.net:8443", false),
            ("https://evilexample.net:8443", false),
            ("http://a.example.net:8443", false),
            ("null", false),
            ("*", false),
            ("", false),
        ] {
            let allowed = format!(
                "vary: origin|access-control-allow-origin: {origin}|access-control-allow-credentials: true|\
                 access-control-expose-headers: X-Total|"
            );
            let expected = if is_allowed { allowed.as_str() } else { "vary: origin|" };
            assert_eq!(answer(&cors, &format!("origin: {origin}\r\n"), false, &[]), expected, "{origin}");
        }
        assert_eq!(answer(&cors, "", false, &[]), "vary: origin|");
        let twice = "origin: https://app.example.org\r\n".repeat(2);
        assert_eq!(answer(&cors, &twice, false, &[]), "vary: origin|");
    }

    #[test]
    fn everybody_may_read_what_has_no_credentials() {
        let cors =
            Cors::new(&Wishes { origins: &["*"], methods: &["*"], fields: &["*"], ..Wishes::default() }).unwrap();
        let anybody = "origin: https://anybody.example\r\n";
        assert_eq!(answer(&cors, anybody, false, &[]), "access-control-allow-origin: *|");
        assert_eq!(
            answer(&cors, anybody, true, &[]),
            "access-control-allow-origin: *|access-control-allow-methods: *|access-control-allow-headers: *|"
        );
        assert_eq!(answer(&cors, "", false, &[]), "access-control-allow-origin: *|");
    }

    #[test]
    fn a_preflight_is_told_what_would_be_allowed() {
        let cors = Cors::new(&wishes()).unwrap();
        assert_eq!(
            answer(&cors, "origin: https://app.example.org\r\n", true, &[]),
            "vary: origin|access-control-allow-origin: https://app.example.org|access-control-allow-credentials: true|\
             access-control-allow-methods: PUT, DELETE|access-control-allow-headers: Content-Type|\
             access-control-max-age: 600|"
        );
        assert_eq!(answer(&cors, "origin: https://evil.example\r\n", true, &[]), "vary: origin|");
        for (method, lines, expected) in [
            ("OPTIONS", "origin: https://a\r\naccess-control-request-method: PUT\r\n", true),
            ("OPTIONS", "origin: https://a\r\n", false),
            ("OPTIONS", "access-control-request-method: PUT\r\n", false),
            ("GET", "origin: https://a\r\naccess-control-request-method: PUT\r\n", false),
        ] {
            assert_eq!(with_head(lines, method, Cors::is_preflight), expected, "{method} {lines}");
        }
    }

    #[test]
    fn what_the_backend_says_about_origins_does_not_count() {
        let cors = Cors::new(&wishes()).unwrap();
        let backend = [
            ("Access-Control-Allow-Origin", "https://evil.example"),
            ("access-control-allow-credentials", "true"),
            ("Vary", "Accept-Encoding"),
            ("Access-Control-Allow-Private-Network", "true"),
            ("x", "access-control-allow-origin"),
        ];
        assert_eq!(
            answer(&cors, "origin: https://evil.example\r\n", false, &backend),
            "Vary: Accept-Encoding, origin|x: access-control-allow-origin|"
        );
    }

    #[test]
    fn wishes_that_contradict_the_standard_are_refused() {
        let with = |origins: &'static [&'static str]| Cors::new(&Wishes { origins, ..wishes() }).unwrap_err();
        assert_eq!(with(&["*"]), CorsError::Everybody("origins"));
        assert_eq!(with(&["*", "https://a"]), CorsError::Surplus);
        assert_eq!(with(&["null"]), CorsError::Null);
        for wrong in [
            &["example.org"][..],
            &["https://example.org/"],
            &["https://example.org:443"],
            &["http://example.org:80"],
            &["https://Example.org"],
            &["HTTPS://example.org"],
            &["https://"],
            &["https://*"],
            &["https://*example.org"],
            &["https://a.*.org"],
            &["https://a b"],
            &["https://a:"],
            &["https://u@a"],
            &["://a"],
        ] {
            assert_eq!(with(wrong), CorsError::Origin(wrong[0]));
        }
        assert!(Cors::new(&Wishes { origins: &["https://[::1]:8443", "tauri://localhost"], ..wishes() }).is_ok());
        let star = &["*"][..];
        assert_eq!(Cors::new(&Wishes { methods: star, ..wishes() }), Err(CorsError::Everybody("methods")));
        assert_eq!(Cors::new(&Wishes { fields: star, ..wishes() }), Err(CorsError::Everybody("fields")));
        assert_eq!(Cors::new(&Wishes { expose: star, ..wishes() }), Err(CorsError::Everybody("expose")));
        assert_eq!(Cors::new(&Wishes { fields: &["a b"], ..wishes() }), Err(CorsError::Token("fields", "a b")));
    }
}

//! Answers that show what has arrived: for trying out what stands before and behind (a small part of httpbin.org).

use super::template::Facts;
use crate::http1::{Method, RequestHead, StatusCode, query_pairs};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde_json::{Map, Value, json};

/// The most that `/bytes/` sends (bytes).
const MOST: usize = 64 * 1024;
const OVERVIEW: &str = "\
/ip           the address of the client
/user-agent   its User-Agent
/headers      all fields of the request
/get          fields, parameters of the query, URL; GET only
/anything     the same and the method; any method and path below it
/status/CODE  this status
/bytes/N      N bytes, 65536 at most
/encoding/utf8  text beyond ASCII
";
const UTF8: &str = "Grüße, здравствуй, こんにちは, ☂, 🌂\n";

/// What is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Page {
    /// Content of a media type.
    Content(&'static str, Vec<u8>),
    /// A status alone.
    Status(StatusCode),
    /// Nothing: there is no such page.
    Missing,
    /// Nothing: with this method.
    OtherMethod,
}

/// The answer to a request for the decoded `path` below the route.
pub fn answer(head: &RequestHead<'_>, path: &str, facts: &Facts<'_>) -> Page {
    let path = path.trim_start_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if first != "anything" && first != "status" && !matches!(head.method, Method::Get | Method::Head) {
        return Page::OtherMethod;
    }
    match (first, rest) {
        ("", "") => Page::Content("text/plain; charset=utf-8", OVERVIEW.into()),
        ("encoding", "utf8") => Page::Content("text/plain; charset=utf-8", UTF8.into()),
        ("ip", "") => page(&json!({ "origin": origin(facts) })),
        ("user-agent", "") => {
            page(&json!({ "user-agent": head.fields.get("user-agent").map(String::from_utf8_lossy) }))
        }
        ("headers", "") => page(&json!({ "headers": fields(head) })),
        ("get", "") => page(&Value::Object(request(head, facts))),
        ("anything", _) => {
            let mut request = request(head, facts);
            request.insert("method".into(), head.method.as_str().into());
            page(&Value::Object(request))
        }
        ("status", code) => match code.parse().ok().filter(|code| (200..=599).contains(code)) {
            Some(code) => StatusCode::new(code).map_or(Page::Missing, Page::Status),
            None => Page::Missing,
        },
        ("bytes", count) => match count.parse().ok().filter(|count| *count <= MOST) {
            Some(count) => Page::Content("application/octet-stream", (0..=u8::MAX).cycle().take(count).collect()),
            None => Page::Missing,
        },
        _ => Page::Missing,
    }
}

fn page(value: &Value) -> Page {
    Page::Content("application/json", format!("{value:#}\n").into_bytes())
}

fn origin(facts: &Facts<'_>) -> Option<String> {
    facts.client.map(|client| client.to_canonical().to_string())
}

/// Fields by name as they were sent; lines of the same name are joined.
fn fields(head: &RequestHead<'_>) -> Map<String, Value> {
    let mut fields: Map<String, Value> = Map::new();
    for (name, value) in head.fields.iter() {
        let value = String::from_utf8_lossy(value);
        match fields.get_mut(name) {
            Some(Value::String(known)) => {
                known.push_str(", ");
                known.push_str(&value);
            }
            _ => {
                fields.insert(name.into(), value.into());
            }
        }
    }
    fields
}

fn request(head: &RequestHead<'_>, facts: &Facts<'_>) -> Map<String, Value> {
    let query = head.target.query().unwrap_or_default();
    let arguments = query_pairs(query).flatten();
    let arguments: Map<_, _> = arguments.map(|(name, value)| (name.into(), Value::from(value))).collect();
    let scheme = if facts.is_secure { "https" } else { "http" };
    let mark = if query.is_empty() { "" } else { "?" };
    let mut request = Map::new();
    request.insert("args".into(), arguments.into());
    request.insert("headers".into(), fields(head).into());
    request.insert("origin".into(), origin(facts).into());
    request.insert("url".into(), format!("{scheme}://{}{}{mark}{query}", facts.host, head.target.path()).into());
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Limits, Part, RequestDecoder};
    use alloc::vec;

    fn ask(request: &str, path: &str) -> Page {
        let facts = Facts { client: Some("::ffff:10.0.0.1".parse().unwrap()), host: "a:8", ..Facts::default() };
        let mut decoder = RequestDecoder::new(Limits::default());
        let input = format!("{request} HTTP/1.1\r\nHost: a:8\r\nX: 1\r\nUser-Agent: me\r\nX: 2\r\n\r\n");
        let (_, Some(Part::Head(head, _))) = decoder.decode(input.as_bytes()).unwrap() else { panic!("no head") };
        answer(&head, path, &facts)
    }

    #[test]
    fn what_has_arrived_is_shown() {
        let shown = |request: &str, path: &str| match ask(request, path) {
            Page::Content("application/json", content) => serde_json::from_slice::<Value>(&content).unwrap(),
            other => panic!("{request}: {other:?}"),
        };
        assert_eq!(shown("GET /bin/ip", "/ip"), json!({ "origin": "10.0.0.1" }));
        assert_eq!(shown("GET /bin/user-agent", "/user-agent"), json!({ "user-agent": "me" }));
        let fields = json!({ "Host": "a:8", "X": "1, 2", "User-Agent": "me" });
        assert_eq!(shown("GET /bin/headers", "/headers"), json!({ "headers": fields }));
        let (url, args) = ("http://a:8/bin/get?a=b%20c&d", json!({ "a": "b c", "d": "" }));
        let expected = json!({ "args": args, "headers": fields, "origin": "10.0.0.1", "url": url });
        assert_eq!(shown("GET /bin/get?a=b%20c&d", "/get"), expected);
        assert_eq!(shown("PATCH /bin/anything/x", "/anything/x")["method"], "PATCH");
    }

    #[test]
    fn other_pages_are_what_they_say() {
        assert_eq!(ask("GET /status/418", "/status/418"), Page::Status(StatusCode::new(418).unwrap()));
        let bytes = Page::Content("application/octet-stream", vec![0, 1, 2]);
        assert_eq!(ask("GET /bytes/3", "/bytes/3"), bytes);
        assert!(matches!(ask("GET /", "/"), Page::Content(_, text) if text.starts_with(b"/ip")));
        assert!(matches!(ask("GET /encoding/utf8", "/encoding/utf8"), Page::Content(_, _)));
        for path in ["/x", "/ip/x", "/status/100", "/status/x", "/status", "/bytes/65537", "/bytes/-1", "/get/x"] {
            assert_eq!(ask("GET /x", path), Page::Missing, "{path}");
        }
        assert_eq!(ask("POST /get", "/get"), Page::OtherMethod);
    }
}

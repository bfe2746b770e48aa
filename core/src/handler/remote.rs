//! Calls that go to backends: what clients of a session pool send, what backends get, what clients get back.

use super::call::{self, Refused};
use crate::http1::StatusCode;
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The longest body text of a data error (characters).
const SHAPE: &str = "a call is [\"method\", {\"request_id\": 1}, [arguments], {}]";

#[derive(Deserialize)]
struct Parts<'a>(
    #[serde(borrow)] Cow<'a, str>,
    Map<String, Value>,
    #[serde(borrow)] &'a RawValue,
    #[serde(borrow)] &'a RawValue,
);

/// A call that a backend can answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remote {
    /// Its name: one or more of `[A-Za-z0-9_.-]`.
    pub method: String,
    /// What the answer repeats.
    pub meta: Map<String, Value>,
    /// How long the user counts as active because of it.
    pub active: Option<Duration>,
    /// `[arguments]` and `{keywords}`, as they were written.
    arguments: (String, String),
}

impl Remote {
    /// Reads a text message.
    ///
    /// # Errors
    /// The answer: an `error` of the kind `validation_error`.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let Ok(Parts(method, meta, arguments, keywords)) = serde_json::from_str::<Parts<'_>>(text) else {
            return Err(call::refused("{}", SHAPE));
        };
        if !arguments.get().starts_with('[') || !keywords.get().starts_with('{') {
            return Err(call::refused(&json(&meta), SHAPE));
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let is_reserved = method.starts_with("tangle.") || method.starts_with("swindon.");
        if method.is_empty() || !method.bytes().all(is_allowed) || is_reserved {
            return Err(call::refused(&json(&meta), "invalid method"));
        }
        if !meta.get("request_id").is_some_and(is_request_id) {
            return Err(call::refused(&json(&meta), "invalid request id"));
        }
        let active = meta.get("active").and_then(Value::as_u64).map(Duration::from_secs);
        let arguments = (arguments.get().into(), keywords.get().into());
        Ok(Self { method: method.into_owned(), meta, active, arguments })
    }

    /// What the backend gets: `[meta, args, kwargs]`, with the connection's id in the meta object, whatever the client says.
    pub fn content(&self, connection: &str) -> Vec<u8> {
        let mut content = String::from("[{\"connection_id\":\"");
        content.push_str(connection);
        content.push('"');
        for (name, value) in self.meta.iter().filter(|(name, _)| *name != "connection_id") {
            content.push(',');
            content.push_str(&Value::from(&**name).to_string());
            content.push(':');
            content.push_str(&value.to_string());
        }
        content.push_str("},");
        content.push_str(&self.arguments.0);
        content.push(',');
        content.push_str(&self.arguments.1);
        content.push(']');
        content.into_bytes()
    }
}

/// A JSON integer 0…2⁶⁴−1, or a string of 1–36 of `[A-Za-z0-9_-]` (facts of the Swindon wire, 2.3).
pub fn is_request_id(id: &Value) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match id {
        Value::Number(number) => number.is_u64(),
        Value::String(text) => (1..=36).contains(&text.len()) && text.bytes().all(is_allowed),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// What authorises a connection: `[{"connection_id"}, [], {"http_cookie", "http_authorization", "url_querystring"}]`.
pub fn authorization(connection: &str, cookie: Option<&[u8]>, authorization: Option<&[u8]>, query: &str) -> Vec<u8> {
    let text = |value: Option<&[u8]>| value.map_or(Value::Null, |value| String::from_utf8_lossy(value).into());
    let (cookie, authorization, query) = (text(cookie), text(authorization), Value::from(query));
    alloc::format!(
        "[{{\"connection_id\":\"{connection}\"}},[],{{\"http_cookie\":{cookie},\"http_authorization\":{authorization},\"url_querystring\":{query}}}]"
    )
    .into_bytes()
}

/// Whether a `Content-Type` says JSON (facts of the Swindon wire, 3.5): one field, and if it names a charset, UTF-8.
pub fn is_json(content_type: Option<&[u8]>) -> bool {
    let Some(value) = content_type else { return false };
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(b"application/json"));
    let is_utf8 = |part: &[u8]| match part.split_at_checked(8) {
        Some((b"charset=", charset)) => charset.eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"utf8"),
        Some(_) | None => true,
    };
    is_json && parts.all(is_utf8)
}

/// JSON of a backend, as text on one line: what is JSON stays as it is written.
fn verbatim(content: &[u8]) -> Result<String, String> {
    let text = core::str::from_utf8(content).map_err(|error| error.to_string())?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    Ok(text.trim_matches([' ', '\t', '\r', '\n']).into())
}

/// What the client gets for a call: only a 200 with JSON is a `result`.
pub fn answer(meta: &Map<String, Value>, status: StatusCode, is_json: bool, content: &[u8]) -> String {
    let data = is_json.then(|| verbatim(content));
    match (status.as_u16(), data) {
        (200, Some(Ok(data))) => call::result(&json(meta), &data),
        (200, Some(Err(reason))) => error(meta, "data_error", None, &Value::from(reason).to_string()),
        (200, None) => error(meta, "http_error", Some(500), "null"),
        (status, Some(Ok(data))) => error(meta, "http_error", Some(known(status)), &data),
        (status, _) => error(meta, "http_error", Some(known(status)), "null"),
    }
}

/// What the client gets for a call that no backend has answered.
pub fn failure(meta: &Map<String, Value>, status: StatusCode) -> String {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => error(meta, "internal_error", None, "\"too_many_requests\""),
        _ => error(meta, "http_error", Some(500), "null"),
    }
}

/// A status that no registry knows is a server's error (RFC 9110 §15).
fn known(status: u16) -> u16 {
    if (100..=511).contains(&status) { status } else { 500 }
}

fn error(meta: &Map<String, Value>, kind: &str, status: Option<u16>, data: &str) -> String {
    let mut out = alloc::format!("[\"error\",{{\"error_kind\":\"{kind}\"");
    if let Some(status) = status {
        out.push_str(&alloc::format!(",\"http_error\":{status}"));
    }
    for (name, value) in meta.iter().filter(|(name, _)| *name != "error_kind" && *name != "http_error") {
        out.push_str(&alloc::format!(",{}:{value}", Value::from(&**name)));
    }
    out.push_str("},");
    out.push_str(data);
    out.push(']');
    out
}

/// What a backend says about a connection that wants to be authorised.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Let in: the user, and the `hello`.
    Hello(String, String),
    /// Not: the `fatal_error`, and the close code.
    Fatal(String, u16),
}

/// Judges the answer to an authorisation. Seven statuses are passed on, all else is a 500.
pub fn verdict(status: StatusCode, is_json: bool, content: &[u8]) -> Verdict {
    let data = if is_json { verbatim(content).ok() } else { None };
    match (status.as_u16(), data) {
        (200, Some(data)) => {
            let user = serde_json::from_str::<Map<String, Value>>(&data).ok();
            match user.as_ref().and_then(|hello| hello.get("user_id")).and_then(Value::as_str) {
                Some(user) if crate::session::is_user(user) => {
                    Verdict::Hello(user.into(), ["[\"hello\",{},", &data, "]"].concat())
                }
                Some(_) | None => fatal(500, "null"),
            }
        }
        (status @ (400 | 401 | 403 | 404 | 410 | 500 | 503), data) => fatal(status, data.as_deref().unwrap_or("null")),
        _ => fatal(500, "null"),
    }
}

/// A `fatal_error`, and the close code for it.
pub fn fatal(status: u16, data: &str) -> Verdict {
    let text = alloc::format!("[\"fatal_error\",{{\"error_kind\":\"http_error\",\"http_error\":{status}}},{data}]");
    Verdict::Fatal(text, 4000 + status)
}

fn json(meta: &Map<String, Value>) -> String {
    let mut out = String::from("{");
    for (index, (name, value)) in meta.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { "," });
        out.push_str(&alloc::format!("{}:{value}", Value::from(&**name)));
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: StatusCode = StatusCode::OK;

    fn meta() -> Map<String, Value> {
        Remote::parse(r#"["a.b",{"request_id":1,"error_kind":"x"},[],{}]"#).unwrap().meta
    }

    #[test]
    fn a_call_reaches_its_backend_as_it_was_written() {
        let call =
            Remote::parse(r#"["a.b",{"connection_id":"mine","request_id":1,"active":7},[1, 2.50],{"k":"v"}]"#).unwrap();
        let content = String::from_utf8(call.content("id-1")).unwrap();
        assert_eq!(content, r#"[{"connection_id":"id-1","active":7,"request_id":1},[1, 2.50],{"k":"v"}]"#);
        assert_eq!((call.method.as_str(), call.active), ("a.b", Some(Duration::from_secs(7))));
        for active in ["true", "\"5\"", "5.0", "-1"] {
            let text = alloc::format!(r#"["a",{{"request_id":"x-1","active":{active}}},[],{{}}]"#);
            assert_eq!(Remote::parse(&text).unwrap().active, None);
        }
    }

    #[test]
    fn a_malformed_call_is_told_what_is_wrong() {
        for (text, answer) in [
            ("x", r#"["error",{"error_kind":"validation_error"},"a call is"#),
            (r#"["a",{"request_id":1},[]]"#, r#"["error",{"error_kind":"validation_error"},"a call is"#),
            (
                r#"["a",{"request_id":1},{},{}]"#,
                r#"["error",{"error_kind":"validation_error","request_id":1},"a call is"#,
            ),
            (
                r#"["",{"request_id":1},[],{}]"#,
                r#"["error",{"error_kind":"validation_error","request_id":1},"invalid method"]"#,
            ),
            (
                r#"["swindon.x",{"request_id":1},[],{}]"#,
                r#"["error",{"error_kind":"validation_error","request_id":1},"invalid method"]"#,
            ),
            (
                r#"["a",{"request_id":-1},[],{}]"#,
                r#"["error",{"error_kind":"validation_error","request_id":-1},"invalid request id"]"#,
            ),
            (r#"["a",{},[],{}]"#, r#"["error",{"error_kind":"validation_error"},"invalid request id"]"#),
        ] {
            let Refused(error) = Remote::parse(text).unwrap_err();
            assert!(error.starts_with(answer), "{text}: {error}");
        }
    }

    #[test]
    fn answers_are_mapped_as_clients_know_them() {
        let status = |status| StatusCode::new(status).unwrap();
        for (code, is_json, content, text) in [
            (200, true, r#"{"b":1,"a":2.50}"#, r#"["result",{"error_kind":"x","request_id":1},{"b":1,"a":2.50}]"#),
            (
                200,
                true,
                "[not a valid json",
                r#"["error",{"error_kind":"data_error","request_id":1},"expected ident at line 1 column 3"]"#,
            ),
            (
                200,
                true,
                "",
                r#"["error",{"error_kind":"data_error","request_id":1},"EOF while parsing a value at line 1 column 0"]"#,
            ),
            (200, false, "1", r#"["error",{"error_kind":"http_error","http_error":500,"request_id":1},null]"#),
            (204, false, "", r#"["error",{"error_kind":"http_error","http_error":204,"request_id":1},null]"#),
            (400, true, "[1]", r#"["error",{"error_kind":"http_error","http_error":400,"request_id":1},[1]]"#),
            (599, true, "[1]", r#"["error",{"error_kind":"http_error","http_error":500,"request_id":1},[1]]"#),
        ] {
            assert_eq!(answer(&meta(), status(code), is_json, content.as_bytes()), text);
        }
    }

    #[test]
    fn who_is_let_in_has_a_usable_name() {
        let hello = verdict(OK, true, br#"{"user_id":"u:1","x":null}"#);
        assert_eq!(hello, Verdict::Hello("u:1".into(), r#"["hello",{},{"user_id":"u:1","x":null}]"#.into()));
        let fatal = |status, data: &str| fatal(status, data);
        for content in ["", "{}", "[]", r#"{"user_id":1}"#, r#"{"user_id":""}"#, r#"{"user_id":"a/b"}"#] {
            assert_eq!(verdict(OK, true, content.as_bytes()), fatal(500, "null"), "{content}");
        }
        assert_eq!(verdict(OK, false, br#"{"user_id":"u"}"#), fatal(500, "null"));
        let status = |status| StatusCode::new(status).unwrap();
        assert_eq!(verdict(status(403), true, b"[1]"), fatal(403, "[1]"));
        assert_eq!(verdict(status(403), false, b"[1]"), fatal(403, "null"));
        assert_eq!(verdict(status(402), true, b"[1]"), fatal(500, "null"));
    }

    #[test]
    fn json_says_so_and_is_utf_8() {
        for value in ["application/json", " Application/JSON ; charset=UTF-8", "application/json;charset=utf8;x=y"] {
            assert!(is_json(Some(value.as_bytes())), "{value}");
        }
        for value in ["", "text/json", "application/json; charset=latin1", "application/jsonp"] {
            assert!(!is_json(Some(value.as_bytes())), "{value}");
        }
    }
}

//! The grammar of calls over a WebSocket: `["method", {meta}, [args], {kwargs}]` up, `["type", {meta}, data]` down.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A call, with its parts not looked into.
#[derive(Debug, Deserialize)]
struct Parts<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] &'a RawValue,
    #[serde(borrow)] Vec<&'a RawValue>,
    #[serde(borrow)] Keywords<'a>,
);

#[derive(Debug, Deserialize)]
struct Keywords<'a> {
    #[serde(borrow, default)]
    position: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
}

/// A call that can be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// The meta object, verbatim: it is echoed in the answer.
    pub meta: Box<str>,
    /// What to do.
    pub request: Request,
}

/// What a client can call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// `brolly.publish`, `[topic, data]`: the data is JSON, verbatim.
    Publish(String, Box<str>),
    /// `brolly.subscribe`, `[topic, …]`, `{"position"}`.
    Subscribe(Vec<String>, String),
    /// `brolly.unsubscribe`, `[topic, …]`.
    Unsubscribe(Vec<String>),
}

/// A call that cannot be carried out: a finished `error` message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused(pub String);

impl Call {
    /// Reads a text message.
    ///
    /// # Errors
    /// The answer: an `error` with the meta object of the call if it has a usable one, and a sentence.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let Ok(Parts(method, meta, args, keywords)) = serde_json::from_str::<Parts<'_>>(text) else {
            return Err(refused("{}", "a call is [\"method\", {\"request_id\": 1}, [arguments], {}]"));
        };
        let meta = meta.get();
        // RFC 8259 has no word for it: the first character tells an object.
        let Some(Ok(Meta { request_id })) = meta.starts_with('{').then(|| serde_json::from_str::<Meta<'_>>(meta))
        else {
            return Err(refused("{}", "the second part of a call is an object"));
        };
        if !request_id.is_some_and(is_request_id) {
            return Err(refused("{}", "invalid request id"));
        }
        let strings = || args.iter().map(|arg| serde_json::from_str(arg.get())).collect::<Result<Vec<String>, _>>();
        let request = match &*method {
            "brolly.subscribe" => match strings() {
                Ok(topics) if !topics.is_empty() => {
                    Request::Subscribe(topics, keywords.position.unwrap_or_default().into_owned())
                }
                Ok(_) | Err(_) => return Err(refused(meta, "brolly.subscribe takes names of topics")),
            },
            "brolly.unsubscribe" => match strings() {
                Ok(topics) => Request::Unsubscribe(topics),
                Err(_) => return Err(refused(meta, "brolly.unsubscribe takes names of topics")),
            },
            "brolly.publish" => match (args.as_slice(), args.first().map(|topic| serde_json::from_str(topic.get()))) {
                ([_, data], Some(Ok(topic))) => Request::Publish(topic, data.get().into()),
                _ => return Err(refused(meta, "brolly.publish takes the name of a topic and the data")),
            },
            _ => return Err(refused(meta, "invalid method")),
        };
        Ok(Self { meta: meta.into(), request })
    }
}

/// `["result", meta, data]`.
pub fn result(meta: &str, data: &str) -> String {
    ["[\"result\",", meta, ",", data, "]"].concat()
}

/// An `error` of the kind `validation_error`, with a sentence. `meta` is an object.
pub fn refused(meta: &str, reason: &str) -> Refused {
    error(meta, "validation_error", reason)
}

/// `["error", meta + error_kind, reason]`. `meta` is an object; what it says about `error_kind` is overridden.
pub fn error(meta: &str, kind: &str, reason: &str) -> Refused {
    let mut map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(meta).unwrap_or_default();
    map.insert("error_kind".into(), kind.into());
    Refused(serde_json::json!(["error", map, reason]).to_string())
}

/// A JSON integer 0…2⁶⁴−1, or a string of 1–36 of `[A-Za-z0-9_-]` (facts of the Swindon wire, 2.3).
fn is_request_id(id: &RawValue) -> bool {
    match serde_json::from_str(id.get()) {
        Ok(serde_json::Value::Number(number)) => number.is_u64(),
        Ok(serde_json::Value::String(text)) => {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            (1..=36).contains(&text.len()) && text.bytes().all(is_allowed)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read() {
        let subscribe = Call::parse(r#"["brolly.subscribe",{"request_id":1,"x":[2]},["a","b"],{"position":"0"}]"#);
        assert_eq!(
            subscribe,
            Ok(Call {
                meta: r#"{"request_id":1,"x":[2]}"#.into(),
                request: Request::Subscribe(alloc::vec!["a".into(), "b".into()], "0".into())
            })
        );
        let publish = Call::parse(r#"["brolly.publish",{"request_id":"q-1"},["a", {"n": 1.50}],{}]"#).unwrap();
        assert_eq!(publish.request, Request::Publish("a".into(), r#"{"n": 1.50}"#.into()));
    }

    #[test]
    fn a_malformed_call_gets_an_error_that_says_why() {
        for (text, answer) in [
            ("nonsense", r#"["error",{"error_kind":"validation_error"},"a call is"#),
            (
                r#"["brolly.subscribe",{"request_id":1},["a"]]"#,
                r#"["error",{"error_kind":"validation_error"},"a call is"#,
            ),
            (
                r#"["brolly.subscribe",{},["a"],{}]"#,
                r#"["error",{"error_kind":"validation_error"},"invalid request id"]"#,
            ),
            (r#"["brolly.subscribe",[],["a"],{}]"#, r#"["error",{"error_kind":"validation_error"},"the second part"#),
            (
                r#"["x",{"request_id":7},[],{}]"#,
                r#"["error",{"error_kind":"validation_error","request_id":7},"invalid method"]"#,
            ),
            (
                r#"["brolly.publish",{"request_id":7},["a"],{}]"#,
                r#"["error",{"error_kind":"validation_error","request_id":7},"brolly.publish"#,
            ),
        ] {
            let Err(Refused(error)) = Call::parse(text) else { panic!("{text}") };
            assert!(error.starts_with(answer), "{text}: {error}");
        }
    }
}

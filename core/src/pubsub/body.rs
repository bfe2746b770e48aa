//! What a publisher says: JSON or text.

use bytes::Bytes;
use core::fmt;
use core::str;
use serde::de::IgnoredAny;

/// The content of a message.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Body {
    /// One valid JSON value (RFC 8259), passed on as it was written.
    Json(Bytes),
    /// Text in UTF-8.
    Text(Bytes),
}

impl Body {
    /// Judges content by its `Content-Type` (RFC 9110 §8.3), and if that says nothing useful, by trying: valid JSON is
    /// JSON, other UTF-8 is text. White space around JSON is dropped.
    pub fn from_content(content_type: Option<&[u8]>, content: &[u8]) -> Result<Self, BodyError> {
        match content_type.map_or(MediaType::Other, MediaType::from_field) {
            MediaType::Json => json(text(content)?),
            MediaType::Other => {
                let text = str::from_utf8(content).map_err(|_| BodyError::NotText)?;
                json(text).or_else(|_| Ok(Self::Text(Bytes::copy_from_slice(content))))
            }
            MediaType::Text => text(content).map(|text| Self::Text(Bytes::copy_from_slice(text.as_bytes()))),
        }
    }

    /// The bytes as they were published.
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(bytes) | Self::Text(bytes) => bytes,
        }
    }
}

fn text(content: &[u8]) -> Result<&str, BodyError> {
    str::from_utf8(content).map_err(|error| BodyError::InvalidUtf8 { offset: error.valid_up_to() })
}

/// Takes a `str`, because serde_json does not look into the strings that it ignores.
fn json(text: &str) -> Result<Body, BodyError> {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => Ok(Body::Json(Bytes::copy_from_slice(text.trim_matches([' ', '\t', '\n', '\r']).as_bytes()))),
        Err(error) => Err(BodyError::InvalidJson { line: error.line(), column: error.column() }),
    }
}

/// What a `Content-Type` means to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum MediaType {
    Json,
    Other,
    Text,
}

impl MediaType {
    /// Without parameters: we only accept UTF-8, whatever `charset` says.
    fn from_field(value: &[u8]) -> Self {
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let Some(slash) = memchr::memchr(b'/', essence) else { return Self::Other };
        let Some((kind, subtype)) = essence.split_at_checked(slash + 1) else { return Self::Other };
        let suffix = subtype.len().checked_sub(b"+json".len()).and_then(|start| subtype.get(start..));
        if kind.eq_ignore_ascii_case(b"application/") && subtype.eq_ignore_ascii_case(b"json")
            || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
        {
            Self::Json
        } else if kind.eq_ignore_ascii_case(b"text/") {
            Self::Text
        } else {
            Self::Other
        }
    }
}

/// Why content cannot be a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BodyError {
    /// It was declared as JSON but is not.
    InvalidJson {
        /// The line with the mistake, from 1.
        line: usize,
        /// The byte in that line, from 1; 0 if the mistake is the line's end.
        column: usize,
    },
    /// It was declared as JSON or text but is not UTF-8.
    InvalidUtf8 {
        /// The first wrong byte.
        offset: usize,
    },
    /// It is neither JSON nor UTF-8, and was not declared as such.
    NotText,
}

impl BodyError {
    /// 400 (RFC 9110 §15.5.1) for broken promises, 415 (§15.5.16) for what nobody can carry.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidJson { .. } | Self::InvalidUtf8 { .. } => 400,
            Self::NotText => 415,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidJson { line, column } => write!(f, "invalid JSON at line {line}, column {column}"),
            Self::InvalidUtf8 { offset } => write!(f, "invalid UTF-8 at byte {offset}"),
            Self::NotText => f.write_str("neither JSON nor text"),
        }
    }
}

impl core::error::Error for BodyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn kind(content_type: &str, content: &[u8]) -> Result<&'static str, BodyError> {
        Body::from_content(Some(content_type.as_bytes()), content).map(|body| match body {
            Body::Json(_) => "json",
            Body::Text(_) => "text",
        })
    }

    #[test]
    fn the_content_type_is_believed() {
        for json in ["application/json", "Application/JSON; charset=utf-8", " application/json ;x", "a/b+json"] {
            assert_eq!(kind(json, b"{\"a\":[1,\"\\u2602\"]}"), Ok("json"), "{json}");
            assert_eq!(kind(json, b"{\n1}"), Err(BodyError::InvalidJson { line: 2, column: 1 }), "{json}");
            assert_eq!(kind(json, b"\"\xff\""), Err(BodyError::InvalidUtf8 { offset: 1 }), "{json}");
            assert!(matches!(kind(json, b""), Err(BodyError::InvalidJson { .. })), "{json}");
            assert!(matches!(kind(json, b"1 2"), Err(BodyError::InvalidJson { .. })), "{json}");
        }
        for text in ["text/plain", "TEXT/html; charset=latin1", "text/json"] {
            assert_eq!(kind(text, b"1"), Ok("text"), "{text}");
            assert_eq!(kind(text, b"a\xe4"), Err(BodyError::InvalidUtf8 { offset: 1 }), "{text}");
        }
    }

    #[test]
    fn other_content_is_tried() {
        for other in ["application/x-www-form-urlencoded", "json", "", "application/jsonl", "/", "+json"] {
            assert_eq!(kind(other, b" [1] "), Ok("json"), "{other}");
            assert_eq!(kind(other, b"hello"), Ok("text"), "{other}");
            assert_eq!(kind(other, b""), Ok("text"), "{other}");
            assert_eq!(kind(other, b"\xff"), Err(BodyError::NotText), "{other}");
        }
        assert_eq!(Body::from_content(None, b"1"), Ok(Body::Json(Bytes::from_static(b"1"))));
    }

    #[test]
    fn json_is_kept_as_written_but_for_the_white_space_around_it() {
        let body = Body::from_content(None, b"\r\n {\"a\" :1e400,\n\"a\":2}\t\n").unwrap();
        assert_eq!(body, Body::Json(Bytes::from_static(b"{\"a\" :1e400,\n\"a\":2}")));
        assert_eq!(body.bytes().len(), 19);
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(kind("application/json", deep.as_bytes()), Ok("json"));
        assert_eq!(kind("application/json", String::from("[").as_bytes()).unwrap_err().status(), 400);
    }
}

//! What a parser made of an input. All text is a string of the characters 0 to 255, one for each byte.

use serde::Deserialize;

/// Complete messages, and how it ended.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reading {
    pub(super) messages: Vec<Message>,
    /// `more`: the rest is no complete message; `closed`: nothing after these messages is one; `error: …`.
    pub(super) end: String,
    /// Bytes behind the last message, if the parser can tell.
    pub(super) left: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Message {
    /// Method, target, version; or status, reason, version.
    pub(super) start: [String; 3],
    /// Whom a request is for, if the parser says.
    #[serde(default)]
    pub(super) host: Option<String>,
    /// Names in lower case.
    pub(super) fields: Lines,
    pub(super) content: String,
    pub(super) trailers: Lines,
}

pub(super) type Lines = Vec<(String, String)>;

impl Reading {
    pub(super) fn error(&self) -> Option<&str> {
        self.end.strip_prefix("error: ")
    }

    pub(super) fn is_closed(&self) -> bool {
        self.end == "closed"
    }
}

/// Each byte as the character of that number.
pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

//! Rules for files: content types, validators, conditions.

use crate::http1::Fields;
use crate::text::date;
use crate::time::UnixTime;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

/// What a client knows of a file already (RFC 9110 §13).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Conditions {
    if_none_match: Option<Box<[u8]>>,
    if_modified_since: Option<u64>,
}

impl Conditions {
    /// Reads `If-None-Match` and `If-Modified-Since`.
    pub fn new(fields: &Fields<'_>) -> Self {
        Self {
            if_none_match: fields.get("if-none-match").map(Into::into),
            if_modified_since: fields.get("if-modified-since").and_then(date::parse),
        }
    }

    /// Whether the client's copy is still good: 304 (RFC 9110 §13.2.2 steps 3 and 4).
    pub fn is_fresh(&self, etag: &str, modified: UnixTime) -> bool {
        match (&self.if_none_match, self.if_modified_since) {
            // §13.1.2: a list of entity tags, compared weakly, or `*`.
            (Some(list), _) => list
                .split(|&byte| byte == b',')
                .map(<[u8]>::trim_ascii)
                .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes()),
            (None, Some(since)) => modified.as_secs() <= since,
            (None, None) => false,
        }
    }
}

/// A strong validator: changes with the size and the millisecond of modification.
pub fn etag(len: u64, modified: UnixTime) -> String {
    format!("\"{:x}-{len:x}\"", modified.as_millis())
}

/// The media type for the extension of `path`; text is UTF-8.
pub fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    TYPES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(extension))
        .map_or("application/octet-stream", |(_, media_type)| media_type)
}

const TYPES: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("woff2", "font/woff2"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("map", "application/json"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("ico", "image/x-icon"),
    ("jpeg", "image/jpeg"),
    ("avif", "image/avif"),
    ("wasm", "application/wasm"),
    ("xml", "text/xml; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("webmanifest", "application/manifest+json"),
    ("jsonld", "application/ld+json"),
    ("ics", "text/calendar; charset=utf-8"),
    ("woff", "font/woff"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("wav", "audio/wav"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tar", "application/x-tar"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_extension_in_any_case() {
        assert_eq!(content_type("/a/index.HTML"), "text/html; charset=utf-8");
        assert_eq!(content_type("/a.b/file"), "application/octet-stream");
        assert_eq!(content_type("/x.wasm"), "application/wasm");
    }

    #[test]
    fn an_entity_tag_comes_before_a_date() {
        let modified = UnixTime::from_millis(1_000_500);
        let tag = etag(5, modified);
        let known =
            |list: &str| Conditions { if_none_match: Some(list.as_bytes().into()), if_modified_since: Some(u64::MAX) };
        assert!(known(&format!("\"x\", W/{tag}")).is_fresh(&tag, modified));
        assert!(known("*").is_fresh(&tag, modified));
        assert!(!known("\"x\"").is_fresh(&tag, modified));
        let dated = |secs| Conditions { if_none_match: None, if_modified_since: Some(secs) };
        assert!(dated(1000).is_fresh(&tag, modified) && !dated(999).is_fresh(&tag, modified));
    }
}

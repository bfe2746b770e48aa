//! What is written: sections, keys, comments.

use crate::config::{format_duration, format_size};
use std::fmt::{Display, Write};
use std::time::Duration;

/// A configuration file that is being written, and what it cannot say.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
    pub(super) notes: Vec<String>,
}

impl Writer {
    /// A header, after an empty line.
    pub(super) fn section(&mut self, header: &str) {
        let _ = writeln!(self.text, "\n{header}");
    }

    /// `key = value`, the value as it is to stand there.
    pub(super) fn key(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.text, "{key} = {value}");
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key, quote(value));
    }

    pub(super) fn size(&mut self, key: &str, bytes: u64) {
        self.text(key, &format_size(bytes));
    }

    pub(super) fn duration(&mut self, key: &str, duration: Duration) {
        self.text(key, &format_duration(duration));
    }

    pub(super) fn comment(&mut self, comment: &str) {
        let _ = writeln!(self.text, "# {comment}");
    }

    /// Something that has no equivalent: a comment, and said at the end, once.
    pub(super) fn note(&mut self, note: &str) {
        self.comment(note);
        if !self.notes.iter().any(|said| said == note) {
            self.notes.push(note.into());
        }
    }

    pub(super) fn finish(self) -> (String, Vec<String>) {
        (self.text, self.notes)
    }
}

/// A basic string: JSON's escapes are TOML's too.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A key as it is, or in quotes.
pub(super) fn bare(key: &str) -> String {
    let is_bare =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_bare { key.into() } else { quote(key) }
}

pub(super) fn list(items: &[impl AsRef<str>]) -> String {
    let items: Vec<_> = items.iter().map(|item| quote(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// `{ key = "value" }`.
pub(super) fn table(entries: &[(impl AsRef<str>, impl AsRef<str>)]) -> String {
    let entries: Vec<_> =
        entries.iter().map(|(key, value)| format!("{} = {}", bare(key.as_ref()), quote(value.as_ref()))).collect();
    format!("{{ {} }}", entries.join(", "))
}

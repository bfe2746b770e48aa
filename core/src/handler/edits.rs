//! What a route changes about the fields of messages that pass: setting, adding, removing.

use super::origin::is_same;
use super::template::{Facts, Template, UnknownVariable};
use crate::http1::{CheckedLines, EncodeError, HeadWriter};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;

/// Fields that nobody may edit: they belong to the connection or the framing (RFC 9110 §7.6.1, RFC 9112 §6), have keys
/// of their own, or are what this program promises about every message.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-barium",
];

/// Edits of one head. What does not depend on the request is ready to be copied.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edits {
    /// Whose lines are taken out, in lower case.
    removed: Vec<Box<str>>,
    fixed: CheckedLines,
    varying: Vec<(Box<str>, Template)>,
}

/// Why an edit makes no sense.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EditError {
    /// The name is no token, or the value would not be one line.
    Encode(EncodeError),
    /// This field is not for editing.
    Ours,
    /// There is no such variable.
    Variable(UnknownVariable),
}

impl Edits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.fixed.is_empty() && self.varying.is_empty()
    }

    /// Replaces what the message has of a field.
    ///
    /// # Errors
    /// The name or the value makes no sense; nothing is added, like below.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        self.add(name, value)?;
        self.remove(name)
    }

    /// Adds a line to what the message has.
    ///
    /// # Errors
    /// See [`set`](Self::set).
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        check(name)?;
        // Checked with its braces: what is filled in later is checked then.
        CheckedLines::default().push(name, value.as_bytes()).map_err(EditError::Encode)?;
        let template = Template::parse(value).map_err(EditError::Variable)?;
        match template.as_fixed() {
            Some(text) => self.fixed.push(name, text.as_bytes()).map_err(EditError::Encode)?,
            None => self.varying.push((name.into(), template)),
        }
        Ok(())
    }

    /// Takes all lines of a field out.
    ///
    /// # Errors
    /// See [`set`](Self::set).
    pub fn remove(&mut self, name: &str) -> Result<(), EditError> {
        check(name)?;
        self.removed.push(name.to_ascii_lowercase().into());
        Ok(())
    }

    /// Whether there are variables: then [`render`](Self::render) makes the lines that [`apply`](Self::apply) leaves out.
    pub fn is_varying(&self) -> bool {
        !self.varying.is_empty()
    }

    /// Adds the lines that depend on the request. One whose variables are all empty is left out.
    pub fn render(&self, facts: &Facts<'_>, lines: &mut CheckedLines) {
        for (name, template) in &self.varying {
            let value = template.render(facts);
            if !value.is_empty() {
                // A certificate can say what no field can: better no line than half of one.
                let _ = lines.push(name, value.as_bytes());
            }
        }
    }

    /// Edits a head, except for the lines that depend on the request.
    pub fn apply(&self, head: &mut HeadWriter<'_>) {
        if !self.removed.is_empty() {
            head.retain(|name| !self.removed.iter().any(|removed| is_same(name, removed)));
        }
        head.checked(&self.fixed);
    }
}

impl fmt::Display for Edits {
    /// `-name` for what is taken out, `name: value` for what is put in: with `+` before it beside what is there, with `=`
    /// instead of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let varying = self.varying.iter().map(|(name, template)| format!("{name}: {template}").into());
        let added: Vec<Cow<'_, str>> = self.fixed.iter().chain(varying).collect();
        let is_of = |line: &str, name: &str| line.split(':').next().is_some_and(|of| of.eq_ignore_ascii_case(name));
        let removed = self.removed.iter().filter(|name| !added.iter().any(|line| is_of(line, name)));
        let sign = |line: &str| if self.removed.iter().any(|name| is_of(line, name)) { '=' } else { '+' };
        let added = added.iter().map(|line| format!("{}{line}", sign(line)));
        let all: Vec<_> = removed.map(|name| format!("-{name}")).chain(added).collect();
        f.write_str(&all.join(", "))
    }
}

fn check(name: &str) -> Result<(), EditError> {
    if OURS.iter().any(|ours| is_same(name, ours)) {
        return Err(EditError::Ours);
    }
    CheckedLines::default().push(name, b"").map_err(EditError::Encode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::StatusCode;
    use crate::outbox::Outbox;
    use alloc::string::String;

    fn edited(edits: &Edits, facts: &Facts<'_>) -> String {
        let mut out = Outbox::new();
        let mut head = HeadWriter::response(&mut out, StatusCode::OK);
        head.field("X-Powered-By", b"a").unwrap().field("Link", b"b").unwrap().field("x-kept", b"c").unwrap();
        edits.apply(&mut head);
        let mut lines = CheckedLines::default();
        edits.render(facts, &mut lines);
        head.checked(&lines);
        head.finish();
        String::from_utf8(out.tail().clone()).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn fields_are_set_added_and_removed() {
        let mut edits = Edits::default();
        assert!(edits.is_empty());
        edits.set("x-kept", "{client}").unwrap();
        edits.set("X-Frame-Options", "DENY").unwrap();
        edits.add("link", "d").unwrap();
        edits.remove("x-powered-by").unwrap();
        assert!(!edits.is_empty() && edits.is_varying());
        let facts = Facts { client: Some([10, 0, 0, 1].into()), ..Facts::default() };
        assert_eq!(edited(&edits, &facts), "HTTP/1.1 200 OK|Link: b|X-Frame-Options: DENY|link: d|x-kept: 10.0.0.1||");
        // What the message had does not come back when there is nothing to put in its place.
        assert_eq!(edited(&edits, &Facts::default()), "HTTP/1.1 200 OK|Link: b|X-Frame-Options: DENY|link: d||");
    }

    /// CGI and what comes from it make one name of both (RFC 3875 §4.1.18): a client could say what we set.
    #[test]
    fn a_name_is_the_same_with_underscores() {
        let head = |edits: &Edits| {
            let mut out = Outbox::new();
            let mut head = HeadWriter::request(&mut out, "GET", "/").unwrap();
            for name in ["X-Role", "X_Role", "x_ROLE", "X_Other", "X-Roles"] {
                head.field(name, b"client").unwrap();
            }
            edits.apply(&mut head);
            head.finish();
            String::from_utf8(out.tail().clone()).unwrap().replace("\r\n", "|")
        };
        for name in ["X-Role", "x_role"] {
            let mut edits = Edits::default();
            edits.remove(name).unwrap();
            assert_eq!(head(&edits), "GET / HTTP/1.1|X_Other: client|X-Roles: client||");
            edits.set(name, "ours").unwrap();
            let expected = format!("GET / HTTP/1.1|X_Other: client|X-Roles: client|{name}: ours||");
            assert_eq!(head(&edits), expected);
        }
    }

    #[test]
    fn what_must_not_be_edited_is_refused() {
        let mut edits = Edits::default();
        for name in [
            "Connection",
            "content-length",
            "Transfer-Encoding",
            "HOST",
            "Date",
            "x-barium",
            "Upgrade",
            "content_length",
        ] {
            assert_eq!(edits.set(name, "a"), Err(EditError::Ours), "{name}");
            assert_eq!(edits.remove(name), Err(EditError::Ours), "{name}");
        }
        assert_eq!(edits.add("a b", "c"), Err(EditError::Encode(EncodeError::InvalidName)));
        assert_eq!(edits.remove(""), Err(EditError::Encode(EncodeError::InvalidName)));
        assert_eq!(edits.add("a", "b\r\nc: d"), Err(EditError::Encode(EncodeError::InvalidValue)));
        assert_eq!(edits.set("a", "{b}"), Err(EditError::Variable(UnknownVariable("b".into()))));
        assert!(edits.is_empty());
    }

    #[test]
    fn what_is_filled_in_cannot_add_a_line() {
        let mut edits = Edits::default();
        edits.set("x-subject", "{tls.subject}").unwrap();
        let facts = Facts { tls_subject: "CN=a\r\nx-admin: yes", ..Facts::default() };
        assert!(!edited(&edits, &facts).contains("x-admin"));
    }
}

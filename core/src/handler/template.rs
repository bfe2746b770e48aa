//! Values of fields with `{variables}` in them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::IpAddr;

/// What a variable stands for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Variable {
    /// The client's address.
    Client,
    /// The host that was asked for, with its port if the client sent one.
    Host,
    /// `X-Barium`.
    Id,
    /// `http` or `https`.
    Scheme,
    /// The SHA-256 of the client's certificate, in hexadecimal.
    TlsFingerprint,
    /// Who has issued the client's certificate.
    TlsIssuer,
    /// The serial number of the client's certificate, in hexadecimal.
    TlsSerial,
    /// Whom the client's certificate names.
    TlsSubject,
    /// The version of TLS.
    TlsVersion,
}

/// The names of all variables.
pub const VARIABLES: [(&str, Variable); 9] = [
    ("client", Variable::Client),
    ("host", Variable::Host),
    ("id", Variable::Id),
    ("scheme", Variable::Scheme),
    ("tls.fingerprint", Variable::TlsFingerprint),
    ("tls.issuer", Variable::TlsIssuer),
    ("tls.serial", Variable::TlsSerial),
    ("tls.subject", Variable::TlsSubject),
    ("tls.version", Variable::TlsVersion),
];

/// What is known of a request and its connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The client's address; none over a Unix socket.
    pub client: Option<IpAddr>,
    /// As the client sent it; empty if it did not.
    pub host: &'a str,
    /// `X-Barium`.
    pub id: &'a str,
    /// Whether the client speaks TLS, to us or to a gateway that we trust.
    pub is_secure: bool,
    /// See [`Variable::TlsFingerprint`]; empty if there is none, like the following.
    pub tls_fingerprint: &'a str,
    /// See [`Variable::TlsIssuer`].
    pub tls_issuer: &'a str,
    /// See [`Variable::TlsSerial`].
    pub tls_serial: &'a str,
    /// See [`Variable::TlsSubject`].
    pub tls_subject: &'a str,
    /// See [`Variable::TlsVersion`].
    pub tls_version: &'a str,
}

/// A text with variables in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Template(Box<[Part]>);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Part {
    Text(Box<str>),
    Variable(&'static str, Variable),
}

/// A name in braces that means nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownVariable(pub Box<str>);

impl Template {
    /// Reads a text. A brace that is followed by a lower-case letter begins a variable; `{{` is a brace; all else is
    /// text, so that JSON can be written as it is.
    ///
    /// # Errors
    /// There is no such variable.
    pub fn parse(text: &str) -> Result<Self, UnknownVariable> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            if after.starts_with(|c: char| c.is_ascii_lowercase()) {
                let (name, behind) = after.split_once('}').ok_or_else(|| UnknownVariable(after.into()))?;
                let known = VARIABLES.into_iter().find(|(known, _)| *known == name);
                let (name, variable) = known.ok_or_else(|| UnknownVariable(name.into()))?;
                if !literal.is_empty() {
                    parts.push(Part::Text(core::mem::take(&mut literal).into()));
                }
                parts.push(Part::Variable(name, variable));
                rest = behind;
            } else {
                literal.push('{');
                rest = after.strip_prefix('{').unwrap_or(after);
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Self(parts.into()))
    }

    /// The text, if it is the same for every request.
    pub fn as_fixed(&self) -> Option<&str> {
        match &*self.0 {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text for one request. Empty if all its variables are: then there is nothing to say.
    pub fn render(&self, facts: &Facts<'_>) -> String {
        let mut text = String::new();
        let mut says_something = self.as_fixed().is_some();
        for part in &self.0 {
            let before = text.len();
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Variable(_, Variable::Client) => {
                    if let Some(client) = facts.client {
                        let _ = write!(text, "{}", client.to_canonical());
                    }
                }
                Part::Variable(_, Variable::Host) => text.push_str(facts.host),
                Part::Variable(_, Variable::Id) => text.push_str(facts.id),
                Part::Variable(_, Variable::Scheme) => text.push_str(if facts.is_secure { "https" } else { "http" }),
                Part::Variable(_, Variable::TlsFingerprint) => text.push_str(facts.tls_fingerprint),
                Part::Variable(_, Variable::TlsIssuer) => text.push_str(facts.tls_issuer),
                Part::Variable(_, Variable::TlsSerial) => text.push_str(facts.tls_serial),
                Part::Variable(_, Variable::TlsSubject) => text.push_str(facts.tls_subject),
                Part::Variable(_, Variable::TlsVersion) => text.push_str(facts.tls_version),
            }
            says_something |= matches!(part, Part::Variable(..)) && text.len() > before;
        }
        if says_something { text } else { String::new() }
    }
}

impl fmt::Display for Template {
    /// As it was written, almost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Variable(name, _) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_other_braces_stay() {
        let facts = Facts {
            client: Some("::ffff:10.0.0.1".parse().unwrap()),
            host: "example.org:8080",
            id: "1-2",
            is_secure: true,
            ..Facts::default()
        };
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{client}", "10.0.0.1"),
            ("for={client};host=\"{host}\"; {id}", "for=10.0.0.1;host=\"example.org:8080\"; 1-2"),
            ("{scheme}://", "https://"),
            (r#"{"a":{"b":[{}]}}"#, r#"{"a":{"b":[{}]}}"#),
            ("{{client}", "{client}"),
            ("a{", "a{"),
            ("CN={tls.subject}", ""),
            ("{tls.subject}{id}", "1-2"),
        ] {
            assert_eq!(Template::parse(template).unwrap().render(&facts), expected, "{template}");
        }
        assert!(Template::parse("a {b").is_err());
        assert_eq!(Template::parse("{client} {clinet}"), Err(UnknownVariable("clinet".into())));
    }

    #[test]
    fn what_never_changes_is_known() {
        let fixed = |text| Template::parse(text).unwrap().as_fixed().is_some();
        assert!(fixed("") && fixed("a") && fixed("{{client}") && !fixed("{id}") && !fixed("a{id}"));
    }
}

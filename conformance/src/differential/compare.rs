//! Where two readings of the same bytes part.

use super::peers::Peer;
use super::reading::{Lines, Message, Reading};
use std::fmt;

/// The first thing that a peer read otherwise.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) peer: &'static str,
    pub(super) kind: Kind,
    pub(super) ours: String,
    pub(super) theirs: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// We refuse what they accept.
    RefusedByUs,
    /// They refuse what we accept.
    RefusedByThem,
    /// One of us closes the connection after a message, the other reads on.
    Persistence,
    /// The same bytes, and another message.
    Reading,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {}\n    ours   {:?}\n    theirs {:?}", self.kind, self.peer, self.ours, self.theirs)
    }
}

/// What differs first, if anything does.
pub(super) fn compare(peer: &Peer, ours: &Reading, theirs: &Reading) -> Option<Difference> {
    let differs = |kind, ours: String, theirs: String| Some(Difference { peer: peer.name, kind, ours, theirs });
    let pairs = ours.messages.iter().zip(&theirs.messages);
    if let Some((ours, theirs)) = pairs.filter_map(|(ours, theirs)| message(peer, ours, theirs)).next() {
        return differs(Kind::Reading, ours, theirs);
    }
    match (ours.messages.get(theirs.messages.len()), theirs.messages.get(ours.messages.len())) {
        (Some(more), _) => match theirs.error() {
            Some(error) => differs(Kind::RefusedByThem, shown(more), error.into()),
            None if theirs.is_closed() => differs(Kind::Persistence, shown(more), "closed".into()),
            None => differs(Kind::Reading, shown(more), "incomplete".into()),
        },
        (None, Some(more)) => match ours.error() {
            Some(error) => differs(Kind::RefusedByUs, error.into(), shown(more)),
            None if ours.is_closed() => differs(Kind::Persistence, "closed".into(), shown(more)),
            None => differs(Kind::Reading, "incomplete".into(), shown(more)),
        },
        (None, None) => match (ours.left, theirs.left) {
            (Some(left), Some(other)) if left != other && ours.error().is_none() && theirs.error().is_none() => {
                differs(Kind::Reading, format!("{left} bytes left"), format!("{other} bytes left"))
            }
            _ => None,
        },
    }
}

fn message(peer: &Peer, ours: &Message, theirs: &Message) -> Option<(String, String)> {
    let [our_start, their_start] = [ours, theirs].map(start);
    if our_start != their_start {
        return Some((format!("start {our_start:?}"), format!("start {their_start:?}")));
    }
    if let (Some(host), Some(other)) = (&ours.host, &theirs.host)
        && host != other
    {
        return Some((format!("host {host:?}"), format!("host {other:?}")));
    }
    let shows = |(name, _): &(String, String)| !peer.hides.contains(&name.as_str());
    // RFC 9110 §6.5.1: the others may be dropped.
    let trails = |(name, _): &(String, String)| name.starts_with("x-") && !name.starts_with("x-forwarded-");
    lines("field", &ours.fields, &theirs.fields, shows)
        .or_else(|| lines("trailer", &ours.trailers, &theirs.trailers, trails))
        .or_else(|| {
            let [our, their] = [&ours.content, &theirs.content].map(|content| format!("content {content:?}"));
            (our != their).then_some((our, their))
        })
}

/// RFC 9110 §5.3: the order of lines with different names means nothing.
fn lines(
    what: &str,
    ours: &Lines,
    theirs: &Lines,
    shows: impl Fn(&(String, String)) -> bool,
) -> Option<(String, String)> {
    let [ours, theirs] = [ours, theirs].map(|lines| {
        let mut lines: Lines = lines.iter().filter(|line| shows(line)).cloned().collect();
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in &mut lines {
            if name == "transfer-encoding" {
                // RFC 9112 §7: names of codings are compared without case.
                value.make_ascii_lowercase();
            }
        }
        lines
    });
    let at = (0..ours.len().max(theirs.len())).find(|&at| ours.get(at) != theirs.get(at))?;
    let shown = |lines: &Lines| match lines.get(at) {
        Some((name, value)) => format!("{what} {name}: {value:?}"),
        None => format!("no {what}"),
    };
    Some((shown(&ours), shown(&theirs)))
}

/// A first line as everybody should see it.
fn start(message: &Message) -> [String; 3] {
    let [first, second, version] = &message.start;
    // RFC 9110 §2.5: a minor version above 1 counts as 1.1.
    let version = if version == "1.0" { "1.0" } else { "1.1" };
    let is_response = first.len() == 3 && first.bytes().all(|byte| byte.is_ascii_digit());
    // RFC 9110 §15.1: the reason means nothing.
    let second = if is_response { String::new() } else { target(second) };
    [first.clone(), second, version.into()]
}

/// RFC 3986 §6.2.2.1, RFC 9110 §4.2.3: the case of a scheme means nothing, and no path is `/`.
fn target(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?'])) else {
        return text.into();
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if rest.starts_with('/') { "" } else { "/" };
    format!("{}://{authority}{slash}{rest}", scheme.to_ascii_lowercase())
}

fn shown(message: &Message) -> String {
    let fields = message.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>();
    format!("{} | {}", message.start.join(" "), fields.join(" | "))
}

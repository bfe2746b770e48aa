//! The differences that are known, and why they are as they are: `conformance/cases/differences.toml`.

use super::compare::{Difference, Kind};
use serde::Deserialize;
use std::fmt::Write;

/// The table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Classes {
    class: Vec<Class>,
    /// How often each was seen.
    #[serde(skip)]
    seen: Vec<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    name: String,
    /// Whose; everybody's if it is empty.
    #[serde(default)]
    peers: Vec<String>,
    kind: Kind,
    /// Whether it may be so in what brolly passes on, too.
    #[serde(default)]
    passed_on: bool,
    /// What we say contains one of these, if there are any; and what they say one of those.
    #[serde(default)]
    ours: Vec<String>,
    #[serde(default)]
    theirs: Vec<String>,
    verdict: Verdict,
    /// The section and the sentence of the RFC.
    why: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// We are, by design.
    Stricter,
    /// They are, or do not know something that the RFC has.
    Looser,
    /// They show the same thing in another way.
    Shown,
}

impl Classes {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut classes: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        classes.seen = vec![0; classes.class.len()];
        Ok(classes)
    }

    /// Counts a difference with its class; says whether it has one.
    pub(super) fn knows(&mut self, difference: &Difference, is_passed_on: bool) -> bool {
        let fits = |class: &Class| class.matches(difference) && (class.passed_on || !is_passed_on);
        let at = self.class.iter().position(fits);
        let seen = at.and_then(|at| self.seen.get_mut(at));
        seen.map(|seen| *seen += 1).is_some()
    }

    /// How often each class was seen.
    pub(super) fn report(&self) -> String {
        let mut text = String::from("| times | verdict | class | why |\n|---|---|---|---|\n");
        for (class, seen) in self.class.iter().zip(&self.seen) {
            let verdict = match class.verdict {
                Verdict::Stricter => "stricter by design",
                Verdict::Looser => "they are stricter",
                Verdict::Shown => "shown otherwise",
            };
            let _ = writeln!(text, "| {seen} | {verdict} | {} | {} |", class.name, class.why);
        }
        text
    }
}

impl Class {
    fn matches(&self, difference: &Difference) -> bool {
        let is_in = |part: &String, text: &str| match part.strip_suffix('$') {
            Some(end) => text.ends_with(end),
            None => text.contains(part),
        };
        let contains = |list: &[String], text: &str| list.is_empty() || list.iter().any(|part| is_in(part, text));
        self.kind == difference.kind
            && contains(&self.peers, difference.peer)
            && contains(&self.ours, &difference.ours)
            && contains(&self.theirs, &difference.theirs)
    }
}

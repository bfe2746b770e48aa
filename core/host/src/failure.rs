//! What went wrong, in one line for a person.

use std::fmt;

/// More names than these are no help in a sentence.
const LIST: usize = 16;

/// A sentence for stderr that says what to do instead. Leads to exit code 1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure(String);

impl Failure {
    /// A failure that says `message`, without a final full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// The one of `known` that somebody who wrote `written` probably meant, as the rest of a sentence.
pub(crate) fn did_you_mean(written: &str, known: &[&str]) -> String {
    let similarity = |name: &str| strsim::jaro_winkler(&written.to_lowercase(), name);
    let best = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    match best {
        Some(best) if similarity(best) > 0.75 => format!("; did you mean `{best}`?"),
        Some(_) if known.len() > LIST => "; `brolly check --defaults` shows what there is".into(),
        Some(_) | None => format!("; there is {}", list(known)),
    }
}

/// `a`, `b` and `c`.
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => "nothing".into(),
        [name] => format!("`{name}`"),
        [names @ .., last] => {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("{} and `{last}`", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_anything_else_gets_the_list() {
        let known = ["connections", "content_bytes", "idle_timeout"];
        assert_eq!(did_you_mean("idle-timeout", &known), "; did you mean `idle_timeout`?");
        assert_eq!(did_you_mean("conections", &known), "; did you mean `connections`?");
        assert_eq!(did_you_mean("xyzzy", &known), "; there is `connections`, `content_bytes` and `idle_timeout`");
        assert_eq!(did_you_mean("a", &[]), "; there is nothing");
    }
}

//! Whether a reaction is the one that was required.

use super::answer::{Answer, shown};
use super::{Allowed, End, Expected, Reaction, Row, Statuses};

/// How a server did in a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// As required.
    Passed,
    /// Otherwise, but as the RFC allows.
    Allowed(String),
    /// Wrong.
    Failed(String),
}

/// Compares what happened with what must.
pub fn judge(row: &Row, reaction: &Reaction) -> Verdict {
    let Err(why) = required(row, reaction) else { return Verdict::Passed };
    if is_allowed(row, reaction) { Verdict::Allowed(why) } else { Verdict::Failed(why) }
}

/// Whether it is one of the other reactions of the row; or, where a refusal is required, another refusal; or a clean end
/// of the connection, which a server may always announce.
fn is_allowed(row: &Row, reaction: &Reaction) -> bool {
    if reaction.wrong.is_some() || reaction.answers.iter().any(|answer| invariants(answer).is_err()) {
        return false;
    }
    let is_over = reaction.is_closed || reaction.is_kept == Some(false) || says_close(reaction);
    let ends = |wanted: End| match wanted {
        End::Close => is_over,
        End::Keep => reaction.is_kept != Some(false) && !reaction.is_closed || says_close(reaction),
        End::Either => true,
        End::Silence => end(End::Silence, reaction).is_ok(),
    };
    let expected: Vec<_> = row.expected().map(|expected| expected.statuses.clone()).collect();
    let other = |allowed: &Allowed| statuses(&allowed.statuses, reaction).is_ok() && ends(allowed.end);
    let is_refusal = |wanted: &Vec<Statuses>| {
        wanted.iter().all(|one| matches!(one, Statuses::One(400..) | Statuses::Class(4..) | Statuses::None))
    };
    let refused = |wanted: &[Vec<Statuses>]| {
        let mut wanted = wanted.to_vec();
        let is_due = wanted.pop_if(|last| is_refusal(last)).is_some();
        wanted.push(vec![Statuses::Class(4), Statuses::Class(5), Statuses::None]);
        is_due && is_over && statuses(&wanted, reaction).is_ok()
    };
    row.allowed.iter().any(other)
        || (statuses(&expected, reaction).is_ok() && ends(row.end) && details_fit(row, reaction).is_ok())
        || (row.end == End::Close && refused(&expected))
}

fn says_close(reaction: &Reaction) -> bool {
    let last = reaction.answers.last().and_then(|answer| answer.field("connection"));
    last.is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

fn required(row: &Row, reaction: &Reaction) -> Result<(), String> {
    if let Some(wrong) = &reaction.wrong {
        return Err(format!("{} came with {wrong}", summary(reaction)));
    }
    let wanted: Vec<_> = row.expected().map(|expected| expected.statuses.clone()).collect();
    statuses(&wanted, reaction)?;
    details_fit(row, reaction)?;
    for answer in &reaction.answers {
        invariants(answer).map_err(|why| format!("{} {why}", answer.status))?;
    }
    end(row.end, reaction)
}

fn details_fit(row: &Row, reaction: &Reaction) -> Result<(), String> {
    let pairs = reaction.answers.iter().zip(row.expected());
    pairs
        .into_iter()
        .try_for_each(|(answer, expected)| details(answer, expected).map_err(|why| format!("{} {why}", answer.status)))
}

fn statuses(wanted: &[Vec<Statuses>], reaction: &Reaction) -> Result<(), String> {
    let unanswered = wanted.iter().take_while(|one| !one.contains(&Statuses::None)).count();
    let got = &reaction.answers;
    let fits = |wanted: &[Statuses], status: u16| {
        wanted.iter().any(|wanted| match wanted {
            Statuses::One(one) => *one == status,
            Statuses::Class(class) => status / 100 == *class,
            Statuses::None => false,
        })
    };
    let is_complete = got.len() == wanted.len() || (got.len() == unanswered && reaction.is_closed);
    let all_fit = got.iter().zip(wanted).all(|(answer, wanted)| fits(wanted, answer.status));
    if is_complete && all_fit && got.len() <= wanted.len() {
        Ok(())
    } else {
        Err(format!("{} came", summary(reaction)))
    }
}

fn end(wanted: End, reaction: &Reaction) -> Result<(), String> {
    match wanted {
        End::Close if !reaction.is_closed => Err(format!("{} came, and the connection stayed open", summary(reaction))),
        End::Keep if reaction.is_kept == Some(false) => {
            Err(format!("{} came, and the next request was not answered", summary(reaction)))
        }
        // Not asked: it was closed, or judged by another wish.
        End::Keep if reaction.is_kept.is_none() && reaction.is_closed => {
            Err(format!("{} came, and the connection was closed", summary(reaction)))
        }
        End::Silence if reaction.is_closed => Err("the connection was closed".into()),
        End::Close | End::Either | End::Keep | End::Silence => Ok(()),
    }
}

fn details(answer: &Answer, expected: &Expected) -> Result<(), String> {
    for (name, value) in &expected.has {
        match (answer.field(name), value) {
            (None, _) => return Err(format!("has no {name}")),
            (Some(found), Some(value)) if !found.eq_ignore_ascii_case(value) => {
                return Err(format!("has {name}: {found}, not {value}"));
            }
            (Some(_), _) => {}
        }
    }
    if let Some(name) = expected.lacks.iter().find(|name| answer.field(name).is_some()) {
        return Err(format!("has {name}"));
    }
    match &expected.content {
        Some(content) if *content != answer.content => Err(format!("has the content \"{}\"", shown(&answer.content))),
        Some(_) | None => Ok(()),
    }
}

/// What RFC 9110 and 9112 demand of every answer.
fn invariants(answer: &Answer) -> Result<(), String> {
    let needs = |status: u16, name: &str| answer.status == status && answer.field(name).is_none();
    if !matches!(&answer.version[..], "HTTP/1.1" | "HTTP/1.0") {
        return Err(format!("begins with {}", answer.version));
    }
    // RFC 9110 §15.5.6, §15.5.2, §15.5.22, §15.3.7.
    for (status, name) in [(405, "allow"), (401, "www-authenticate"), (426, "upgrade"), (206, "content-range")] {
        if needs(status, name) && !(status == 206 && answer.field("content-type").is_some()) {
            return Err(format!("without {name}"));
        }
    }
    // §8.6, RFC 9112 §6.1: no length and no coding where no content can be.
    if answer.is_interim() || answer.status == 204 {
        for name in ["content-length", "transfer-encoding"] {
            if answer.field(name).is_some() {
                return Err(format!("with {name}"));
            }
        }
    }
    // §5.6.7: IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`.
    match answer.field("date") {
        Some(date) if date.len() != 29 || !date.ends_with(" GMT") => Err(format!("with date: {date}")),
        Some(_) | None => Ok(()),
    }
}

fn summary(reaction: &Reaction) -> String {
    let statuses: Vec<_> = reaction.answers.iter().map(|answer| answer.status.to_string()).collect();
    match (statuses.len(), reaction.is_closed) {
        (0, true) => "no answer but the end".into(),
        (0, false) => "nothing".into(),
        (1..=8, _) => statuses.join(", "),
        (count, _) => format!("{count} answers"),
    }
}

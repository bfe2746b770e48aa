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
    let other = |allowed: &Allowed| {
        reaction.wrong.is_none()
            && statuses(&allowed.statuses, reaction).is_ok()
            && end(allowed.end, reaction).is_ok()
            && reaction.answers.iter().all(|answer| invariants(answer).is_ok())
    };
    if row.allowed.iter().any(other) { Verdict::Allowed(why) } else { Verdict::Failed(why) }
}

fn required(row: &Row, reaction: &Reaction) -> Result<(), String> {
    if let Some(wrong) = &reaction.wrong {
        return Err(format!("{} came with {wrong}", summary(reaction)));
    }
    let expected: Vec<&Expected> = row.expected().collect();
    let wanted: Vec<_> = expected.iter().map(|expected| expected.statuses.clone()).collect();
    statuses(&wanted, reaction)?;
    for (answer, expected) in reaction.answers.iter().zip(&expected) {
        details(answer, expected).map_err(|why| format!("{} {why}", answer.status))?;
    }
    for answer in &reaction.answers {
        invariants(answer).map_err(|why| format!("{} {why}", answer.status))?;
    }
    end(row.end, reaction)
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
    // RFC 9110 §8.6, RFC 9112 §6.1: no length and no coding where no content can be.
    if answer.is_interim() || answer.status == 204 {
        for name in ["content-length", "transfer-encoding"] {
            if answer.field(name).is_some() {
                return Err(format!("with {name}"));
            }
        }
    }
    // RFC 9110 §6.6.1: an origin server with a clock MUST, in 2xx, 3xx and 4xx.
    match answer.field("date") {
        None if matches!(answer.status, 200..=499) => Err("without date".into()),
        // §5.6.7: IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`.
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

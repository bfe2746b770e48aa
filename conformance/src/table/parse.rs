//! The lines of a group's file.

use super::{Allowed, End, Expected, Only, Row, Statuses, Step};

type Failure = (usize, String);

/// The title and the rows; or the line that is wrong, and why.
pub(super) fn group(text: &str) -> Result<(String, Vec<Row>), Failure> {
    let mut title = None;
    let mut rows: Vec<Row> = Vec::new();
    let mut sentence = None;
    for (at, line) in text.lines().enumerate() {
        let failed = |why: String| (at + 1, why);
        if let Some(comment) = line.strip_prefix('#') {
            title.get_or_insert_with(|| comment.trim().to_owned());
        } else if let Some(rfc) = line.strip_prefix("@ ") {
            sentence = Some(rfc.to_owned());
        } else if let Some(head) = line.strip_prefix("== ") {
            let (id, about) = head.split_once(": ").ok_or_else(|| failed("a row begins with == ID: TITLE".into()))?;
            let rfc = sentence.clone().ok_or_else(|| failed("no @ says which sentence this is about".into()))?;
            rows.push(Row { id: id.into(), title: about.into(), rfc, ..Row::default() });
        } else if !line.is_empty() {
            let row = rows.last_mut().ok_or_else(|| failed("no row has begun".into()))?;
            row_line(row, line).map_err(failed)?;
        }
    }
    match title {
        Some(title) => Ok((title, rows)),
        None => Err((1, "the file begins with # TITLE".into())),
    }
}

fn row_line(row: &mut Row, line: &str) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "covers" => row.covers.push(rest.into()),
        "why" => row.why = Some(rest.into()),
        "only" => {
            row.only = match rest {
                "brolly" => Only::Brolly,
                "plain" => Only::Plain,
                "tls" => Only::Tls,
                _ => return Err(format!("nobody is called `{rest}`")),
            }
        }
        ">" => send(row, &[&bytes(rest)?[..], b"\r\n"].concat()),
        ">>" => send(row, &bytes(rest)?),
        "..." => row.steps.push(Step::Pause),
        "half-close" => row.steps.push(Step::HalfClose),
        "<" => answers(row, rest)?,
        "~" => row.allowed.push(allowed(rest)?),
        "" => detail(row, rest.trim_start())?,
        _ => return Err(format!("`{word}` means nothing here")),
    }
    Ok(())
}

fn send(row: &mut Row, bytes: &[u8]) {
    match row.steps.last_mut() {
        Some(Step::Send(sent)) => sent.extend_from_slice(bytes),
        _ => row.steps.push(Step::Send(bytes.into())),
    }
}

fn answers(row: &mut Row, text: &str) -> Result<(), String> {
    let mut expected = Expected::default();
    let mut times = 1;
    row.end = End::Either;
    for word in text.split_whitespace() {
        if let Some(number) = word.strip_prefix('*') {
            times = number.parse().map_err(|_| format!("`{word}` is not a number"))?;
        } else if word == "head" {
            expected.is_head = true;
        } else if let Some(end) = end(word) {
            row.end = end;
        } else {
            expected.statuses = statuses(word)?;
        }
    }
    if row.end == End::Silence {
        return Ok(());
    }
    // `< close` alone: the connection ends without an answer.
    if !expected.statuses.is_empty() {
        row.steps.extend(std::iter::repeat_n(Step::Answer(expected), times));
    } else if row.end != End::Close {
        return Err("an answer needs a status".into());
    }
    Ok(())
}

fn allowed(text: &str) -> Result<Allowed, String> {
    let mut allowed = Allowed { statuses: Vec::new(), end: End::Either };
    for word in text.split_whitespace() {
        match end(word) {
            Some(end) => allowed.end = end,
            None => allowed.statuses.push(statuses(word)?),
        }
    }
    Ok(allowed)
}

fn end(word: &str) -> Option<End> {
    Some(match word {
        "close" => End::Close,
        "keep" => End::Keep,
        "either" => End::Either,
        "silence" => End::Silence,
        _ => return None,
    })
}

fn statuses(text: &str) -> Result<Vec<Statuses>, String> {
    let one = |text: &str| match text.strip_suffix("xx") {
        Some(class) => class.parse().map(Statuses::Class),
        None if text == "none" => Ok(Statuses::None),
        None => text.parse().map(Statuses::One),
    };
    text.split('|').map(|text| one(text).map_err(|_| format!("`{text}` is not a status"))).collect()
}

/// A line below an answer.
fn detail(row: &mut Row, line: &str) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let Some(Step::Answer(expected)) = row.steps.last_mut() else { return Err("this belongs below an answer".into()) };
    match word {
        "has" => expected.has.push(match rest.split_once(": ") {
            Some((name, value)) => (name.into(), Some(value.into())),
            None => (rest.into(), None),
        }),
        "lacks" => expected.lacks.push(rest.into()),
        "content" => expected.content = Some(bytes(rest)?),
        _ => return Err(format!("`{word}` means nothing below an answer")),
    }
    Ok(())
}

/// What a text stands for.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' => rest = escape(rest, &mut bytes)?,
            '{' if repeated(rest).is_some() => {
                let (part, times, after) = repeated(rest).unwrap_or_default();
                bytes.extend(self::bytes(part)?.repeat(times));
                rest = after;
            }
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes)
}

/// What follows a backslash; gives the rest.
fn escape<'t>(text: &'t str, bytes: &mut Vec<u8>) -> Result<&'t str, String> {
    let byte = match text.chars().next() {
        Some('r') => b'\r',
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('s') => b' ',
        Some('\\') => b'\\',
        Some('{') => b'{',
        Some('x') => {
            let digits = text.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(digits.ok_or("\\x wants two digits")?);
            return Ok(&text[3..]);
        }
        _ => return Err("an unknown escape".into()),
    };
    bytes.push(byte);
    Ok(&text[1..])
}

/// `part*times}` and what follows; nothing if it is something else.
fn repeated(text: &str) -> Option<(&str, usize, &str)> {
    let (inside, after) = text.split_once('}')?;
    let (part, times) = inside.rsplit_once('*')?;
    Some((part, times.parse().ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read() {
        let text = "# Title\n\n@ 9112 §1: \"x\"\n== a: b: c\n> GET / HTTP/1.1\n>> \\x00{ab*2}\\s\n...\nhalf-close\n< 100\n\
                    >> z\n< 200|4xx *2 head keep\n  has a: b\n  has c\n  lacks d\n  content x\\n\n~ 200 200 close\n";
        let (title, rows) = group(text).unwrap();
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((&title[..], &row.id[..], &row.title[..], row.end), ("Title", "a", "b: c", End::Keep));
        assert_eq!(row.steps[0], Step::Send(b"GET / HTTP/1.1\r\n\0abab ".into()));
        assert_eq!(row.steps[1..3], [Step::Pause, Step::HalfClose]);
        let expected: Vec<_> = row.expected().collect();
        assert_eq!(expected.len(), 3);
        assert_eq!(expected[1].statuses, [Statuses::One(200), Statuses::Class(4)]);
        assert_eq!(expected[2].has, [("a".into(), Some("b".into())), ("c".into(), None)]);
        assert_eq!(expected[2].content.as_deref(), Some(&b"x\n"[..]));
        assert_eq!(row.allowed[0].statuses.len(), 2);
    }

    #[test]
    fn mistakes_have_a_line() {
        assert_eq!(group("# T\n@ x\n== a: b\n< 2000x close\n").unwrap_err().0, 4);
        assert_eq!(group("# T\n> x\n").unwrap_err().0, 2);
        assert_eq!(group("# T\n@ x\n== a: b\n>> \\q\n").unwrap_err().0, 4);
    }
}

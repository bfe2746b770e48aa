//! A second reading of requests: slow, obvious, and sharing nothing with the decoder. It knows no limits and few
//! errors, because it only reads what was accepted.

use crate::driver::{Event, Lines};
use brolly_core::http1::{Framing, Version};

/// The first request in `input`, and what follows it.
pub(crate) fn request(mut input: &[u8]) -> Option<(Vec<Event>, &[u8])> {
    while let Some(rest) = input.strip_prefix(b"\r\n") {
        input = rest;
    }
    let (start, rest) = line(input)?;
    let start = std::str::from_utf8(start).ok()?;
    let [method, target, version] = start.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let version = if version == "HTTP/1.0" { Version::Http10 } else { Version::Http11 };
    let target = match target.split_once("://") {
        Some((_, after)) if !target.starts_with('/') => &after[after.find(['/', '?']).unwrap_or(after.len())..],
        _ => target,
    };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_string())));
    let path = match path {
        _ if method == "CONNECT" => "",
        "" if method == "OPTIONS" && query.is_none() => "*",
        "" => "/",
        path => path,
    };
    let (fields, mut rest) = fields(rest)?;

    let values =
        |wanted: &str| fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect();
    let lengths: Vec<Vec<u8>> = values("content-length");
    let codings: Vec<Vec<u8>> = values("transfer-encoding");
    let framing = match (&lengths[..], &codings[..]) {
        ([], []) => Framing::Empty,
        ([length], []) => Framing::Length(std::str::from_utf8(length).ok()?.parse().ok()?),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        _ => return None,
    };
    let (path, method) = (path.to_string(), method.to_string());
    let mut events = vec![Event::Request { method, path, query, version, fields, framing }];
    let mut content = Vec::new();
    let mut trailers = None;
    match framing {
        Framing::Length(length) => {
            let (taken, after) = rest.split_at_checked(length as usize)?;
            content.extend(taken);
            rest = after;
        }
        Framing::Chunked => loop {
            let (size, after) = line(rest)?;
            let digits = size.split(|byte| b"; \t".contains(byte)).next()?;
            let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            if size == 0 {
                let (lines, after) = self::fields(after)?;
                trailers = trusted(lines);
                rest = after;
                break;
            }
            let (taken, after) = after.split_at_checked(size)?;
            content.extend(taken);
            rest = after.strip_prefix(b"\r\n")?;
        },
        Framing::Empty | Framing::UntilClose => {}
    }
    if !content.is_empty() {
        events.push(Event::Content(content));
    }
    events.push(Event::End(trailers));
    Some((events, rest))
}

/// The trailers that everybody keeps.
pub(crate) fn trusted(mut trailers: Lines) -> Option<Lines> {
    trailers.retain(|(name, _)| name.starts_with("x-"));
    Some(trailers).filter(|trailers| !trailers.is_empty())
}

fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&input[..end], &input[end + 2..]))
}

fn fields(mut input: &[u8]) -> Option<(Lines, &[u8])> {
    let mut fields = Vec::new();
    loop {
        let (line, rest) = line(input)?;
        input = rest;
        if line.is_empty() {
            return Some((fields, input));
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?.to_ascii_lowercase();
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let leading = line[colon + 1..].iter().take_while(is_space).count();
        let value = &line[colon + 1 + leading..];
        let trailing = value.iter().rev().take_while(is_space).count();
        fields.push((name, value[..value.len() - trailing].to_vec()));
    }
}

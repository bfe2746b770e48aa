//! What errors look like: files that were read at the start, by status.

use crate::http1::StatusCode;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// The content of an answer. `{status}` and `{id}` in it are filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// `Content-Type`.
    pub content_type: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(Bytes),
    Status,
    Id,
}

/// Pages by status.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pages(Vec<(Which, Page)>);

/// Which errors a page is for. The order is that in which they are tried.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Which {
    /// This one.
    Status(StatusCode),
    /// All that begin with this digit: `5xx`.
    Class(u8),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Class(digit) => write!(f, "{digit}xx"),
        }
    }
}

impl Page {
    /// A page of a file's content.
    pub fn new(content_type: &str, content: &Bytes) -> Self {
        let (mut parts, mut rest) = (Vec::new(), content.clone());
        let find = |text: &Bytes, name: &[u8]| text.windows(name.len()).position(|window| window == name);
        loop {
            let variables = [(&b"{status}"[..], Part::Status), (&b"{id}"[..], Part::Id)];
            let found = variables.map(|(name, part)| find(&rest, name).map(|at| (at, name.len(), part)));
            let Some((at, length, part)) = found.into_iter().flatten().min_by_key(|(at, ..)| *at) else { break };
            let text = rest.split_to(at);
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
            parts.push(part);
            let _ = rest.split_to(length);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest));
        }
        Self { content_type: content_type.into(), parts: parts.into() }
    }

    /// The content for one answer; shared if it is always the same.
    pub fn render(&self, status: StatusCode, id: &str) -> Bytes {
        match &*self.parts {
            [] => Bytes::new(),
            [Part::Text(text)] => text.clone(),
            parts => {
                let mut content = Vec::new();
                for part in parts {
                    match part {
                        Part::Text(text) => content.extend_from_slice(text),
                        Part::Status => content.extend_from_slice(&status.digits()),
                        Part::Id => content.extend_from_slice(id.as_bytes()),
                    }
                }
                content.into()
            }
        }
    }
}

impl Pages {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a page.
    pub fn add(&mut self, which: Which, page: Page) {
        self.0.push((which, page));
        self.0.sort_by_key(|(which, _)| *which);
    }

    /// The page for a status: its own, or that of its class.
    pub fn find(&self, status: StatusCode) -> Option<&Page> {
        let is_for = |which: &Which| match which {
            Which::Status(of) => *of == status,
            Which::Class(digit) => u16::from(*digit) == status.as_u16() / 100,
        };
        self.0.iter().find(|(which, _)| is_for(which)).map(|(_, page)| page)
    }

    /// What there are pages for.
    pub fn iter(&self) -> impl Iterator<Item = Which> {
        self.0.iter().map(|(which, _)| *which)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_status_and_id_where_it_wants() {
        let render = |text: &'static str| Page::new("text/html", &text.into()).render(StatusCode::NOT_FOUND, "1-2");
        for (text, expected) in [
            ("", ""),
            ("<p>gone", "<p>gone"),
            ("{status}: quote {id}{id}.", "404: quote 1-21-2."),
            ("{id}{status}", "1-2404"),
            ("body{color:red} {status", "body{color:red} {status"),
        ] {
            assert_eq!(render(text), expected);
        }
    }

    #[test]
    fn the_page_of_a_status_comes_before_that_of_its_class() {
        let mut pages = Pages::default();
        for (which, text) in [
            (Which::Class(5), "5xx"),
            (Which::Status(StatusCode::BAD_GATEWAY), "502"),
            (Which::Status(StatusCode::NOT_FOUND), "404"),
        ] {
            pages.add(which, Page::new("text/plain", &text.into()));
        }
        let find = |status: u16| {
            let status = StatusCode::new(status).unwrap();
            pages.find(status).map(|page| page.render(status, ""))
        };
        assert_eq!(find(502).unwrap(), "502");
        assert_eq!(find(503).unwrap(), "5xx");
        assert_eq!(find(404).unwrap(), "404");
        assert_eq!(find(403), None);
    }
}

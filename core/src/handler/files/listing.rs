//! A directory as a page.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// What is in a directory.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listing {
    /// In any order.
    pub entries: Vec<Entry>,
    /// Whether there are more.
    pub is_cut: bool,
}

/// One file or directory.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Entry {
    /// Whether it is a regular file; a directory otherwise.
    pub is_file: bool,
    /// One segment of a path.
    pub name: Box<str>,
    /// Bytes of a file.
    pub len: u64,
}

/// An HTML page for the directory at `path`: directories first, then by name. Links are relative, so that they hold
/// wherever the directory is mounted.
pub fn page(path: &str, mut listing: Listing) -> String {
    listing.entries.sort_unstable();
    let title = escaped(path);
    let mut page = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<h1>{title}</h1>\n<ul>\n"
    );
    if !path.trim_matches('/').is_empty() {
        page.push_str("<li><a href=\"../\">../</a>\n");
    }
    for Entry { is_file, name, len } in &listing.entries {
        let (slash, size) = if *is_file { ("", format!(" {len}")) } else { ("/", String::new()) };
        let (link, name) = (encoded(name), escaped(name));
        // `./`: a colon in the name must not make a scheme of what is before it (RFC 3986 §4.2).
        let _ = writeln!(page, "<li><a href=\"./{link}{slash}\">{name}{slash}</a>{size}");
    }
    page.push_str("</ul>\n");
    if listing.is_cut {
        page.push_str("<p>There is more than this page shows.\n");
    }
    page
}

/// For text and attribute values of HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A segment of a path, with everything escaped but the unreserved characters (RFC 3986 §2.3).
fn encoded(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            byte => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn entry(name: &str, is_file: bool) -> Entry {
        Entry { is_file, name: name.into(), len: 5 }
    }

    #[test]
    fn directories_come_first_and_nothing_is_code() {
        let entries =
            vec![entry("b", true), entry("a&\"<script>'", true), entry("z", false), entry("javascript:x", true)];
        let page = page("/x/<y>/", Listing { entries, is_cut: true });
        assert!(page.contains("<h1>/x/&lt;y&gt;/</h1>") && page.contains("<p>There is more"));
        let items: Vec<_> = page.lines().filter(|line| line.starts_with("<li>")).collect();
        assert_eq!(
            items,
            [
                "<li><a href=\"../\">../</a>",
                "<li><a href=\"./z/\">z/</a>",
                "<li><a href=\"./a%26%22%3Cscript%3E%27\">a&amp;&quot;&lt;script&gt;&#39;</a> 5",
                "<li><a href=\"./b\">b</a> 5",
                "<li><a href=\"./javascript%3Ax\">javascript:x</a> 5",
            ]
        );
        assert!(!super::page("/", Listing::default()).contains("../"));
    }

    #[test]
    fn links_lead_back_to_the_name() {
        for name in ["ü %2f?#", "a+b", "..a", "\u{1f302}", "a;b=c&d"] {
            let path = format!("/{}", encoded(name));
            let mut out = String::new();
            crate::http1::normalise(&path, &mut out).unwrap();
            assert_eq!(out, format!("/{name}"));
        }
    }
}

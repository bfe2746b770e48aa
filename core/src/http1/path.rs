//! What the path of a target means: decoded once, never leaving its root (RFC 3986 §2.1, §5.2.4).

use super::StatusCode;
use super::grammar::hex;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::str;

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum PathError {
    /// `..` leads above the root.
    AboveRoot,
    /// A `%` without two hex digits after it.
    BadEscape,
    /// A control character, in particular NUL, in any spelling.
    Control,
    /// The path does not begin with `/`.
    NotAbsolute,
    /// What was decoded is not UTF-8.
    NotUtf8,
    /// A backslash, or an encoded slash or backslash: one system's name is another one's separator.
    Separator,
}

impl PathError {
    /// What to answer.
    pub const fn status(self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AboveRoot => "path leads above the root",
            Self::BadEscape => "malformed percent-encoding in path",
            Self::Control => "control character in path",
            Self::NotAbsolute => "path does not begin with a slash",
            Self::NotUtf8 => "path is not UTF-8",
            Self::Separator => "encoded slash, or backslash, in path",
        })
    }
}

impl Error for PathError {}

/// Writes the file path that `path` means into `out`, replacing what was there: percent-decoded once, `.` and `..`
/// resolved, slashes collapsed. It begins with `/`, has no `.`, `..` or empty segment, and ends with `/` if `path`
/// names a directory (also by `.` or `..`). On an error `out` is of no use.
pub fn normalise(path: &str, out: &mut String) -> Result<(), PathError> {
    out.clear();
    out.push('/');
    let mut segments = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let segment = decode_segment(segment)?;
        if segment.contains(['/', '\\']) {
            return Err(PathError::Separator);
        }
        // Dot segments count in any spelling (`%2e%2e`), because file systems see the decoded one.
        match &*segment {
            "" | "." => {}
            ".." => {
                let parent = out.strip_suffix('/').and_then(|out| out.rfind('/')).ok_or(PathError::AboveRoot)?;
                out.truncate(parent + 1);
            }
            name => {
                out.push_str(name);
                if !is_last {
                    out.push('/');
                }
            }
        }
    }
    Ok(())
}

/// Percent-decodes one segment, for a parameter in a route: a `%2F` in it is data.
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, PathError> {
    let decoded = decode(segment.as_bytes(), Plus::Literal).ok_or(PathError::BadEscape)?;
    if decoded.iter().any(u8::is_ascii_control) {
        return Err(PathError::Control);
    }
    match decoded {
        Cow::Borrowed(_) => Ok(Cow::Borrowed(segment)),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| PathError::NotUtf8),
    }
}

/// The two readings of a path with encoded slashes or backslashes, decoded: as data, where such a segment stays as it is, and
/// as separators. Dot segments are not resolved.
pub fn readings(path: &str) -> Result<[String; 2], PathError> {
    let (mut data, mut split) = (String::new(), String::new());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let decoded = decode_segment(segment)?;
        data.push('/');
        data.push_str(if decoded.contains(['/', '\\']) { segment } else { &decoded });
        for part in decoded.split(['/', '\\']).filter(|part| !part.is_empty()) {
            split.push('/');
            split.push_str(part);
        }
    }
    Ok([data, split])
}

/// Whether a segment of `path` is `.` or `..` in any spelling, or might be because an escape is malformed: a path that
/// is routed by its prefix and passed on as it is could mean something else to the next hop.
pub fn has_dot_segment(path: &str) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b'/' | b'\\');
    decode(path.as_bytes(), Plus::Literal)
        .is_none_or(|path| path.split(is_separator).any(|segment| matches!(segment, b"." | b"..")))
}

/// What `+` means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plus {
    Literal,
    Space,
}

/// Percent-decodes; `None` if two hex digits are missing after a `%`.
pub(super) fn decode(text: &[u8], plus: Plus) -> Option<Cow<'_, [u8]>> {
    let is_special = |&byte: &u8| byte == b'%' || (byte == b'+' && plus == Plus::Space);
    let Some((plain, mut rest)) = text.iter().position(is_special).and_then(|at| text.split_at_checked(at)) else {
        return Some(Cow::Borrowed(text));
    };
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    while let [byte, after @ ..] = rest {
        rest = after;
        decoded.push(match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else { return None };
                rest = after;
                hex(*high)? << 4 | hex(*low)?
            }
            b'+' if plus == Plus::Space => b' ',
            other => *other,
        });
    }
    Some(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(path: &str) -> Result<String, PathError> {
        let mut out = String::from("old");
        normalise(path, &mut out).map(|()| out)
    }

    #[test]
    fn paths_are_resolved_below_the_root() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("//a///b", "/a/b"),
            ("/./a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/%2e%2E/%2e/c", "/a/c"),
            ("/a/../b/..", "/"),
            ("/...", "/..."),
            ("/..a/.b", "/..a/.b"),
            ("/%C3%a4%20+b", "/ä +b"),
            ("/a%252fb%25", "/a%2fb%"),
        ] {
            assert_eq!(normalised(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_could_mean_another_file_is_refused() {
        for (path, error) in [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/..", PathError::AboveRoot),
            ("/a/../..", PathError::AboveRoot),
            ("/a/../../a", PathError::AboveRoot),
            ("/%2e./a", PathError::AboveRoot),
            ("/a//../../..", PathError::AboveRoot),
            ("/a%2fb", PathError::Separator),
            ("/..%2Fa", PathError::Separator),
            ("/..\\a", PathError::Separator),
            ("/a%5cb", PathError::Separator),
            ("/a%00", PathError::Control),
            ("/a%0ab", PathError::Control),
            ("/a%7f", PathError::Control),
            ("/%", PathError::BadEscape),
            ("/%2", PathError::BadEscape),
            ("/%2/", PathError::BadEscape),
            ("/%2g", PathError::BadEscape),
            ("/%+1", PathError::BadEscape),
            ("/%u0041", PathError::BadEscape),
            ("/%ff", PathError::NotUtf8),
            ("/%c0%af", PathError::NotUtf8),
        ] {
            assert_eq!(normalised(path), Err(error), "{path}");
        }
    }

    #[test]
    fn dot_segments_are_found_in_any_spelling() {
        for path in ["/.", "/..", "/a/../b", "/a/%2e%2E", "/.%2e/", "/a/%2E", "/a\\..\\b", "/a%2f..%5Cb", "/%"] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in ["/", "//", "/a.b", "/...", "/.a", "/%2e%2e%2e", "/a/..b", "/%252e"] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}

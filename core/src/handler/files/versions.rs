//! Files by version: the query says which, and a build has put it where it belongs.

use super::Files;
use crate::http1::query_pairs;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `/img/x.jpg?v=deadbeef` is `de/adbeef-x.jpg` below a root of its own, and never changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Versions {
    /// Where they are, and how they are served.
    pub files: Arc<Files>,
    /// The parameter of the query.
    pub parameter: Box<str>,
    /// How many characters of a version the name of each directory has, and the last the file's; together its length.
    pub split: Vec<usize>,
    /// When the file without a version stands for it.
    pub fallback: Fallback,
}

/// When the file without a version stands for the one with it: each includes those above it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Fallback {
    /// Never: nothing is there.
    #[default]
    Never,
    /// If none is asked for.
    NoVersion,
    /// If what is asked for cannot be a version.
    BadVersion,
    /// If the version is not there.
    NoFile,
}

impl Versions {
    /// Where the version of the file at `path` is that the query asks for, below the root with its leading slash.
    ///
    /// # Errors
    /// None is asked for, or what is asked for is none.
    pub fn find(&self, query: Option<&str>, path: &str) -> Result<String, Fallback> {
        let mut pairs = query_pairs(query.unwrap_or_default()).flatten();
        let Some((_, version)) = pairs.find(|(name, _)| *name == *self.parameter) else {
            return Err(Fallback::NoVersion);
        };
        let is_version = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        let name = path.rsplit('/').next().filter(|name| !name.is_empty()).ok_or(Fallback::BadVersion)?;
        if version.len() != self.split.iter().sum::<usize>() || !version.bytes().all(is_version) {
            return Err(Fallback::BadVersion);
        }
        let (mut found, mut rest) = (String::new(), &*version);
        for length in &self.split {
            let Some((part, after)) = rest.split_at_checked(*length) else { return Err(Fallback::BadVersion) };
            found.push('/');
            found.push_str(part);
            rest = after;
        }
        found.push('-');
        found.push_str(name);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_where_its_file_is() {
        let versions = Versions {
            files: Files::new("/hashed").into(),
            parameter: "r".into(),
            split: [2, 6].into(),
            fallback: Fallback::Never,
        };
        for (query, path, found) in [
            (Some("r=deadbeef"), "/img/x.jpg", Ok("/de/adbeef-x.jpg")),
            (Some("a=b&r=0123456z&r=x"), "/x", Ok("/01/23456z-x")),
            (Some("r=deadbeef"), "/img/", Err(Fallback::BadVersion)),
            (Some("r=deadbee"), "/x", Err(Fallback::BadVersion)),
            (Some("r=deadbeef0"), "/x", Err(Fallback::BadVersion)),
            (Some("r=DEADBEEF"), "/x", Err(Fallback::BadVersion)),
            (Some("r=../../ab"), "/x", Err(Fallback::BadVersion)),
            (Some("r=%2e%2e%2fabcde"), "/x", Err(Fallback::BadVersion)),
            (Some("r=d\u{e9}adbee"), "/x", Err(Fallback::BadVersion)),
            (Some("r="), "/x", Err(Fallback::BadVersion)),
            (Some("v=deadbeef&%"), "/x", Err(Fallback::NoVersion)),
            (None, "/x", Err(Fallback::NoVersion)),
        ] {
            assert_eq!(versions.find(query, path), found.map(Into::into), "{query:?} {path}");
        }
    }
}

//! How files below a directory are served.

use super::{Coding, Versions};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A directory that is served, or a single file of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// The directory, absolute.
    pub root: Arc<str>,
    /// What a path ending in `/` stands for: the first of these that is there. Empty: nothing.
    pub index: Vec<Box<str>>,
    /// The one file that there is, for the path of the route itself; `None`: all files below the root.
    pub only: Option<Box<str>>,
    /// Whether that file stands for every path below the route too.
    pub is_any_path: bool,
    /// Whether the name of the host is the first directory below the root, and what is taken from its end before.
    pub by_host: Option<Box<str>>,
    /// Whether directories without an index get an HTML page of what is in them.
    pub listing: bool,
    /// The file that stands for pages that are not there, below the root without a leading slash.
    pub fallback: Option<Box<str>>,
    /// Whether names that begin with a dot are there. `/.well-known/` always is (RFC 8615).
    pub hidden: bool,
    /// Where symbolic links may lead.
    pub symlinks: Symlinks,
    /// `Content-Type`; `None`: by the name of the file.
    pub content_type: Option<Box<str>>,
    /// The `charset` parameter of text; `None` leaves it out.
    pub charset: Option<Box<str>>,
    /// Siblings that are looked for next to a file, the one that is liked best first.
    pub precompressed: Vec<Coding>,
    /// What is compressed when it is asked for.
    pub compress: Option<Compress>,
    /// `Cache-Control` by path: the first rule that matches. Without one, `no-cache`.
    pub cache: Vec<CacheRule>,
    /// Names below this path contain a hash of their content: such files never change.
    pub versioned: Option<Box<str>>,
    /// Versions of the files, by a parameter of the query.
    pub versions: Option<Versions>,
}

impl Files {
    /// All files below `root`, an absolute path, with the defaults.
    pub fn new(root: &str) -> Self {
        Self {
            root: root.into(),
            index: ["index.html".into()].into(),
            only: None,
            is_any_path: false,
            by_host: None,
            listing: false,
            fallback: None,
            hidden: false,
            symlinks: Symlinks::Inside,
            content_type: None,
            charset: Some("utf-8".into()),
            precompressed: Vec::new(),
            compress: None,
            cache: Vec::new(),
            versioned: None,
            versions: None,
        }
    }

    /// The codings that files may have, the one that is liked best first.
    pub fn codings(&self) -> impl Iterator<Item = Coding> {
        self.precompressed.iter().chain(self.compress.iter().flat_map(|compress| &compress.codings)).copied()
    }
}

/// Where symbolic links below the root may lead. `..` in a path never leads out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Symlinks {
    /// They are not there.
    Never,
    /// To what is below the root; others are not there.
    Inside,
    /// Anywhere.
    Anywhere,
}

/// What is compressed when it is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compress {
    /// Media types, or `text/*`.
    pub types: Vec<Box<str>>,
    /// Smaller files are sent as they are: the head is the larger part (bytes).
    pub from: u64,
    /// Larger files are sent as they are: compressed they would have to be held in memory as a whole (bytes).
    pub to: u64,
    /// Which, the one that is liked best first: gzip and zstd.
    pub codings: Vec<Coding>,
}

/// What caches may do with files whose path matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CacheRule {
    /// The path below the route, with its leading slash; `*` stands for any characters.
    pub pattern: Box<str>,
    /// `Cache-Control`.
    pub control: Arc<str>,
}

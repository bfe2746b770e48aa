//! A table of requests and of the reactions that are required: data in `cases/http1/`, one file for each group of rows.
//!
//! ```text
//! # Host (RFC 9112 §3.2)                       the title of the group; further lines with # are comments
//!
//! @ 9112 §3.2: "A server MUST respond with a 400"
//!                                              the sentence that the rows from here on are about
//! == host-missing: A request without Host      a row begins
//! covers probe RFC9112-7.1-MISSING-HOST         the same case in h1spec or Http11Probe
//! > GET / HTTP/1.1                             sent, with CRLF
//! >
//! < 400 close                                  an answer, and what becomes of the connection
//!   has connection: close
//! ~ 200 keep                                   what the RFC would allow others to do instead
//! ```
//!
//! | line | meaning |
//! |---|---|
//! | `> TEXT` | sends TEXT and CRLF; several lines in a row leave together |
//! | `>> TEXT` | sends TEXT as it is |
//! | `...` | what follows is sent a moment later |
//! | `half-close` | ends the client's direction |
//! | `< STATUS` | waits for an answer before anything else is sent: a status, alternatives (`400\|501`), a class (`4xx`), with `none` for no answer at all |
//! | `  has NAME`, `has NAME: VALUE`, `lacks NAME`, `content TEXT` | below an answer: its fields and its content |
//! | `~ STATUS…` | other answers that the RFC allows; brolly does not give them |
//! | `only brolly`, `only plain`, `only tls` | peers are not asked, or nobody with TLS, or nobody without |
//! | `why TEXT` | why brolly does not choose what others do |
//!
//! A refusal is also allowed to have another status of 4xx or 5xx, or none, if the connection ends; and every server may
//! announce the end of the connection after an answer. Both are not what brolly does.
//!
//! After the statuses stand `*N` (so many such answers), `head` (it answers HEAD), and for the last answer `close` (the
//! server ends the connection), `keep` (another request on it is answered), `either`, or `silence` (nothing comes, the
//! server waits on). In TEXT `\r \n \t \s \xFF \\` are bytes, and `{a*9000}` is `a` 9,000 times.

mod answer;
mod conversation;
mod judge;
mod parse;
mod run;
mod shard;
pub mod site;
mod socket;

pub(crate) use parse::bytes;

pub use answer::Answer;
pub use conversation::{Reaction, Received, Wire, hold};
pub use judge::{Verdict, judge};
pub use run::{Connect, Outcome, run};
pub use shard::{Cuts, ShardWire};
pub use socket::{SocketWire, Stream};

use std::fs;
use std::path::{Path, PathBuf};

/// Rows about the same.
#[derive(Clone, Debug)]
pub struct Group {
    /// The name of the file.
    pub name: String,
    /// The first line of the file.
    pub title: String,
    /// In order.
    pub rows: Vec<Row>,
}

/// A conversation, and what must come of it.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Unique in all files.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// The sentence of an RFC that it is about.
    pub rfc: String,
    /// The same cases of other test suites.
    pub covers: Vec<String>,
    /// Why brolly is stricter than it must be.
    pub why: Option<String>,
    /// Who is asked.
    pub only: Only,
    /// What is said, in order.
    pub steps: Vec<Step>,
    /// What becomes of the connection.
    pub end: End,
    /// Reactions that the RFC allows as well.
    pub allowed: Vec<Allowed>,
}

/// For whom a row is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Only {
    /// All.
    #[default]
    Everybody,
    /// Peers have nothing to compare.
    Brolly,
    /// Connections without TLS.
    Plain,
    /// Connections with TLS, to brolly.
    Tls,
}

/// A piece of a conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// The client sends.
    Send(Vec<u8>),
    /// The client lets some time pass.
    Pause,
    /// The client ends its direction.
    HalfClose,
    /// The server answers.
    Answer(Expected),
}

/// An answer that is required.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expected {
    /// One of these.
    pub statuses: Vec<Statuses>,
    /// It answers HEAD: fields without content.
    pub is_head: bool,
    /// Fields that must be there, with this value if there is one.
    pub has: Vec<(String, Option<String>)>,
    /// Fields that must not be there.
    pub lacks: Vec<String>,
    /// The content.
    pub content: Option<Vec<u8>>,
}

/// Which statuses will do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Statuses {
    /// This one.
    One(u16),
    /// All that begin with this digit.
    Class(u16),
    /// No answer: the connection ends.
    None,
}

/// What becomes of the connection after the last answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum End {
    /// The server ends it.
    Close,
    /// It can be used again.
    Keep,
    /// Nobody cares.
    #[default]
    Either,
    /// The server says nothing, and waits.
    Silence,
}

/// Another reaction that the RFC allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowed {
    /// The answers.
    pub statuses: Vec<Vec<Statuses>>,
    /// What becomes of the connection.
    pub end: End,
}

/// All groups, in the order of their names.
///
/// # Errors
/// A sentence with file and line.
pub fn load() -> Result<Vec<Group>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/http1");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files.iter().map(|path| group(path)).collect()
}

fn group(path: &Path) -> Result<Group, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let (title, rows) = parse::group(&text).map_err(|(line, why)| format!("{shown}:{line}: {why}"))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Group { name, title, rows })
}

impl Expected {
    /// Whether another answer to the same request follows.
    pub fn is_interim(&self) -> bool {
        self.statuses.iter().all(|status| matches!(status, Statuses::One(100 | 102..=199)))
    }
}

impl Row {
    /// The answers that are required, in order.
    pub fn expected(&self) -> impl Iterator<Item = &Expected> {
        self.steps.iter().filter_map(|step| if let Step::Answer(expected) = step { Some(expected) } else { None })
    }

    /// Everything that is sent, joined.
    pub fn sent(&self) -> Vec<u8> {
        self.steps
            .iter()
            .flat_map(|step| if let Step::Send(bytes) = step { &bytes[..] } else { &[] })
            .copied()
            .collect()
    }
}

//! What a shard asks of its host, and what comes back.

use super::mail::Mail;
use crate::arena::Id;
use crate::config::{Coding, Files};
use crate::handler::files::listing::Listing;
use crate::handler::files::{AcceptEncoding, Codings, Stamp};
use crate::time::Now;
use crate::upstream::State;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use uuid::Uuid;

/// Names a connection of a shard, of either direction.
pub type ConnId = Id<super::slot::Slot>;

/// Names an operation of the host that has not come back yet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OpId(pub(super) u64);

/// Names an open file; chosen by the host.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FileId(pub u64);

/// One-shot work for the host. State (what to read, write, shut down and close) is asked for, not told: see
/// [`Shard::interest`](super::Shard::interest).
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Close a file; nothing comes back.
    CloseFile(FileId),
    /// Open a connection; [`Shard::handle_connected`](super::Shard::handle_connected) or
    /// [`handle_closed`](super::Shard::handle_closed) follows. The id exists already.
    Connect {
        /// What the connection will be called.
        conn: ConnId,
        /// Where to.
        to: Address,
        /// The TLS of the connection, including the name to be verified: an index into what the host has been
        /// configured with. `None`: plain.
        tls: Option<u16>,
        /// What goes out before anything else, TLS too: a PROXY header, or nothing.
        preface: Bytes,
    },
    /// One request was answered: write it to the log.
    Log(Box<Access>),
    /// A server is up or not from now on: write it to the log.
    Notice(Box<Notice>),
    /// Look into a directory; [`Completion::Listed`] follows.
    ListDirectory {
        /// Names the answer.
        op: OpId,
        /// Where it is, and what of it may be seen.
        files: Arc<Files>,
        /// A relative path of normal components; empty for the root.
        path: Box<str>,
        /// How many entries at most.
        limit: usize,
    },
    /// Open a file in the coding that suits best, or find out that it is a directory; [`Completion::Opened`] follows, or
    /// [`Completion::Unchanged`].
    OpenFile {
        /// Names the answer.
        op: OpId,
        /// Which.
        file: FileRequest,
    },
    /// Bring a piece of a file into memory, so that writing it from there waits for no disk; [`Completion::Prefetched`] follows.
    PrefetchFile {
        /// Names the answer.
        op: OpId,
        /// Which file.
        file: FileId,
        /// From where, in bytes.
        offset: u64,
        /// How much, in bytes.
        len: u64,
    },
    /// Read a piece of an open file; [`Completion::Read`] follows.
    ReadFile {
        /// Names the answer.
        op: OpId,
        /// Which file.
        file: FileId,
        /// From where, in bytes.
        offset: u64,
        /// How much at most, in bytes.
        len: u32,
    },
    /// Look a name up; [`Completion::Resolved`] follows.
    Resolve {
        /// Names the answer.
        op: OpId,
        /// The name.
        host: Box<str>,
        /// Belongs into the addresses.
        port: u16,
    },
    /// Find out whether a user of a password file has this password; [`Completion::Verified`] follows. It takes as long
    /// for a user that is not in the file.
    Verify {
        /// Names the answer.
        op: OpId,
        /// The file.
        file: Arc<str>,
        /// Who.
        user: Box<str>,
        /// With what.
        password: Secret,
    },
    /// Hand a message to another shard, keeping the order per shard.
    Send {
        /// Which shard.
        to: u16,
        /// What.
        mail: Mail,
    },
}

/// Where a connection leads.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Address {
    /// An IP address and a TCP port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(Arc<str>),
}

/// A piece of an open file.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FileRange {
    /// Which file.
    pub file: FileId,
    /// From where (bytes).
    pub offset: u64,
    /// How much (bytes), at least one.
    pub len: u64,
}

/// Which file to open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileRequest {
    /// Where it is, and in which forms it can be had.
    pub files: Arc<Files>,
    /// A relative path of normal components.
    pub path: Box<str>,
    /// Which forms the client takes.
    pub accepted: AcceptEncoding,
    /// What is in memory already: need not be read if that is still what suits best.
    pub known: Option<(Coding, Stamp)>,
}

/// A regular file, as it suits the client best.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opened {
    /// For reading on and closing; `None` if `first` is all there is.
    pub file: Option<FileId>,
    /// Of the file that was opened: the one that was asked for, or its compressed sibling.
    pub stamp: Stamp,
    /// The beginning, up to 64 KiB of a file that stays open.
    pub first: Bytes,
    /// How the content is coded.
    pub coding: Coding,
    /// Whether it was compressed just now.
    pub is_made: bool,
    /// In which codings it could be had.
    pub available: Codings,
}

impl Opened {
    /// A file that can be had in no other form.
    pub fn new(file: Option<FileId>, stamp: Stamp, first: Bytes) -> Self {
        Self { file, stamp, first, coding: Coding::Identity, is_made: false, available: Codings::default() }
    }

    /// Bytes of the content.
    pub fn len(&self) -> u64 {
        match self.file {
            Some(_) => self.stamp.len,
            None => self.first.len() as u64,
        }
    }

    /// Whether the content is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// The result of an [`Effect`] that names an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Completion {
    /// The path names a directory.
    Directory,
    /// What is in the directory.
    Listed(Listing),
    /// The path names a regular file.
    Opened(Opened),
    /// A piece of a file is in memory, as far as there is one.
    Prefetched,
    /// A piece of a file; shorter than asked for only at its end.
    Read(Bytes),
    /// The addresses of a name, at least one.
    Resolved(Vec<SocketAddr>),
    /// The file is the one that was known.
    Unchanged {
        /// In which codings it could be had.
        available: Codings,
    },
    /// Whether it is the user's password.
    Verified(bool),
}

/// A password: not to be shown, by no accident.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(pub Box<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// Why the host could not do something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum IoError {
    /// The peer's certificate is not to be trusted, or not for the name that was wanted.
    Certificate,
    /// Nobody listens there.
    ConnectionRefused,
    /// The peer, or something between, cut the connection.
    ConnectionReset,
    /// There is no such file, or no such name.
    NotFound,
    /// Not ours to read.
    PermissionDenied,
    /// It took too long.
    TimedOut,
    /// TLS could not be agreed on.
    Tls,
    /// So many files are open that no other can be.
    TooManyFiles,
    /// Anything else.
    Other,
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "its certificate cannot be trusted",
            Self::ConnectionRefused => "nobody listens there",
            Self::ConnectionReset => "the connection was cut",
            Self::NotFound => "there is no such name",
            Self::PermissionDenied => "permission denied",
            Self::TimedOut => "it took too long",
            Self::Tls => "TLS could not be agreed on",
            Self::TooManyFiles => "too many files are open",
            Self::Other => "the connection broke",
        })
    }
}

impl core::error::Error for IoError {}

/// A server of an upstream has another state now, for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// When it was found out.
    pub at: Now,
    /// [`Upstream::name`](crate::config::Upstream::name).
    pub upstream: Box<str>,
    /// Which server.
    pub server: Address,
    /// What it is from now on; the end of a rest is not told.
    pub state: State,
}

/// One answered request, for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// When the answer was complete.
    pub at: Now,
    /// From the first byte of the request to the last byte of the answer.
    pub took: Duration,
    /// Who has sent it; `None` over a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Who it is from: the peer, or whom it speaks for if it is believed; `None` if that is not known.
    pub client: Option<IpAddr>,
    /// The name that it has logged in with.
    pub user: Option<Box<str>>,
    /// `X-Barium`.
    pub id: Uuid,
    /// The method and the request-target, as far as they could be read.
    pub request: Box<str>,
    /// Why there is an error instead of an answer, if it is ours.
    pub reason: Option<Box<str>>,
    /// The status; 101 for a WebSocket or a tunnel, 0 if none was sent.
    pub status: u16,
    /// Bytes of content of the answer.
    pub bytes: u64,
    /// Which backend was asked last, and how long it took to answer, or to fail.
    pub server: Option<(Address, Duration)>,
}

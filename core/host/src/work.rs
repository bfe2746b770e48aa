//! The core's [`Work`], sorted into what the runtime does and what has to wait on a thread of its own.

use crate::files::Files;
use crate::passwords::Passwords;
use crate::start::Equipment;
use brolly_core::config;
use brolly_core::driver::{Done, Work};
use brolly_core::shard::{Address, Completion, ConnId, FileId, FileRequest, IoError, OpId, Opened, Secret};
use bytes::Bytes;
use std::mem;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// Who does it.
#[derive(Debug)]
pub enum Sorted {
    /// A thread that may block.
    Blocking(Job),
    /// The runtime.
    Connect {
        /// What the connection will be called.
        conn: ConnId,
        /// Where to.
        to: Address,
        /// The TLS of the connection, by its index.
        tls: Option<u16>,
        /// What goes out before anything else, TLS too: a PROXY header, or nothing.
        preface: Bytes,
    },
}

/// Work that blocks.
#[derive(Debug)]
pub struct Job {
    op: OpId,
    files: Files,
    call: Call,
}

#[derive(Debug)]
enum Call {
    List { files: Arc<config::Files>, path: Box<str>, limit: usize },
    Open(FileRequest),
    Prefetch { file: FileId, offset: u64, len: u64 },
    Read { file: FileId, offset: u64, len: u32 },
    Resolve { host: Box<str>, port: u16 },
    Verify { passwords: Passwords, file: Arc<str>, user: Box<str>, password: Secret },
}

impl Sorted {
    /// Finds out who does `work`.
    pub fn new(work: Work, equipment: &Equipment) -> Self {
        let (op, call) = match work {
            Work::Connect { conn, to, tls, preface } => return Self::Connect { conn, to, tls, preface },
            Work::ListDirectory { op, files, path, limit } => (op, Call::List { files, path, limit }),
            Work::OpenFile { op, file } => (op, Call::Open(file)),
            Work::PrefetchFile { op, file, offset, len } => (op, Call::Prefetch { file, offset, len }),
            Work::ReadFile { op, file, offset, len } => (op, Call::Read { file, offset, len }),
            Work::Resolve { op, host, port } => (op, Call::Resolve { host, port }),
            Work::Verify { op, file, user, password } => {
                let passwords = equipment.passwords.clone();
                (op, Call::Verify { passwords, file, user, password })
            }
        };
        Self::Blocking(Job { op, files: equipment.files.clone(), call })
    }
}

impl Job {
    /// Names the answer, in case it cannot be had from [`run`](Self::run).
    pub fn op(&self) -> OpId {
        self.op
    }

    /// Does it.
    pub fn run(self) -> Answer {
        let result = match self.call {
            Call::List { files, path, limit } => self.files.list(&files, &path, limit),
            Call::Open(request) => self.files.open(&request),
            Call::Prefetch { file, offset, len } => self.files.prefetch(file, offset, len),
            Call::Read { file, offset, len } => self.files.read(file, offset, len),
            Call::Resolve { host, port } => resolve(&host, port).map(Completion::Resolved),
            Call::Verify { passwords, file, user, password } => passwords.verify(&file, &user, &password.0),
        };
        Answer { op: self.op, files: self.files, result }
    }
}

/// What came out. If nobody takes it, because the work was given up meanwhile, a file that was opened is closed.
#[derive(Debug)]
pub struct Answer {
    op: OpId,
    files: Files,
    result: Result<Completion, IoError>,
}

impl Answer {
    /// For the driver.
    pub fn take<S>(mut self) -> Done<S> {
        Done::Completed(self.op, mem::replace(&mut self.result, Err(IoError::Other)))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Ok(Completion::Opened(Opened { file: Some(file), .. })) = &self.result {
            self.files.close(*file);
        }
    }
}

/// Looks a name up, by whatever the system uses. Blocking.
pub(crate) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, IoError> {
    let mut addresses = Vec::new();
    // The look-up does not say why it failed; in the end it is that there is no address.
    for address in (host, port).to_socket_addrs().map_err(|_| IoError::NotFound)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(IoError::NotFound) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_resolved() {
        let addresses = |host| match resolve(host, 81) {
            Ok(addresses) => addresses.iter().map(ToString::to_string).collect(),
            Err(error) => vec![format!("{error:?}")],
        };
        assert_eq!(addresses("127.0.0.1"), ["127.0.0.1:81"]);
        assert_eq!(addresses("::1"), ["[::1]:81"]);
        assert!(addresses("localhost").iter().any(|address| address == "127.0.0.1:81" || address == "[::1]:81"));
        assert_eq!(addresses("does-not-exist.invalid"), ["NotFound"]);
    }
}

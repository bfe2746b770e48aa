//! What the event loop needs of an async runtime: small traits.

use crate::config::Files;
use crate::shard::{
    Accepted, Access, Address, Completion, ConnId, FileId, FileRange, FileRequest, Introduction, IoError, Notice, OpId,
    Secret,
};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::sync::Arc;
use bytes::Bytes;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// The clocks and a timer.
pub trait Timing {
    /// What the clocks say.
    fn now(&self) -> Now;

    /// Ready once `at` has passed; with `None`, never. Only the latest call counts.
    fn poll_timer(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()>;
}

/// Clocks, listeners, timers and blocking work. One per shard, used from one thread.
pub trait Runtime: Timing {
    /// A connected socket.
    type Stream: Stream;

    /// The next connection of any listener. Once pending, not asked again before the waker of `cx` was woken. After [`stop_accepting`](Self::stop_accepting): pending for ever.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Accepted, Self::Stream)>;

    /// Closes the listeners.
    fn stop_accepting(&mut self);

    /// Starts work that takes time; the driver polls the future until it is done, and drops it to give up.
    fn perform(&mut self, work: Work) -> Task<Self::Stream>;

    /// Writes a piece of a file to a connection, in one system call where possible, and says how much of it; 0 at the end of the file. By
    /// default it cannot, and then [`Config::sends_files`](crate::config::Config::sends_files) must not say so.
    fn poll_send_file(&self, _: &mut Context<'_>, _: &mut Self::Stream, _: &FileRange) -> Poll<Result<u64, IoError>> {
        Poll::Ready(Err(IoError::Other))
    }

    /// Closes a file.
    fn close_file(&mut self, file: FileId);

    /// Writes one line of the access log.
    fn log(&mut self, access: &Access);

    /// Writes down that a server is up, or not. By default nobody is told.
    fn notice(&mut self, _: &Notice) {}
}

/// A connected socket, in both directions. Readiness is up to the implementation: the driver polls until pending.
pub trait Stream {
    /// What a client has to say before its first byte of HTTP: a PROXY header, a TLS handshake. Nothing else is called
    /// before it is ready. By default there is nothing.
    fn poll_introduction(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Introduction>, IoError>> {
        Poll::Ready(Ok(None))
    }

    /// Reads into `buffer`; 0 at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>>;

    /// Writes some of `slices` (at least one, none empty), in one system call where possible. Bytes that were offered while
    /// it was pending may be on their way: the next call must offer them again, in front.
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>>;

    /// Ends the outgoing direction; the peer reads an end of stream.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>>;

    /// Says goodbye where the transport has a word for it (`close_notify`, RFC 9112 §9.8), without waiting; the socket is
    /// dropped next. By default, nothing.
    fn farewell(&mut self) {}

    /// Lets the peer see an error instead of an end when the socket is dropped, which happens next. Where the transport
    /// cannot do that, nothing.
    fn reset(&mut self) {}
}

/// Work on its way.
pub type Task<S> = Pin<Box<dyn Future<Output = Done<S>>>>;

/// Work that takes time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Work {
    /// Open a connection (TCP with no delay), TLS handshake included, without a deadline of its own.
    Connect {
        /// What it will be called.
        conn: ConnId,
        /// Where to.
        to: Address,
        /// The TLS of the connection, by its index; `None`: plain.
        tls: Option<u16>,
        /// What goes out before anything else, TLS too: a PROXY header, or nothing.
        preface: Bytes,
    },
    /// Look into a directory.
    ListDirectory {
        /// Names the answer.
        op: OpId,
        /// Where it is, and what of it may be seen.
        files: Arc<Files>,
        /// Relative path of normal components.
        path: Box<str>,
        /// How many entries at most.
        limit: usize,
    },
    /// Open a file without leaving its root, and read its beginning.
    OpenFile {
        /// Names the answer.
        op: OpId,
        /// Which.
        file: FileRequest,
    },
    /// Bring a piece of a file into memory.
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
    /// Read a piece of an open file.
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
    /// Find out whether a user of a password file has this password.
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
    /// Look a name up.
    Resolve {
        /// Names the answer.
        op: OpId,
        /// The name.
        host: Box<str>,
        /// Belongs into the addresses.
        port: u16,
    },
}

/// Work that is done.
#[derive(Debug)]
pub enum Done<S> {
    /// A file operation or a look-up.
    Completed(OpId, Result<Completion, IoError>),
    /// A connection, or none.
    Connected(ConnId, Result<S, IoError>),
}

//! One connection at a time: HTTP server, HTTP client, WebSocket. Bytes in, events and bytes out; no sockets, no handlers.
//!
//! All of them work alike. `receive(now, input)` takes the next event from the unread bytes and says how many bytes it
//! used; what it leaves must be offered again with more behind it. [`Interest`] says what the host should do next; it
//! is a snapshot, true at any time. `outbox()` holds what is to be written, `wrote(now)` tells that some was.
//! Deadlines are asked for with `deadline()` and answered with `handle_timeout(now)`; calling it early is harmless.

mod client;
mod opening;
mod server;
mod tunnel;
mod websocket;

pub use client::{ClientConn, ClientEvent, Message, Patience, Whole, encode_end, encode_request};
pub use opening::{Opened, OpeningConn, OpeningError, Refusal};
pub use server::{Content, ServerConn, ServerEvent};
pub use tunnel::TunnelConn;
pub(crate) use websocket::into_bytes;
pub use websocket::{WebSocketConn, WebSocketEvent};

use crate::http1::{self, Fields};
use crate::outbox::Outbox;
use crate::time::Instant;
use core::time::Duration;

/// What a connection wants of its host. Level-triggered.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Interest {
    /// Read from the socket, and tell about the end of the stream.
    pub read: bool,
    /// Write what the outbox holds.
    pub write: bool,
    /// Everything was written; end the outgoing direction now.
    pub shutdown: bool,
    /// Drop the socket.
    pub close: bool,
    /// With `close`: so that the peer does not take it for the end of the response (RFC 9112 §8).
    pub reset: bool,
}

/// Deadlines of a connection. See [`config::Limits`](crate::config::Limits) for defaults and reasons.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Timeouts {
    /// For a request head.
    pub head: Duration,
    /// Grace for content.
    pub content: Duration,
    /// The slowest content, in bytes per second.
    pub content_bytes_per_second: u64,
    /// Between requests.
    pub idle: Duration,
    /// Without write progress.
    pub write: Duration,
    /// For a refused sender to read the refusal.
    pub linger: Duration,
    /// Silence before a ping.
    pub ping: Duration,
    /// Silence after a ping, and for the peer's close frame.
    pub pong: Duration,
    /// Without a byte through a tunnel.
    pub tunnel: Duration,
}

/// How far closing has come, the same for all kinds of connections.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Closing {
    /// Open.
    No,
    /// Write what is queued, end the outgoing direction, then wait for the peer to end its own.
    Lingering {
        /// The host was told to shut down, and did.
        shut: bool,
    },
    /// Write what is queued, then drop the socket.
    Flushing,
    /// Drop the socket.
    Now,
}

/// The deadline for write progress: armed while bytes are queued.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct WriteTimer(Option<Instant>);

impl WriteTimer {
    /// Bytes were queued (or not).
    fn queued(&mut self, now: Instant, timeout: Duration, pending: usize) {
        if pending > 0 && self.0.is_none() {
            self.0 = Some(now + timeout);
        }
    }

    /// Bytes were written; `pending` are left.
    fn wrote(&mut self, now: Instant, timeout: Duration, pending: usize) {
        self.0 = (pending > 0).then(|| now + timeout);
    }
}

/// The last chunk, with the trailers; without them if they cannot be written.
fn end_chunks(out: &mut Outbox, trailers: Option<&Fields<'_>>) {
    if http1::last_chunk(out, trailers.into_iter().flat_map(Fields::iter)).is_err() {
        let _ = http1::last_chunk(out, []);
    }
}

/// The earlier of two deadlines.
#[inline]
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

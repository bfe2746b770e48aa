//! A WebSocket client over any runtime's [`Stream`] and [`Timing`]: one connection, driven by whoever awaits it.

use super::{Stream, Timing};
use crate::config::Limits;
use crate::conn::{Opened, OpeningConn, OpeningError, Refusal, Timeouts, WebSocketConn, WebSocketEvent};
use crate::outbox::Outbox;
use crate::rng::{Rng, Seed};
use crate::shard::IoError;
use crate::ws::deflate::Codec;
use crate::ws::handshake::{InvalidRequest, Request};
use crate::ws::{CloseCode, Opcode, ProtocolError};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

/// How much is read at a time (bytes), on the stack: a connection that waits owns no buffer.
const CHUNK: usize = 16 * 1024;
/// Pieces in one vectored write.
const SLICES: usize = 16;
/// Reads and writes before other futures of the thread get their turn.
const ROUNDS: usize = 64;
/// So much may be queued before [`WebSocketClient::feed`] waits (bytes).
const HIGH_WATER: usize = 256 * 1024;

/// An open WebSocket, of a client.
///
/// It is driven by its methods alone: no task runs behind it. Pings are answered, and silence is asked after
/// ([`Limits::ping_interval`]), while [`next`](Self::next) is awaited; so await it also when no message is expected.
/// Every method may be dropped before it is ready, and called again, without losing anything.
pub struct WebSocketClient<S, T> {
    link: Link<S, T>,
    socket: WebSocketConn,
    codec: Codec,
    rng: Rng,
    subprotocol: Option<Box<str>>,
    /// A message that arrived while something else was waited for.
    arrived: Option<Message>,
    ending: Option<Ending>,
}

/// A message, of either direction.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Message {
    /// UTF-8.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Ending {
    /// Both sides have said so: the code and reason of the peer, unless it gave none (1005).
    Closed(Option<(CloseCode, Box<str>)>),
    /// The peer broke the protocol, or sent a message beyond [`Limits::websocket`]. It was told.
    Failed(ProtocolError),
    /// Without a word (1006): the peer ended the connection, or an error did; [`TimedOut`](IoError::TimedOut): it was
    /// silent, or took nothing, for too long.
    Lost(Option<IoError>),
}

/// Why there is no WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OpenError {
    /// The request cannot be written.
    Invalid(InvalidRequest),
    /// The server gave another answer: this one.
    Refused(Box<Refusal>),
    /// The server gave no answer that counts.
    Failed(OpeningError),
    /// The connection broke.
    Io(IoError),
}

impl<S: Stream, T: Timing> WebSocketClient<S, T> {
    /// The opening handshake (RFC 6455 §4.1) over a connection that stands; TLS, if any, is the stream's. `seed`: fresh
    /// randomness for each connection (§10.3). Of `limits`, those of HTTP and of WebSockets count.
    ///
    /// # Errors
    /// The server refuses, or does not answer within [`Limits::head_timeout`].
    pub async fn open(
        stream: S,
        timing: T,
        limits: &Limits,
        seed: Seed,
        request: &Request<'_>,
    ) -> Result<Self, OpenError> {
        let (mut rng, timeouts) = (Rng::new(seed, 0), limits.timeouts());
        let opening = OpeningConn::new(timing.now(), &timeouts, limits.http, request, rng.next_nonce());
        let mut opening = opening.map_err(OpenError::Invalid)?;
        let mut link = Link { stream, timing, timeouts, unread: Vec::new(), used: 0, broken: None };
        match poll_fn(|cx| link.poll_open(cx, &mut opening)).await {
            Opened::Accepted { subprotocol } => {
                let socket = opening.into_socket(link.timing.now(), limits.websocket, &link.timeouts);
                Ok(Self { link, socket, codec: Codec::new(), rng, subprotocol, arrived: None, ending: None })
            }
            Opened::Refused(refusal) => Err(OpenError::Refused(refusal)),
            Opened::Failed(error) => Err(link.broken.map_or(OpenError::Failed(error), OpenError::Io)),
        }
    }

    /// The subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The next message. What is queued to be sent goes first.
    ///
    /// # Errors
    /// The connection has ended; the same again for ever.
    pub async fn next(&mut self) -> Result<Message, Ending> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for futures written by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Ending>> {
        self.poll_until(cx, |this| this.arrived.take())
    }

    /// Sends a message, with everything queued before it. Ready when the system has taken it. While it waits, one message
    /// of the peer is read.
    ///
    /// # Errors
    /// The connection has ended. If its end has only begun, that is seen through, and messages that still arrive are
    /// dropped.
    pub async fn send(&mut self, message: &Message) -> Result<(), Ending> {
        self.queue(message).await?;
        self.flush().await
    }

    /// Queues a message, and waits only while more than 256 KiB are queued. It is sent by [`flush`](Self::flush), or
    /// before [`next`](Self::next) waits: many small ones in one write.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn feed(&mut self, message: &Message) -> Result<(), Ending> {
        self.queue(message).await?;
        poll_fn(|cx| self.poll_until(cx, |this| (this.socket.unsent().len() <= HIGH_WATER).then_some(()))).await
    }

    /// Ready when the system has taken all that was queued.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn flush(&mut self) -> Result<(), Ending> {
        poll_fn(|cx| self.poll_until(cx, |this| this.socket.unsent().is_empty().then_some(()))).await
    }

    /// Begins the close handshake and sees it through; messages that still arrive are dropped. A `reason` is cut to 123
    /// bytes. If the end had come already, it stays what it was.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Ending {
        let Self { link, socket, rng, .. } = self;
        socket.close(link.timing.now(), &link.timeouts, code, reason, || rng.next_key());
        self.finish().await
    }

    async fn finish(&mut self) -> Ending {
        loop {
            if let Err(ending) = self.next().await {
                return ending;
            }
        }
    }

    async fn queue(&mut self, message: &Message) -> Result<(), Ending> {
        if !self.socket.is_open() {
            return Err(self.finish().await);
        }
        let Self { link, socket, codec, rng, .. } = self;
        let (opcode, payload) = match message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(data) => (Opcode::Binary, &data[..]),
        };
        socket.send(link.timing.now(), &link.timeouts, codec, opcode, payload, || rng.next_key());
        Ok(())
    }

    /// Drives the connection until `done` has something, or to its end.
    fn poll_until<R>(
        &mut self,
        cx: &mut Context<'_>,
        done: impl Fn(&mut Self) -> Option<R>,
    ) -> Poll<Result<R, Ending>> {
        for _ in 0..ROUNDS {
            if let Some(result) = done(self) {
                return Poll::Ready(Ok(result));
            }
            // A message is held, so that nobody reads why no more can be written.
            if let (Some(broken), true) = (self.link.broken, self.arrived.is_some()) {
                self.ending.get_or_insert(Ending::Lost(Some(broken)));
                self.socket.abort();
            }
            let interest = self.socket.interest();
            if interest.close {
                let broken = self.link.broken;
                let ending = self.ending.get_or_insert_with(|| Ending::Lost(broken.or(Some(IoError::TimedOut))));
                self.link.stream.farewell();
                return Poll::Ready(Err(ending.clone()));
            }
            // What has arrived is looked at first, so that one write takes all that is said about it.
            if self.arrived.is_none() && self.take_arrived() {
                continue;
            }
            let mut has_moved = interest.write && self.link.poll_write(cx, self.socket.outbox()).is_ready();
            if has_moved {
                self.socket.wrote(self.link.timing.now(), &self.link.timeouts);
            } else if interest.shutdown && self.link.stream.poll_shutdown(cx).is_ready() {
                self.socket.handle_shutdown();
                has_moved = true;
            }
            // One message is held while another thing is waited for, not more.
            if interest.read && self.arrived.is_none() {
                match self.link.poll_read(cx) {
                    Poll::Ready(true) => has_moved = true,
                    Poll::Ready(false) => {
                        self.ending.get_or_insert(Ending::Lost(self.link.broken));
                        match self.link.broken {
                            Some(_) => self.socket.abort(),
                            None => self.socket.handle_eof(),
                        }
                        has_moved = true;
                    }
                    Poll::Pending => {}
                }
            }
            if !has_moved && !self.poll_deadline(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes the next event from what was read; says whether there was any.
    fn take_arrived(&mut self) -> bool {
        let Self { link, socket, codec, rng, .. } = self;
        let now = link.timing.now();
        let Some(unread) = link.unread.get_mut(link.used..).filter(|unread| !unread.is_empty()) else { return false };
        let (used, event) = socket.receive(now, &link.timeouts, codec, || rng.next_key(), unread);
        let is_event = event.is_some();
        match event {
            Some(WebSocketEvent::Text(text)) => self.arrived = Some(Message::Text(text.into_owned())),
            Some(WebSocketEvent::Binary(data)) => self.arrived = Some(Message::Binary(data.into_owned())),
            Some(WebSocketEvent::Closed(frame)) => {
                self.ending = Some(Ending::Closed(frame.map(|frame| (frame.code, frame.reason.into()))));
            }
            Some(WebSocketEvent::Failed(error)) => self.ending = Some(Ending::Failed(error)),
            // They are asked for whole.
            Some(WebSocketEvent::Piece { .. }) | None => {}
        }
        self.link.forget(used);
        is_event || used > 0
    }

    /// Waits for the deadline of the connection; says whether it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { link, socket, rng, .. } = self;
        let is_due = link.timing.poll_timer(cx, socket.deadline()).is_ready();
        if is_due {
            socket.handle_timeout(link.timing.now(), &link.timeouts, || rng.next_key());
        }
        is_due
    }
}

/// A socket, and what was read from it.
struct Link<S, T> {
    stream: S,
    timing: T,
    timeouts: Timeouts,
    /// Bytes that were read. No memory while there are none.
    unread: Vec<u8>,
    /// How many of them were used.
    used: usize,
    /// What the system has said first about a connection that is broken.
    broken: Option<IoError>,
}

impl<S: Stream, T: Timing> Link<S, T> {
    /// Sends the request, and reads the response.
    fn poll_open(&mut self, cx: &mut Context<'_>, opening: &mut OpeningConn) -> Poll<Opened> {
        for _ in 0..ROUNDS {
            let mut has_moved = opening.interest().write && self.poll_write(cx, opening.outbox()).is_ready();
            if has_moved {
                opening.wrote(self.timing.now(), &self.timeouts);
            }
            match self.poll_read(cx) {
                Poll::Ready(false) => return Poll::Ready(opening.handle_eof()),
                Poll::Ready(true) => {
                    let unread = self.unread.get(self.used..).unwrap_or_default();
                    let (used, opened) = opening.receive(self.timing.now(), &self.timeouts, unread);
                    self.forget(used);
                    if let Some(opened) = opened {
                        return Poll::Ready(opened);
                    }
                    has_moved = true;
                }
                Poll::Pending => {}
            }
            if !has_moved {
                if self.timing.poll_timer(cx, opening.deadline()).is_pending() {
                    return Poll::Pending;
                }
                if let Some(opened) = opening.handle_timeout(self.timing.now()) {
                    return Poll::Ready(opened);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready if some of `out` was written. Never again once that has failed: why will be seen by reading, and what the peer
    /// has said before then still counts (RFC 9112 §9.5).
    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<()> {
        if self.broken.is_some() {
            return Poll::Pending;
        }
        let mut slices: [&[u8]; SLICES] = [&[]; SLICES];
        let filled = out.slices(&mut slices);
        match self.stream.poll_write(cx, slices.get(..filled).unwrap_or_default()) {
            Poll::Ready(Ok(bytes)) => {
                out.advance(bytes);
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                self.broken = Some(error);
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ready if there is more, or (`false`) no more to come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut chunk = [0; CHUNK];
        self.stream.poll_read(cx, &mut chunk).map(|read| match read {
            Ok(bytes) => {
                self.unread.extend_from_slice(chunk.get(..bytes).unwrap_or_default());
                bytes > 0
            }
            Err(error) => {
                self.broken.get_or_insert(error);
                false
            }
        })
    }

    /// The next `bytes` of what was read were used.
    fn forget(&mut self, bytes: usize) {
        self.used += bytes;
        if self.used >= self.unread.len() {
            self.used = 0;
            self.unread = Vec::new();
        } else if self.used > CHUNK {
            self.unread.drain(..self.used);
            self.used = 0;
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(None) => f.write_str("the peer closed the connection"),
            Self::Closed(Some((code, reason))) if reason.is_empty() => {
                write!(f, "the peer closed the connection with {code}")
            }
            Self::Closed(Some((code, reason))) => write!(f, "the peer closed the connection with {code}: {reason}"),
            Self::Failed(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::Lost(None) => f.write_str("the connection was cut"),
            Self::Lost(Some(IoError::TimedOut)) => f.write_str("the peer is silent"),
            Self::Lost(Some(error)) => error.fmt(f),
        }
    }
}

impl Error for Ending {}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::Refused(refusal) => write!(f, "the server answered {}", refusal.status),
            Self::Failed(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for OpenError {}

impl<S, T> fmt::Debug for WebSocketClient<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketClient").field("socket", &self.socket).finish_non_exhaustive()
    }
}

//! The client's opening handshake (RFC 6455 §4.1): from the request to an open WebSocket, or to the response that refuses
//! it.

use super::{ClientConn, ClientEvent, Interest, Message, Patience, Timeouts, WebSocketConn};
use crate::http1::{self, Fields, Framing, ParseError, ResponseHead, StatusCode};
use crate::outbox::Outbox;
use crate::time::{Instant, Now};
use crate::ws::deflate::{Extension, Settings};
use crate::ws::handshake::{HandshakeError, InvalidRequest, Request, verify};
use crate::ws::{self, Role};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::error::Error;
use core::fmt;
use core::mem;

/// A WebSocket that a client opens. It begins with the connection; what it wants of its host and when is as with all
/// connections, see [`conn`](super).
///
/// ```
/// use brolly_core::conn::{Opened, OpeningConn};
/// use brolly_core::config::Limits;
/// use brolly_core::time::Now;
/// use brolly_core::ws::handshake::Request;
///
/// let (now, limits) = (Now::default(), Limits::default());
/// let request = Request { host: "example.org", target: "/chat?room=1", ..Request::default() };
/// let mut opening = OpeningConn::new(now, &limits.timeouts(), limits.http, &request, *b"the sample nonce").unwrap();
/// opening.outbox().clear(); // It was written...
/// opening.wrote(now, &limits.timeouts());
/// let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// let (used, opened) = opening.receive(now, &limits.timeouts(), response);
/// assert_eq!((used, opened), (response.len(), Some(Opened::Accepted { subprotocol: None })));
/// let socket = opening.into_socket(now, limits.websocket, &limits.timeouts());
/// assert!(socket.is_open());
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct OpeningConn {
    http: ClientConn,
    nonce: [u8; 16],
    /// The subprotocols that were offered.
    offered: Box<[Box<str>]>,
    /// The compression that was offered, and then the one that was agreed on.
    compression: Option<Settings>,
    extension: Option<Extension>,
    /// A final response that is not 101, as far as it is here.
    refusal: Option<Box<Refusal>>,
}

/// How an opening handshake ended.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Opened {
    /// The WebSocket is open; bytes that were not used are its first frames. Now call
    /// [`into_socket`](OpeningConn::into_socket).
    Accepted {
        /// The subprotocol that the server chose of those that were offered.
        subprotocol: Option<Box<str>>,
    },
    /// The server gave another answer than 101: it wants a login (401), is somewhere else (3xx), or is too busy (503).
    /// Nothing is followed or repeated.
    Refused(Box<Refusal>),
    /// There is no answer that counts; the connection is of no further use.
    Failed(OpeningError),
}

/// A response to the opening handshake that is not 101.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The field lines, in the order of arrival.
    pub fields: Vec<(Box<str>, Box<[u8]>)>,
    /// The content without its coding, as far as [`CONTENT_BYTES`](Self::CONTENT_BYTES) go.
    pub content: Vec<u8>,
    /// Whether that is all of it: not if there is more, or if the connection or the time ended before.
    pub is_complete: bool,
}

impl Refusal {
    /// How much content is kept (bytes): a page that says why. What follows is left unread.
    pub const CONTENT_BYTES: usize = 64 * 1024;

    fn new(head: &ResponseHead<'_>) -> Self {
        let owned = |(name, value): (&str, &[u8])| (name.into(), value.into());
        let fields = head.fields.iter().map(owned).collect();
        Self { status: head.status, fields, content: Vec::new(), is_complete: false }
    }

    /// The value of the first field with this name, in any case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// Keeps a piece of content; says whether there is room for more.
    fn push(&mut self, data: &[u8]) -> bool {
        let room = Self::CONTENT_BYTES - self.content.len();
        self.content.extend_from_slice(data.get(..room).unwrap_or(data));
        data.len() <= room
    }
}

/// Why an opening handshake came to nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OpeningError {
    /// A 101 that does not open what was asked for.
    Handshake(HandshakeError),
    /// What came cannot be read as HTTP; [`Truncated`](ParseError::Truncated): the connection ended before the answer.
    Http(ParseError),
    /// There was no answer in time.
    TimedOut,
}

impl fmt::Display for OpeningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => error.fmt(f),
            Self::Http(ParseError::Truncated) => f.write_str("the connection ended before the answer"),
            Self::Http(error) => write!(f, "the answer cannot be read: {error}"),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl Error for OpeningError {}

impl OpeningConn {
    /// Queues the request on a connection that stands. It has to be answered within
    /// [`Timeouts::head`](super::Timeouts::head), the content of a refusal included. `nonce`: 16 random bytes.
    ///
    /// # Errors
    /// The request cannot be written.
    pub fn new(
        now: Now,
        timeouts: &Timeouts,
        limits: http1::Limits,
        request: &Request<'_>,
        nonce: [u8; 16],
    ) -> Result<Self, InvalidRequest> {
        let mut out = Outbox::new();
        request.encode(nonce, &mut out)?;
        let head = Bytes::from(mem::take(out.tail()));
        let mut http = ClientConn::new(limits, now.instant);
        http.handle_connected(now, timeouts, &patience(timeouts));
        http.request(&Message { head, framing: Framing::Empty, is_head: false, content: None }, None);
        http.sent(now, timeouts, &patience(timeouts));
        http.finish_by(now.instant + timeouts.head);
        let compression = request.compression.copied();
        let offered = request.subprotocols.iter().map(|offer| Box::from(*offer)).collect();
        Ok(Self { http, nonce, offered, compression, extension: None, refusal: None })
    }

    /// Reads the response; returns how many bytes it used, and how it ended once that is known. How the bytes are cut
    /// makes no difference.
    pub fn receive(&mut self, now: Now, timeouts: &Timeouts, input: &[u8]) -> (usize, Option<Opened>) {
        let mut used_up = 0;
        loop {
            let rest = input.get(used_up..).unwrap_or_default();
            let (used, event) = self.http.receive(now, &patience(timeouts), rest);
            used_up += used;
            let is_event = event.is_some();
            let opened = match event {
                Some(event) => self.handle_event(event),
                // The server speaks before it was spoken to.
                None if self.http.interest().close => Some(Opened::Failed(OpeningError::Http(ParseError::StatusLine))),
                None => None,
            };
            if opened.is_some() || !is_event && (used == 0 || used_up >= input.len()) {
                return (used_up, opened);
            }
        }
    }

    /// The server ended its direction, or the connection broke.
    pub fn handle_eof(&mut self) -> Opened {
        let last = self.http.handle_eof().and_then(|event| self.handle_event(event));
        last.unwrap_or_else(|| self.give_up(OpeningError::Http(ParseError::Truncated)))
    }

    fn handle_event(&mut self, event: ClientEvent<'_>) -> Option<Opened> {
        match (event, &mut self.refusal) {
            (ClientEvent::Response(head, _), _) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                Some(self.verify(&head.fields))
            }
            // RFC 9110 §15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final response".
            (ClientEvent::Response(head, _), _) if head.status.is_informational() => None,
            (ClientEvent::Response(head, _), refusal) => {
                *refusal = Some(Box::new(Refusal::new(&head)));
                None
            }
            (ClientEvent::Content(data), Some(refusal)) => {
                if refusal.push(data) {
                    None
                } else {
                    self.refusal.take().map(Opened::Refused)
                }
            }
            (ClientEvent::End(_), Some(refusal)) => {
                refusal.is_complete = true;
                self.refusal.take().map(Opened::Refused)
            }
            (ClientEvent::Failed(error), _) => Some(self.give_up(OpeningError::Http(error))),
            (ClientEvent::Content(_) | ClientEvent::End(_), None) => None,
        }
    }

    fn verify(&mut self, fields: &Fields<'_>) -> Opened {
        let offered: Vec<&str> = self.offered.iter().map(|offer| &**offer).collect();
        match verify(
            StatusCode::SWITCHING_PROTOCOLS.as_u16(),
            fields.iter(),
            self.nonce,
            &offered,
            self.compression.as_ref(),
        ) {
            Ok(verified) => {
                let agreed = self.compression.as_ref().zip(verified.compression);
                self.extension = agreed.map(|(settings, agreed)| Extension::new(agreed, settings));
                Opened::Accepted { subprotocol: verified.subprotocol.map(Into::into) }
            }
            Err(error) => Opened::Failed(OpeningError::Handshake(error)),
        }
    }

    /// A refusal that is not complete says more than the reason why it is not.
    fn give_up(&mut self, error: OpeningError) -> Opened {
        self.refusal.take().map_or(Opened::Failed(error), Opened::Refused)
    }

    /// Some of the outbox was written.
    pub fn wrote(&mut self, now: Now, timeouts: &Timeouts) {
        self.http.wrote(now, timeouts, &patience(timeouts));
    }

    /// A deadline may have passed: the end, then.
    pub fn handle_timeout(&mut self, now: Now) -> Option<Opened> {
        self.http.handle_timeout(now).then(|| self.give_up(OpeningError::TimedOut))
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.http.deadline()
    }

    /// What the host should do.
    pub fn interest(&self) -> Interest {
        self.http.interest()
    }

    /// What is to be written.
    pub fn outbox(&mut self) -> &mut Outbox {
        self.http.outbox()
    }

    /// The WebSocket, after [`Opened::Accepted`].
    pub fn into_socket(self, now: Now, limits: ws::Limits, timeouts: &Timeouts) -> WebSocketConn {
        let extension = self.extension;
        WebSocketConn::new(now, Role::Client, limits, timeouts, self.http.into_outbox()).with_extension(extension)
    }
}

/// One deadline for all of it is enough.
fn patience(timeouts: &Timeouts) -> Patience {
    Patience { first_byte: timeouts.head, idle: timeouts.head }
}

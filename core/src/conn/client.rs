//! The client side of an HTTP/1.1 connection: one request at a time, its response, and the question whether the
//! connection can be used again.

use super::end_chunks;
use super::{Interest, Timeouts, WriteTimer, earlier};
use crate::http1::{
    self, EncodeError, Fields, Framing, HeadWriter, Limits, Method, ParseError, Part, ResponseDecoder, ResponseHead,
    StatusCode,
};
use crate::outbox::Outbox;
use crate::time::{Instant, Now};
use bytes::Bytes;
use core::time::Duration;

/// What a server did.
#[derive(Debug)]
pub enum ClientEvent<'i> {
    /// A response began; an interim one (1xx but 101) is followed by another.
    Response(ResponseHead<'i>, Framing),
    /// A piece of its content.
    Content(&'i [u8]),
    /// The response is complete.
    End(Option<Fields<'i>>),
    /// The response cannot be read, or ended in the middle. The connection closes.
    Failed(ParseError),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Request {
    Idle,
    Length(u64),
    Chunked,
    Done,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Response {
    Idle,
    Awaited,
    Content,
    /// Everything from here on belongs to the new protocol.
    Switched,
}

/// The client side of an HTTP/1.1 connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClientConn {
    decoder: ResponseDecoder,
    out: Outbox,
    request: Request,
    response: Response,
    persist: bool,
    paused: bool,
    closed: bool,
    connected: bool,
    /// Silence of the server, while it owes something.
    read_by: Option<Instant>,
    write_by: WriteTimer,
}

impl ClientConn {
    /// A connection that is being opened; what is sent before waits in the outbox. `connect_by`: see
    /// [`deadline`](Self::deadline).
    pub fn new(limits: Limits, connect_by: Instant) -> Self {
        Self {
            decoder: ResponseDecoder::new(limits),
            out: Outbox::new(),
            request: Request::Idle,
            response: Response::Idle,
            persist: true,
            paused: false,
            closed: false,
            connected: false,
            read_by: Some(connect_by),
            write_by: WriteTimer::default(),
        }
    }

    /// The connection stands; `silence` is how long the server may take from now.
    pub fn handle_connected(&mut self, now: Now, timeouts: &Timeouts, silence: Duration) {
        self.connected = true;
        self.read_by = (self.response != Response::Idle).then(|| now.instant + silence);
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Sends a request head. `fields` writes all fields but the framing.
    ///
    /// # Errors
    /// A field or target that cannot be written; nothing was.
    pub fn request(
        &mut self,
        method: Method<'_>,
        target: &str,
        framing: Framing,
        fields: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut head = HeadWriter::request(&mut self.out, method.as_str(), target)?;
        fields(&mut head)?;
        self.request = match framing {
            Framing::Empty | Framing::UntilClose => Request::Done,
            Framing::Length(length) => {
                head.content_length(length)?;
                if length == 0 { Request::Done } else { Request::Length(length) }
            }
            Framing::Chunked => {
                head.chunked()?;
                Request::Chunked
            }
        };
        head.finish();
        self.decoder.expect(method);
        self.response = Response::Awaited;
        self.persist = true;
        Ok(())
    }

    /// Sends `request`, the bytes of a request without content that another connection did not answer.
    pub fn repeat(&mut self, request: Bytes, method: Method<'_>) {
        self.out.push(request);
        self.decoder.expect(method);
        self.request = Request::Done;
        self.response = Response::Awaited;
    }

    /// Something was queued: the deadlines begin.
    pub fn sent(&mut self, now: Now, timeouts: &Timeouts, silence: Duration) {
        if self.connected {
            self.write_by.queued(now.instant, timeouts.write, self.out.len());
            self.read_by = Some(now.instant + silence);
        }
    }

    /// Sends a piece of request content.
    pub fn send_content(&mut self, data: &[u8]) {
        match &mut self.request {
            Request::Length(left) => {
                let data = data.get(..usize::try_from(*left).unwrap_or(usize::MAX)).unwrap_or(data);
                self.out.extend(data);
                *left -= data.len() as u64;
                if *left == 0 {
                    self.request = Request::Done;
                }
            }
            Request::Chunked => http1::chunk(&mut self.out, data),
            Request::Idle | Request::Done => {}
        }
    }

    /// Ends the request content.
    pub fn end(&mut self, trailers: Option<&Fields<'_>>) {
        if self.request == Request::Chunked {
            end_chunks(&mut self.out, trailers);
            self.request = Request::Done;
        }
    }

    /// Takes the next event from the unread bytes; returns how many it used. Nothing while paused or switched.
    pub fn receive<'i>(&mut self, now: Now, silence: Duration, input: &'i [u8]) -> (usize, Option<ClientEvent<'i>>) {
        if self.closed {
            return (input.len(), None);
        }
        match self.response {
            Response::Switched => return (0, None),
            // RFC 9112 §9.2: bytes that nobody asked for; the connection cannot be trusted any more.
            Response::Idle if !input.is_empty() => {
                self.closed = true;
                return (input.len(), None);
            }
            Response::Idle => return (0, None),
            Response::Awaited | Response::Content if self.paused => return (0, None),
            Response::Awaited | Response::Content => {}
        }
        self.read_by = Some(now.instant + silence);
        match self.decoder.decode(input) {
            Ok((used, part)) => (used, part.map(|part| self.handle_part(part))),
            Err(error) => {
                self.closed = true;
                (input.len(), Some(ClientEvent::Failed(error)))
            }
        }
    }

    /// The server ended its direction. Completes a response that is delimited by that, fails any other.
    pub fn handle_eof(&mut self) -> Option<ClientEvent<'static>> {
        let response = core::mem::replace(&mut self.response, Response::Idle);
        self.closed = true;
        self.persist = false;
        match response {
            Response::Idle | Response::Switched => None,
            Response::Awaited | Response::Content => Some(match self.decoder.decode_eof() {
                Ok(_) => ClientEvent::End(None),
                Err(error) => ClientEvent::Failed(error),
            }),
        }
    }

    fn handle_part<'i>(&mut self, part: Part<'i, ResponseHead<'i>>) -> ClientEvent<'i> {
        match part {
            Part::Head(head, framing) => {
                if head.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.response = Response::Switched;
                    self.read_by = None;
                } else if head.status.as_u16() >= 200 {
                    self.response = Response::Content;
                    self.persist = head.keep_alive() && framing != Framing::UntilClose;
                }
                ClientEvent::Response(head, framing)
            }
            Part::Content(data) => ClientEvent::Content(data),
            Part::End(trailers) => {
                self.response = Response::Idle;
                self.read_by = None;
                ClientEvent::End(trailers)
            }
        }
    }

    /// Prepares for the next request, if the exchange was complete and clean in both directions.
    pub fn reuse(&mut self) -> bool {
        let clean = self.persist
            && !self.closed
            && self.connected
            && self.out.is_empty()
            && self.response == Response::Idle
            && self.request == Request::Done;
        if clean {
            self.request = Request::Idle;
            self.paused = false;
        }
        clean
    }

    /// Closes when idle for so long; another request cancels it.
    pub fn idle_until(&mut self, at: Instant) {
        self.read_by = Some(at);
    }

    /// Some of the outbox was written.
    pub fn wrote(&mut self, now: Now, timeouts: &Timeouts, silence: Duration) {
        self.write_by.wrote(now.instant, timeouts.write, self.out.len());
        if matches!(self.response, Response::Awaited) {
            self.read_by = Some(now.instant + silence);
        }
    }

    /// Whether a deadline has passed; the connection closes then.
    pub fn handle_timeout(&mut self, now: Now) -> bool {
        let due = self.deadline().is_some_and(|at| at <= now.instant);
        self.closed |= due;
        due
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        // While paused the server is not to blame for its silence.
        earlier(self.read_by.filter(|_| !self.paused), self.write_by.0).filter(|_| !self.closed)
    }

    /// Stops reading the response: its consumer is slow.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Reads the response again.
    pub fn resume(&mut self, now: Now, silence: Duration) {
        if self.paused {
            self.paused = false;
            self.read_by = self.read_by.map(|_| now.instant + silence);
        }
    }

    /// What the host should do.
    pub fn interest(&self) -> Interest {
        if self.closed {
            return Interest { close: true, ..Interest::default() };
        }
        Interest {
            read: self.connected && !self.paused,
            write: self.connected && !self.out.is_empty(),
            ..Interest::default()
        }
    }

    /// What is to be written.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.out
    }

    /// What is to be written.
    pub fn unsent(&self) -> &Outbox {
        &self.out
    }

    /// Drops the connection.
    pub fn abort(&mut self) {
        self.closed = true;
    }

    /// Gives the send queue away, after a switch of protocols.
    pub fn into_outbox(self) -> Outbox {
        self.out
    }
}

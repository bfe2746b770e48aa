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
use memchr::memchr;

/// How long a server may be silent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Patience {
    /// From the end of the request, or from an interim response, to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
}

/// A request as it is sent, over more than one connection if need be.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Message {
    /// The head, framing and the empty line included; [`encode_request`] makes one. `Host` may be missing.
    pub head: Bytes,
    /// How the content is delimited.
    pub framing: Framing,
    /// `HEAD`: the answer has no content.
    pub is_head: bool,
    /// All of the content, if it is here already.
    pub content: Option<Whole>,
}

/// All of a request's content.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Whole {
    /// The content, without its coding.
    pub data: Bytes,
    /// What follows it: the last chunk, with the trailers.
    pub end: Bytes,
}

/// Writes a request head to `out`. `fields` writes all fields but the framing.
///
/// # Errors
/// A field or target that cannot be written; nothing was.
pub fn encode_request(
    out: &mut Outbox,
    method: Method<'_>,
    target: &str,
    framing: Framing,
    fields: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let mut head = HeadWriter::request(out, method.as_str(), target)?;
    fields(&mut head)?;
    match framing {
        Framing::Empty | Framing::UntilClose => {}
        Framing::Length(length) => _ = head.content_length(length)?,
        Framing::Chunked => _ = head.chunked()?,
    }
    head.finish();
    Ok(())
}

/// The last chunk of a request whose content is held back, with its trailers.
pub fn encode_end(out: &mut Outbox, trailers: Option<&Fields<'_>>) {
    end_chunks(out, trailers);
}

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
    is_untouched: bool,
    /// Silence of the server, while it owes something.
    read_by: Option<Instant>,
    /// The end of the exchange, whatever happens.
    until: Option<Instant>,
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
            is_untouched: true,
            read_by: Some(connect_by),
            until: None,
            write_by: WriteTimer::default(),
        }
    }

    /// The connection stands.
    pub fn handle_connected(&mut self, now: Now, timeouts: &Timeouts, patience: &Patience) {
        self.connected = true;
        self.read_by = None;
        self.sent(now, timeouts, patience);
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Sends a request, without its content if that is still to come. `host` is written behind the request line.
    pub fn request(&mut self, message: &Message, host: Option<&str>) {
        let Message { head, framing, is_head, content } = message;
        match (host, memchr(b'\n', head).and_then(|end| head.split_at_checked(end + 1))) {
            (Some(host), Some((line, fields))) => {
                for piece in [line, b"host: ", host.as_bytes(), b"\r\n", fields] {
                    self.out.extend(piece);
                }
            }
            (Some(_) | None, _) => self.out.share(head),
        }
        self.request = match framing {
            Framing::Empty | Framing::UntilClose | Framing::Length(0) => Request::Done,
            Framing::Length(length) => Request::Length(*length),
            Framing::Chunked => Request::Chunked,
        };
        if let Some(Whole { data, end }) = content {
            match self.request {
                Request::Chunked => http1::chunk_shared(&mut self.out, data.clone()),
                Request::Idle | Request::Length(_) | Request::Done => self.out.share(data),
            }
            self.out.share(end);
            self.request = Request::Done;
        }
        self.decoder.expect(if *is_head { Method::Head } else { Method::Get });
        self.response = Response::Awaited;
        self.persist = true;
        self.is_untouched = true;
        if self.connected {
            // It is not idle any more.
            self.read_by = None;
        }
    }

    /// Whether nothing of the request has been written: the server cannot have acted on it.
    pub fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Whether nothing of the request is still to come.
    pub fn is_request_sent(&self) -> bool {
        self.request == Request::Done
    }

    /// Whether a byte of the answer has arrived, interim responses included.
    pub fn is_answering(&self) -> bool {
        self.response != Response::Awaited || !self.decoder.is_untouched()
    }

    /// Something was queued: the deadlines begin. The server's begins with the end of the request.
    pub fn sent(&mut self, now: Now, timeouts: &Timeouts, patience: &Patience) {
        if self.connected {
            self.write_by.queued(now.instant, timeouts.write, self.out.len());
            if self.response == Response::Awaited && self.request == Request::Done {
                self.read_by = Some(now.instant + patience.first_byte);
            }
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
    pub fn receive<'i>(&mut self, now: Now, patience: &Patience, input: &'i [u8]) -> (usize, Option<ClientEvent<'i>>) {
        if self.closed {
            return (input.len(), None);
        }
        match self.response {
            Response::Switched => return (0, None),
            // RFC 9112 §9.2: bytes that nobody asked for; the connection cannot be trusted any more. An answer to a
            // request that was not sent yet is none either.
            Response::Idle | Response::Awaited
                if !input.is_empty() && (self.is_untouched || self.response == Response::Idle) =>
            {
                self.closed = true;
                return (input.len(), None);
            }
            Response::Idle => return (0, None),
            Response::Awaited | Response::Content if self.paused => return (0, None),
            Response::Awaited | Response::Content => {}
        }
        if self.response == Response::Content {
            self.read_by = Some(now.instant + patience.idle);
        }
        match self.decoder.decode(input) {
            Ok((used, part)) => (used, part.map(|part| self.handle_part(now, patience, part))),
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

    fn handle_part<'i>(&mut self, now: Now, patience: &Patience, part: Part<'i, ResponseHead<'i>>) -> ClientEvent<'i> {
        match part {
            Part::Head(head, framing) => {
                if head.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.response = Response::Switched;
                    self.read_by = None;
                } else if head.status.as_u16() >= 200 {
                    self.response = Response::Content;
                    self.persist = head.keep_alive() && framing != Framing::UntilClose;
                    self.read_by = Some(now.instant + patience.idle);
                } else if self.read_by.is_some() {
                    self.read_by = Some(now.instant + patience.first_byte);
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
            self.until = None;
        }
        clean
    }

    /// Closes when idle for so long; another request cancels it.
    pub fn idle_until(&mut self, at: Instant) {
        self.read_by = Some(at);
    }

    /// The exchange has to be over by then.
    pub fn finish_by(&mut self, at: Instant) {
        self.until = Some(at);
    }

    /// Some of the outbox may have been written.
    pub fn offered(&mut self) {
        self.is_untouched = false;
    }

    /// Some of the outbox was written.
    pub fn wrote(&mut self, now: Now, timeouts: &Timeouts, patience: &Patience) {
        self.is_untouched = false;
        self.write_by.wrote(now.instant, timeouts.write, self.out.len());
        if self.response == Response::Awaited && self.request == Request::Done {
            self.read_by = Some(now.instant + patience.first_byte);
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
        let silence = self.read_by.filter(|_| !self.paused);
        earlier(earlier(silence, self.until), self.write_by.0).filter(|_| !self.closed)
    }

    /// Stops reading the response: its consumer is slow.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Reads the response again.
    pub fn resume(&mut self, now: Now, patience: &Patience) {
        if self.paused {
            self.paused = false;
            self.read_by = self.read_by.map(|_| now.instant + patience.idle);
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

//! The server side of an HTTP/1.1 connection: requests in order, one response each (RFC 9112).
//!
//! Two coupled automata. The request side is the decoder's: head, content, end. The response side:
//!
//! | state | leaves by | to |
//! |---|---|---|
//! | Idle | a request head arrived | Awaited |
//! | Awaited | `respond` with content to come | Sending |
//! | Awaited | `respond` with all of it | Done |
//! | Sending | `send_content` of the last byte, or `end` | Done |
//! | Done | the request has ended too, the connection persists | Idle |
//! | Done | it does not persist | closing |

use super::{Closing, Interest, Timeouts, WriteTimer, earlier, end_chunks};
use crate::http1::{
    self, EncodeError, FieldLines, Fields, Framing, HeadWriter, Limits, Method, ParseError, Part, RequestDecoder,
    RequestHead, StatusCode, Version,
};
use crate::outbox::Outbox;
use crate::time::{Instant, Now};
use bytes::Bytes;

const CLOSE: FieldLines = FieldLines::new("connection: close\r\n");
const KEEP_ALIVE: FieldLines = FieldLines::new("connection: keep-alive\r\n");
const REFUSAL: FieldLines = FieldLines::new("content-type: text/plain; charset=utf-8\r\nconnection: close\r\n");

/// What a client did.
#[derive(Debug)]
pub enum ServerEvent<'i> {
    /// A request began; its content follows if the framing says so. Answer it with [`ServerConn::respond`].
    Request(RequestHead<'i>, Framing),
    /// A piece of its content.
    Content(&'i [u8]),
    /// A request with content is complete; trailers if there were any.
    End(Option<Fields<'i>>),
    /// The request could not be read. The machine has answered and closes; this is for the log.
    Refused(ParseError),
}

/// How the content of a response is delimited and where it comes from.
#[derive(Clone, Debug)]
pub enum Content<'c> {
    /// None, and no length either: 1xx, 204, 304, and responses to CONNECT.
    None,
    /// All of it, now.
    Full(&'c [u8]),
    /// All of it, shared.
    Shared(Bytes),
    /// So many bytes, with [`ServerConn::send_content`].
    Length(u64),
    /// Pieces of unknown number, until [`ServerConn::end`]: chunked, or until close for HTTP/1.0.
    Stream,
    /// Bytes until the connection closes, for any version: event streams.
    UntilClose,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Response {
    Idle,
    Awaited,
    Length(u64),
    Chunked,
    UntilClose,
    /// The answer to HEAD: pieces are counted as sent and dropped.
    Headless,
    Done,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Request {
    /// Between requests, or in the middle of a head.
    Head,
    /// Content is arriving.
    Content,
    /// The client waits for a 100 before it sends content.
    Expecting,
    Ended,
}

/// The server side of an HTTP/1.1 connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ServerConn {
    decoder: RequestDecoder,
    out: Outbox,
    request: Request,
    response: Response,
    closing: Closing,
    version: Version,
    is_head: bool,
    persist: bool,
    paused: bool,
    eof: bool,
    head_begun: bool,
    /// The deadline of the request side; which one follows from the state.
    read_by: Option<Instant>,
    write_by: WriteTimer,
    /// Content bytes of the current request.
    received: u64,
    content_since: Instant,
}

impl ServerConn {
    /// A connection that was just accepted.
    pub fn new(now: Now, limits: Limits, timeouts: &Timeouts) -> Self {
        Self {
            decoder: RequestDecoder::new(limits),
            out: Outbox::new(),
            request: Request::Head,
            response: Response::Idle,
            closing: Closing::No,
            version: Version::Http11,
            is_head: false,
            persist: true,
            paused: false,
            eof: false,
            head_begun: false,
            read_by: Some(now.instant + timeouts.head),
            write_by: WriteTimer::default(),
            received: 0,
            content_since: now.instant,
        }
    }

    /// Takes the next event from the unread bytes `input`; returns how many bytes it used. Nothing while the
    /// connection is paused, or a complete request is still to be answered: offer the bytes again afterwards.
    pub fn receive<'i>(&mut self, now: Now, timeouts: &Timeouts, input: &'i [u8]) -> (usize, Option<ServerEvent<'i>>) {
        match self.closing {
            Closing::No => {}
            // Read and discard (RFC 9112 §9.6), so that the client can read the answer before a reset destroys it.
            Closing::Flushing | Closing::Lingering { .. } | Closing::Now => return (input.len(), None),
        }
        if self.paused || self.request == Request::Ended {
            return (0, None);
        }
        match self.decoder.decode(input) {
            Ok((used, None)) => {
                // The clock of a head starts with its first byte, the clock of idleness with the last response.
                if self.request == Request::Head && self.decoder.is_head_started() && !self.head_begun {
                    self.head_begun = true;
                    self.read_by = Some(now.instant + timeouts.head);
                }
                (used, None)
            }
            Ok((used, Some(part))) => (used, Some(self.handle_part(now, timeouts, part))),
            Err(error) => {
                self.refuse(now, timeouts, error.status());
                (input.len(), Some(ServerEvent::Refused(error)))
            }
        }
    }

    fn handle_part<'i>(&mut self, now: Now, timeouts: &Timeouts, part: Part<'i, RequestHead<'i>>) -> ServerEvent<'i> {
        match part {
            Part::Head(head, framing) => {
                self.head_begun = false;
                self.version = head.version;
                self.is_head = head.method == Method::Head;
                self.persist = head.keep_alive() && !self.eof;
                self.response = Response::Awaited;
                self.received = 0;
                self.content_since = now.instant;
                let expects = framing != Framing::Empty && head.version == Version::Http11 && head.expects_continue();
                self.request = if expects { Request::Expecting } else { Request::Content };
                self.arm_content(timeouts);
                if framing == Framing::Empty {
                    // Complete already: the decoder's end of it needs no bytes, and is of no interest.
                    let _ = self.decoder.decode(&[]);
                    self.request = Request::Ended;
                    self.read_by = None;
                }
                ServerEvent::Request(head, framing)
            }
            Part::Content(data) => {
                // RFC 9110 §10.1.1: content that arrives answers the question; no 100 is needed any more.
                self.request = Request::Content;
                self.received += data.len() as u64;
                self.arm_content(timeouts);
                ServerEvent::Content(data)
            }
            Part::End(trailers) => {
                self.request = Request::Ended;
                self.read_by = None;
                self.cycle(now, timeouts);
                ServerEvent::End(trailers)
            }
        }
    }

    /// The client ended its direction. What was asked for completely is still answered; then the connection closes.
    /// Returns whether the request at hand can never be completed.
    pub fn handle_eof(&mut self, now: Now, timeouts: &Timeouts) -> bool {
        self.eof = true;
        self.persist = false;
        match (self.closing, self.request) {
            (Closing::Lingering { .. }, _) => self.close_when_flushed(),
            (Closing::Flushing | Closing::Now, _) => {}
            (Closing::No, Request::Head) if self.decoder.is_head_started() => {
                self.refuse(now, timeouts, StatusCode::BAD_REQUEST);
                self.close_when_flushed();
            }
            (Closing::No, Request::Head) => self.close_when_flushed(),
            (Closing::No, Request::Content | Request::Expecting) => {
                self.closing = Closing::Now;
                return true;
            }
            (Closing::No, Request::Ended) => {}
        }
        false
    }

    /// Some of the outbox was written.
    pub fn wrote(&mut self, now: Now, timeouts: &Timeouts) {
        self.write_by.wrote(now.instant, timeouts.write, self.out.len());
        if self.out.is_empty() && self.closing == Closing::Flushing {
            self.closing = Closing::Now;
        }
    }

    /// The host ended the outgoing direction, as [`Interest::shutdown`] asked.
    pub fn handle_shutdown(&mut self) {
        if let Closing::Lingering { shut } = &mut self.closing {
            *shut = true;
        }
    }

    /// A deadline may have passed. Returns the status with which a slow request was refused.
    pub fn handle_timeout(&mut self, now: Now, timeouts: &Timeouts) -> Option<StatusCode> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if due(self.write_by.0) {
            self.closing = Closing::Now;
        }
        if !due(self.read_by) {
            return None;
        }
        self.read_by = None;
        match (self.closing, self.request) {
            (Closing::No, Request::Head) if !self.decoder.is_head_started() => self.close_when_flushed(),
            (Closing::No, Request::Head) => {
                self.refuse(now, timeouts, StatusCode::REQUEST_TIMEOUT);
                return Some(StatusCode::REQUEST_TIMEOUT);
            }
            (Closing::No, Request::Content | Request::Expecting) if self.response == Response::Awaited => {
                self.refuse(now, timeouts, StatusCode::REQUEST_TIMEOUT);
                return Some(StatusCode::REQUEST_TIMEOUT);
            }
            (Closing::No | Closing::Flushing | Closing::Lingering { .. } | Closing::Now, _) => {
                self.closing = Closing::Now
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.read_by, self.write_by.0)
    }

    /// What the host should do.
    pub fn interest(&self) -> Interest {
        let write = !self.out.is_empty();
        match self.closing {
            Closing::No => Interest { read: !self.eof && !self.paused, write, shutdown: false, close: false },
            Closing::Lingering { shut } => Interest { read: !self.eof, write, shutdown: !write && !shut, close: false },
            Closing::Flushing => Interest { read: false, write, shutdown: false, close: !write },
            Closing::Now => Interest { read: false, write: false, shutdown: false, close: true },
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

    /// Whether a request waits for [`respond`](Self::respond).
    pub fn is_response_awaited(&self) -> bool {
        self.response == Response::Awaited
    }

    /// Whether nothing is under way: no request begun, no response unfinished.
    pub fn is_idle(&self) -> bool {
        self.response == Response::Idle && !self.decoder.is_head_started()
    }

    /// Whether the client has ended its direction.
    pub fn is_half_closed(&self) -> bool {
        self.eof
    }

    /// Stops taking request content: its consumer is slow. The sender's clock stops too.
    pub fn pause(&mut self) {
        self.paused = true;
        self.read_by = None;
    }

    /// Takes request content again.
    pub fn resume(&mut self, now: Now, timeouts: &Timeouts) {
        if self.paused {
            self.paused = false;
            self.content_since = now.instant;
            self.received = 0;
            if matches!(self.request, Request::Content | Request::Expecting) {
                self.arm_content(timeouts);
            }
        }
    }

    /// Tells a client that waits with its content to send it (RFC 9110 §10.1.1).
    pub fn send_continue(&mut self, now: Now, timeouts: &Timeouts) {
        if self.request == Request::Expecting {
            self.request = Request::Content;
            self.out.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.write_by.queued(now.instant, timeouts.write, self.out.len());
        }
    }

    /// Sends an interim response (RFC 9110 §15.2); nothing to an HTTP/1.0 client.
    ///
    /// # Errors
    /// A field that cannot be written; nothing was.
    pub fn respond_interim(
        &mut self,
        status: StatusCode,
        fields: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if self.version == Version::Http10 || self.response != Response::Awaited {
            return Ok(());
        }
        let mut head = HeadWriter::response(&mut self.out, status);
        fields(&mut head)?;
        head.finish();
        Ok(())
    }

    /// Answers the request. `fields` writes all fields but the framing and `Connection`.
    ///
    /// # Errors
    /// A field that cannot be written; nothing was, and the request is still to be answered.
    pub fn respond(
        &mut self,
        now: Now,
        timeouts: &Timeouts,
        status: StatusCode,
        content: Content<'_>,
        fields: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if self.response != Response::Awaited {
            return Ok(());
        }
        // RFC 9110 §15.3.5, §15.4.5: whatever the handler has, these statuses have none.
        let content = if status.forbids_content() { Content::None } else { content };
        let until_close = match content {
            Content::UntilClose => true,
            Content::Stream => self.version == Version::Http10,
            Content::None | Content::Full(_) | Content::Shared(_) | Content::Length(_) => false,
        };
        // A client that is still sending may be answered early, but what follows its content cannot be told from it
        // without reading it all (RFC 9112 §9.3): close instead.
        let persist = self.persist && !until_close && self.request == Request::Ended;
        let mut head = HeadWriter::response(&mut self.out, status);
        fields(&mut head)?;
        match (persist, self.version) {
            (true, Version::Http11) => {}
            (true, Version::Http10) => _ = head.lines(KEEP_ALIVE),
            (false, _) => _ = head.lines(CLOSE),
        }
        let mut response = match &content {
            Content::None => Response::Done,
            Content::Full(data) => {
                head.content_length(data.len() as u64)?;
                Response::Done
            }
            Content::Shared(data) => {
                head.content_length(data.len() as u64)?;
                Response::Done
            }
            Content::Length(length) => {
                head.content_length(*length)?;
                Response::Length(*length)
            }
            Content::Stream if until_close => Response::UntilClose,
            Content::Stream => {
                head.chunked()?;
                Response::Chunked
            }
            Content::UntilClose => Response::UntilClose,
        };
        head.finish();
        self.persist = persist;
        if self.is_head && response != Response::Done {
            response = Response::Headless;
        }
        if response == Response::Length(0) {
            response = Response::Done;
        }
        self.response = response;
        match content {
            Content::Full(data) if !self.is_head => self.out.extend(data),
            Content::Shared(data) if !self.is_head => self.out.push(data),
            Content::Full(_)
            | Content::Shared(_)
            | Content::None
            | Content::Length(_)
            | Content::Stream
            | Content::UntilClose => {}
        }
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
        self.cycle(now, timeouts);
        Ok(())
    }

    /// Sends a piece of content. Bytes beyond the announced length are dropped: the framing is a promise.
    pub fn send_content(&mut self, now: Now, timeouts: &Timeouts, data: &[u8]) {
        match &mut self.response {
            Response::Length(left) => {
                let data = data.get(..usize::try_from(*left).unwrap_or(usize::MAX)).unwrap_or(data);
                self.out.extend(data);
                *left -= data.len() as u64;
                if *left == 0 {
                    self.response = Response::Done;
                }
            }
            Response::Chunked => http1::chunk(&mut self.out, data),
            Response::UntilClose => self.out.extend(data),
            Response::Headless | Response::Idle | Response::Awaited | Response::Done => {}
        }
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
        self.cycle(now, timeouts);
    }

    /// Sends a piece of content that others send too.
    pub fn send_shared(&mut self, now: Now, timeouts: &Timeouts, data: &Bytes) {
        if self.response == Response::UntilClose {
            self.out.share(data);
            self.write_by.queued(now.instant, timeouts.write, self.out.len());
        } else {
            self.send_content(now, timeouts, data);
        }
    }

    /// Whether the response at hand has no content, whatever is sent: the answer to HEAD.
    pub fn is_headless(&self) -> bool {
        self.response == Response::Headless
    }

    /// Ends the response. If content is missing, the connection is cut, so that the client notices (RFC 9112 §8).
    pub fn end(&mut self, now: Now, timeouts: &Timeouts, trailers: Option<&Fields<'_>>) {
        match self.response {
            Response::Chunked => end_chunks(&mut self.out, trailers),
            Response::UntilClose | Response::Headless => {}
            Response::Length(_) => return self.abort(),
            Response::Idle | Response::Awaited | Response::Done => return,
        }
        self.response = Response::Done;
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
        self.cycle(now, timeouts);
    }

    /// Drops the connection without completing anything.
    pub fn abort(&mut self) {
        self.out.clear();
        self.closing = Closing::Now;
    }

    /// Lets what is under way finish, then closes instead of waiting for another request.
    pub fn finish(&mut self) {
        self.persist = false;
        if self.is_idle() {
            self.close_when_flushed();
        }
    }

    /// Gives the send queue away, after a switch of protocols; the connection is of no use afterwards.
    pub fn into_outbox(self) -> Outbox {
        self.out
    }

    /// Answers 101 (RFC 9110 §15.2.2): `fields` writes everything, `Connection` and `Upgrade` too.
    ///
    /// # Errors
    /// A field that cannot be written; nothing was.
    pub fn switch_protocols(
        &mut self,
        now: Now,
        timeouts: &Timeouts,
        fields: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut head = HeadWriter::response(&mut self.out, StatusCode::SWITCHING_PROTOCOLS);
        fields(&mut head)?;
        head.finish();
        self.response = Response::Done;
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
        Ok(())
    }

    /// Both sides are done with this request: the next one, or the end.
    fn cycle(&mut self, now: Now, timeouts: &Timeouts) {
        if self.response != Response::Done || self.closing != Closing::No {
            return;
        }
        if self.request != Request::Ended {
            // Answered before the request was complete.
            self.linger(now, timeouts);
        } else if self.persist {
            self.decoder.start_next_message();
            self.request = Request::Head;
            self.response = Response::Idle;
            self.read_by = Some(now.instant + timeouts.idle);
        } else {
            self.close_when_flushed();
        }
    }

    fn refuse(&mut self, now: Now, timeouts: &Timeouts, status: StatusCode) {
        if matches!(self.response, Response::Idle | Response::Awaited) {
            let reason = status.reason();
            let mut head = HeadWriter::response(&mut self.out, status);
            head.lines(REFUSAL);
            // Cannot fail: it is the first framing field.
            let _ = head.content_length(reason.len() as u64 + 1);
            head.finish();
            if !self.is_head {
                self.out.extend(reason.as_bytes());
                self.out.extend(b"\n");
            }
            self.response = Response::Done;
            self.write_by.queued(now.instant, timeouts.write, self.out.len());
            self.linger(now, timeouts);
        } else {
            // In the middle of a response nothing can be said any more.
            self.abort();
        }
    }

    fn linger(&mut self, now: Now, timeouts: &Timeouts) {
        self.closing = Closing::Lingering { shut: false };
        self.read_by = Some(now.instant + timeouts.linger);
    }

    fn close_when_flushed(&mut self) {
        self.read_by = None;
        self.closing = if self.out.is_empty() { Closing::Now } else { Closing::Flushing };
    }

    fn arm_content(&mut self, timeouts: &Timeouts) {
        let earned = core::time::Duration::from_secs(self.received / timeouts.content_bytes_per_second.max(1));
        self.read_by = Some(self.content_since + timeouts.content + earned);
    }
}

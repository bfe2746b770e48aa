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
//! | Done | the request has ended too, the connection persists; a little content is waited for | Idle |
//! | Done | it does not persist | closing |

mod response;

pub use response::Content;

use super::{Closing, Interest, Timeouts, WriteTimer, earlier};
use crate::http1::{Fields, Framing, Limits, Method, ParseError, Part, RequestDecoder, RequestHead, Version};
use crate::outbox::Outbox;
use crate::time::{Instant, Now};

/// Of announced content that nobody wants, so much is read and dropped, so that the connection persists; with more to
/// come, or nobody knows how much, it closes.
const DRAINED_BYTES: u64 = 64 * 1024;

/// What a client did.
#[derive(Debug)]
pub enum ServerEvent<'i> {
    /// A request began; its content follows if the framing says so. Answer it with [`ServerConn::respond`].
    Request(RequestHead<'i>, Framing),
    /// A piece of its content.
    Content(&'i [u8]),
    /// A request with content is complete; trailers if there were any.
    End(Option<Fields<'i>>),
    /// The request cannot be read. Answer it with [`ServerConn::respond`] and the error's status; then it closes. With
    /// the bytes that could not be read: its head, unless that was read before.
    Refused(ParseError, &'i [u8]),
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
    /// Nothing more can be read of it.
    Refused,
}

/// The server side of an HTTP/1.1 connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ServerConn {
    decoder: RequestDecoder,
    out: Outbox,
    /// Bytes of content that the host writes itself, from a file, behind what is in `out`.
    direct: u64,
    request: Request,
    response: Response,
    closing: Closing,
    version: Version,
    is_head: bool,
    /// The content is announced, and not more than [`DRAINED_BYTES`].
    is_small: bool,
    persist: bool,
    paused: bool,
    eof: bool,
    /// What was queued will never be written.
    broken: bool,
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
            direct: 0,
            request: Request::Head,
            response: Response::Idle,
            closing: Closing::No,
            version: Version::Http11,
            is_head: false,
            is_small: false,
            persist: true,
            paused: false,
            eof: false,
            broken: false,
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
            Closing::Flushing if !input.is_empty() && !self.eof => {
                self.linger(now, timeouts);
                return (input.len(), None);
            }
            Closing::Flushing | Closing::Lingering { .. } | Closing::Now => return (input.len(), None),
        }
        if self.paused || matches!(self.request, Request::Ended | Request::Refused) {
            return (0, None);
        }
        match self.decoder.decode(input) {
            Ok((used, None)) => {
                // The clock of a head starts with its first byte, the clock of idleness with the last response.
                if self.request == Request::Head && self.decoder.is_head_started() && !self.head_begun {
                    self.head_begun = true;
                    self.read_by = Some(now.instant + timeouts.head);
                }
                // The client has said everything, and what is left is not a request.
                if self.eof {
                    self.handle_eof();
                }
                (used, None)
            }
            Ok((used, Some(part))) => (used, Some(self.handle_part(now, timeouts, part))),
            Err(error) => {
                if self.request == Request::Head {
                    // RFC 9110 §9.3.2, as far as a request is known that cannot be read.
                    self.is_head = input.starts_with(b"HEAD ");
                }
                let can_answer = self.refuse();
                (input.len(), can_answer.then_some(ServerEvent::Refused(error, input)))
            }
        }
    }

    fn handle_part<'i>(&mut self, now: Now, timeouts: &Timeouts, part: Part<'i, RequestHead<'i>>) -> ServerEvent<'i> {
        match part {
            Part::Head(head, framing) => {
                self.head_begun = false;
                self.version = head.version;
                self.is_head = head.method == Method::Head;
                self.is_small = matches!(framing, Framing::Length(..=DRAINED_BYTES));
                // `finish` may have said otherwise while the head was arriving.
                self.persist &= head.keep_alive();
                self.response = Response::Awaited;
                self.received = 0;
                self.content_since = now.instant;
                let expects = !matches!(framing, Framing::Empty | Framing::Length(0)) && head.expects_continue();
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

    /// The client ended its direction. What was asked for completely is still answered, pipelined requests too: offer what
    /// is left after each answer, even if that is nothing. Then the connection closes. A request that can never be
    /// completed any more is not answered: nobody would know to what.
    pub fn handle_eof(&mut self) {
        self.eof = true;
        match (self.closing, self.request) {
            // Our own end is still to be announced.
            (Closing::Lingering { shut: false }, _) => {}
            (Closing::Lingering { shut: true }, _) | (Closing::No, Request::Head) => self.close_when_flushed(),
            (Closing::Flushing | Closing::Now, _) => {}
            (Closing::No, Request::Content) if self.response == Response::Done => self.close_when_flushed(),
            (Closing::No, Request::Content | Request::Expecting) => self.closing = Closing::Now,
            (Closing::No, Request::Ended | Request::Refused) => {}
        }
    }

    /// Some of the outbox was written.
    pub fn wrote(&mut self, now: Now, timeouts: &Timeouts) {
        self.write_by.wrote(now.instant, timeouts.write, self.out.len());
        match self.closing {
            Closing::Flushing if self.out.is_empty() => self.closing = Closing::Now,
            Closing::Lingering { .. } => self.arm_linger(now, timeouts),
            Closing::No | Closing::Flushing | Closing::Now => {}
        }
    }

    /// The host ended the outgoing direction, as [`Interest::shutdown`] asked.
    pub fn handle_shutdown(&mut self) {
        if matches!(self.closing, Closing::Lingering { .. }) {
            self.closing = if self.eof { Closing::Now } else { Closing::Lingering { shut: true } };
        }
    }

    /// A deadline may have passed. `true`: a slow request is refused; answer it with [`respond`](Self::respond) and 408.
    pub fn handle_timeout(&mut self, now: Now) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if due(self.write_by.0) {
            self.closing = Closing::Now;
            self.broken = true;
        }
        if !due(self.read_by) {
            return false;
        }
        self.read_by = None;
        match (self.closing, self.request) {
            (Closing::No, Request::Head) if !self.decoder.is_head_started() => {
                self.close_when_flushed();
                false
            }
            (Closing::No, Request::Content) if self.response == Response::Done => {
                self.close_when_flushed();
                false
            }
            (Closing::No, Request::Head | Request::Content | Request::Expecting) => self.refuse(),
            (Closing::No, Request::Ended | Request::Refused)
            | (Closing::Flushing | Closing::Lingering { .. } | Closing::Now, _) => {
                self.closing = Closing::Now;
                false
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.read_by, self.write_by.0).filter(|_| self.closing != Closing::Now)
    }

    /// What the host should do.
    pub fn interest(&self) -> Interest {
        let write = !self.out.is_empty() || self.direct > 0;
        let none = Interest::default();
        match self.closing {
            Closing::No => Interest { read: !self.eof && !self.paused, write, ..none },
            Closing::Lingering { shut } => Interest { read: !self.eof, write, shutdown: !write && !shut, ..none },
            Closing::Flushing => Interest { write, close: !write, ..none },
            // Nothing but an error tells that a response without a length is not complete.
            Closing::Now => {
                Interest { close: true, reset: self.broken || self.response == Response::UntilClose, ..none }
            }
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

    /// Drops the connection without completing anything.
    pub fn abort(&mut self) {
        self.out.clear();
        self.direct = 0;
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

    /// The request cannot be read. Returns whether that can still be said: not in the middle of another answer.
    fn refuse(&mut self) -> bool {
        let can_answer = matches!(self.response, Response::Idle | Response::Awaited);
        if can_answer {
            self.response = Response::Awaited;
            self.request = Request::Refused;
            self.read_by = None;
        } else {
            self.abort();
        }
        can_answer
    }

    fn linger(&mut self, now: Now, timeouts: &Timeouts) {
        self.closing = Closing::Lingering { shut: false };
        self.arm_linger(now, timeouts);
    }

    /// Once everything is written, the peer has not for ever to read it. Until then, the write deadline counts.
    fn arm_linger(&mut self, now: Now, timeouts: &Timeouts) {
        self.read_by = self.out.is_empty().then(|| now.instant + timeouts.linger);
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

//! The response side of a server's connection.

use super::{Request, Response, ServerConn};
use crate::conn::{Closing, Timeouts, end_chunks};
use crate::http1::{self, EncodeError, FieldLines, Fields, HeadWriter, StatusCode, Version};
use crate::time::Now;
use bytes::Bytes;

const CLOSE: FieldLines = FieldLines::new("connection: close\r\n");
const KEEP_ALIVE: FieldLines = FieldLines::new("connection: keep-alive\r\n");

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

impl ServerConn {
    /// Whether a request waits for [`respond`](Self::respond).
    pub fn is_response_awaited(&self) -> bool {
        self.response == Response::Awaited
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
        now: Now,
        timeouts: &Timeouts,
        status: StatusCode,
        fields: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if self.version == Version::Http10 || self.response != Response::Awaited {
            return Ok(());
        }
        let mut head = HeadWriter::response(&mut self.out, status);
        fields(&mut head)?;
        head.finish();
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
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
        // RFC 9112 §9.3: "A server MUST read the entire request message body or close the connection after sending its
        // response; otherwise, the remaining data on a persistent connection would be misinterpreted as the next request."
        let is_drained = self.request == Request::Content && self.is_small;
        let persist = self.persist && !until_close && (self.request == Request::Ended || is_drained);
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

    /// The next `bytes` of an answer with a length are written by the host itself, from a file, once all before them was. Nothing else is
    /// sent until [`wrote_direct`](Self::wrote_direct) was told of all of them.
    pub fn send_direct(&mut self, now: Now, timeouts: &Timeouts, bytes: u64) {
        if let Response::Length(left) = self.response {
            self.direct = bytes.min(left);
            self.write_by.queued(now.instant, timeouts.write, self.unwritten());
        }
    }

    /// The host has written so many of them.
    pub fn wrote_direct(&mut self, now: Now, timeouts: &Timeouts, bytes: u64) {
        let Response::Length(left) = &mut self.response else { return };
        *left = left.saturating_sub(bytes);
        let is_done = *left == 0;
        self.direct = self.direct.saturating_sub(bytes);
        if is_done {
            self.response = Response::Done;
        }
        self.write_by.wrote(now.instant, timeouts.write, self.unwritten());
        if is_done {
            self.cycle(now, timeouts);
        }
    }

    /// What the peer has still to take, as far as it is offered (bytes).
    fn unwritten(&self) -> usize {
        self.out.len().saturating_add(usize::try_from(self.direct).unwrap_or(usize::MAX))
    }

    /// As [`send_content`](Self::send_content), for bytes that others hold too: they are not copied if there are many.
    pub fn send_shared(&mut self, now: Now, timeouts: &Timeouts, data: &Bytes) {
        match &mut self.response {
            Response::UntilClose => self.out.share(data),
            Response::Length(left) if data.len() as u64 <= *left => {
                self.out.share(data);
                *left -= data.len() as u64;
                if *left == 0 {
                    self.response = Response::Done;
                    self.cycle(now, timeouts);
                }
            }
            Response::Length(_)
            | Response::Chunked
            | Response::Headless
            | Response::Idle
            | Response::Awaited
            | Response::Done => return self.send_content(now, timeouts, data),
        }
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
    }

    /// Whether more of the response at hand is to come.
    pub fn is_responding(&self) -> bool {
        !matches!(self.response, Response::Idle | Response::Done)
    }

    /// Whether the request at hand is `HEAD`: the answer has the fields of a GET and no content (RFC 9110 §9.3.2).
    pub fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether the response at hand has no content, whatever is sent: the answer to HEAD.
    pub fn is_headless(&self) -> bool {
        self.response == Response::Headless
    }

    /// Ends the response. If content is missing, the connection is cut, so that the client notices (RFC 9112 §8).
    pub fn end(&mut self, now: Now, timeouts: &Timeouts, trailers: Option<&Fields<'_>>) {
        match self.response {
            // Of what was said before nothing is left.
            _ if self.closing == Closing::Now => return,
            Response::Chunked => end_chunks(&mut self.out, trailers),
            Response::Headless => {}
            // The end of the connection is that of the response: it has to arrive, TLS's announcement of it included.
            Response::UntilClose if self.closing == Closing::No => self.linger(now, timeouts),
            Response::UntilClose => {}
            Response::Length(_) => return self.cut(),
            Response::Idle | Response::Awaited | Response::Done => return,
        }
        self.response = Response::Done;
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
        self.cycle(now, timeouts);
    }

    /// Ends the connection in the middle of the response: what is queued is still sent if its framing tells the client
    /// that something is missing (RFC 9112 §8); else the connection is dropped.
    pub fn cut(&mut self) {
        match self.response {
            Response::Length(_) | Response::Chunked if self.closing == Closing::No => {
                self.direct = 0;
                self.close_when_flushed();
            }
            Response::Length(_)
            | Response::Chunked
            | Response::UntilClose
            | Response::Headless
            | Response::Idle
            | Response::Awaited
            | Response::Done => self.abort(),
        }
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
    pub(super) fn cycle(&mut self, now: Now, timeouts: &Timeouts) {
        if self.response != Response::Done || self.closing != Closing::No {
            return;
        }
        if self.request != Request::Ended && self.persist {
            // Answered before the request was complete, and the rest is little: whoever did not want it lets it come.
            self.resume(now, timeouts);
        } else if self.request != Request::Ended {
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
}

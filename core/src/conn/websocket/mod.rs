//! An open WebSocket: messages, automatic pongs, pings against silence, the close handshake (RFC 6455 §5.5, §7).

mod control;
mod send;

use super::{Closing, Interest, Timeouts, WriteTimer, earlier};
use crate::outbox::Outbox;
use crate::time::{Instant, Now};
use crate::ws::deflate::{Codec, Extension};
use crate::ws::{self, CloseCode, CloseFrame, Decoder, Item, Limits, Opcode, ProtocolError, Role};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use control::{ControlRate, Pongs};
use core::{mem, str};

/// What the peer did.
#[derive(Debug)]
pub enum WebSocketEvent<'i> {
    /// A text message.
    Text(Cow<'i, str>),
    /// A binary message.
    Binary(Cow<'i, [u8]>),
    /// A part of a message, after [`WebSocketConn::deliver_pieces`].
    Piece {
        /// `Text` or `Binary`, with all pieces of a message.
        opcode: Opcode,
        /// What has come since the piece before. Text may be cut inside a character; all pieces so far are the beginning of some
        /// UTF-8 text.
        data: Cow<'i, [u8]>,
        /// Whether the message ends here; only then `data` may be empty.
        is_last: bool,
    },
    /// The peer began the close handshake, or answered ours; nothing follows. `None`: without a code.
    Closed(Option<CloseFrame<'i>>),
    /// The peer broke the protocol; the connection fails with that error's close code.
    Failed(ProtocolError),
}

/// The bytes of a text, still owned if it was.
pub(crate) fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// An open WebSocket of either role.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct WebSocketConn {
    decoder: Decoder,
    out: Outbox,
    /// Whether our close frame was sent, and how the end comes.
    closing: Closing,
    role: Role,
    close_sent: bool,
    eof: bool,
    /// Nothing is read: who gets it is slow.
    paused: bool,
    /// Messages are given as they come.
    in_pieces: bool,
    /// A message is being sent in pieces.
    is_sending: bool,
    /// A ping waits for its pong.
    pinged: bool,
    /// When to ping, when the pong is late, when the peer's close frame is late.
    read_by: Option<Instant>,
    write_by: WriteTimer,
    control: ControlRate,
    /// While there are pongs in the outbox.
    pongs: Option<Box<Pongs>>,
    /// If messages may be compressed.
    extension: Option<Box<Extension>>,
}

impl WebSocketConn {
    /// After a completed opening handshake; `out` is what is still to be written before the first frame.
    pub fn new(now: Now, role: Role, limits: Limits, timeouts: &Timeouts, out: Outbox) -> Self {
        let mut write_by = WriteTimer::default();
        write_by.queued(now.instant, timeouts.write, out.len());
        Self {
            decoder: Decoder::new(role, limits),
            out,
            closing: Closing::No,
            role,
            close_sent: false,
            eof: false,
            paused: false,
            in_pieces: false,
            is_sending: false,
            pinged: false,
            read_by: Some(now.instant + timeouts.ping),
            write_by,
            control: ControlRate::new(&limits),
            pongs: None,
            extension: None,
        }
    }

    /// Messages may be compressed: the opening handshake has agreed on it.
    #[must_use]
    pub fn with_extension(mut self, extension: Option<Extension>) -> Self {
        if let Some(extension) = extension {
            self.decoder.allow_deflated();
            self.extension = Some(Box::new(extension));
        }
        self
    }

    /// Gives messages as they come, as [`WebSocketEvent::Piece`], instead of whole: for those that are larger than one wants to hold.
    /// [`Limits::message_bytes`] is then for compressed messages only, which are collected and come as one piece (the state of
    /// zlib is the thread's, not the connection's).
    #[must_use]
    pub const fn deliver_pieces(mut self) -> Self {
        self.decoder.deliver_pieces();
        self.in_pieces = true;
        self
    }

    /// Takes the next event from the unread bytes, unmasking them in place; returns how many it used. `codec` inflates what is
    /// compressed; `key` makes masking keys for a client's automatic frames.
    pub fn receive<'i>(
        &mut self,
        now: Now,
        timeouts: &Timeouts,
        codec: &mut Codec,
        mut key: impl FnMut() -> [u8; 4],
        input: &'i mut [u8],
    ) -> (usize, Option<WebSocketEvent<'i>>) {
        let length = input.len();
        if self.closing != Closing::No || self.eof {
            return (length, None);
        }
        if self.paused {
            return (0, None);
        }
        match self.decoder.decode(input) {
            Ok((used, item)) => {
                // Bytes that are left are offered again, whenever there is room: that is no sign of life.
                if !self.close_sent && used > 0 {
                    self.pinged = false;
                    self.read_by = Some(now.instant + timeouts.ping);
                }
                match item.map(|item| self.handle_item(now, timeouts, codec, &mut key, item)) {
                    Some(Ok(event)) => (used, event),
                    Some(Err(error)) => (length, Some(self.fail(now, timeouts, error, key))),
                    None => (used, None),
                }
            }
            Err(error) => (length, Some(self.fail(now, timeouts, error, key))),
        }
    }

    fn handle_item<'i>(
        &mut self,
        now: Now,
        timeouts: &Timeouts,
        codec: &mut Codec,
        mut key: impl FnMut() -> [u8; 4],
        item: Item<'i>,
    ) -> Result<Option<WebSocketEvent<'i>>, ProtocolError> {
        Ok(match item {
            // RFC 6455 §5.5.1: after our close frame, data is of no interest.
            Item::Text(_) | Item::Binary(_) | Item::Piece { .. } | Item::Deflated(..) if self.close_sent => None,
            Item::Text(text) => Some(WebSocketEvent::Text(text)),
            Item::Binary(data) => Some(WebSocketEvent::Binary(data)),
            Item::Piece { opcode, data, is_last } => {
                Some(WebSocketEvent::Piece { opcode, data: Cow::Borrowed(data), is_last })
            }
            Item::Deflated(opcode, data) => Some(self.inflate(codec, opcode, &data)?),
            Item::Ping(payload) => {
                self.control.count(now.instant)?;
                self.pong(now, timeouts, payload, key);
                None
            }
            Item::Pong(_) => {
                self.control.count(now.instant)?;
                None
            }
            Item::Close(frame) => {
                // RFC 6455 §5.5.1: echo the code; a close without one is answered without one.
                match &frame {
                    Some(CloseFrame { code, .. }) => self.close_with(now, timeouts, *code, "", key),
                    None if !self.close_sent => {
                        let key = (self.role == Role::Client).then(&mut key);
                        ws::encode(Opcode::Close, &[], key, &mut self.out);
                        self.close_sent = true;
                        self.queued(now, timeouts);
                    }
                    None => {}
                }
                self.finish(now, timeouts);
                Some(WebSocketEvent::Closed(frame))
            }
        })
    }

    /// Answers a ping, unless nothing more is said (§5.5.2).
    fn pong(&mut self, now: Now, timeouts: &Timeouts, payload: &[u8], key: impl FnMut() -> [u8; 4]) {
        if self.close_sent {
            return;
        }
        let key = (self.role == Role::Client).then(key);
        match &mut self.pongs {
            Some(pongs) if pongs.are_enough() => {
                let mut frame = Outbox::new();
                ws::encode(Opcode::Pong, payload, key, &mut frame);
                pongs.hold(mem::take(frame.tail()));
            }
            pongs => {
                ws::encode(Opcode::Pong, payload, key, &mut self.out);
                match pongs {
                    Some(pongs) => pongs.queued(self.out.len()),
                    None => *pongs = Some(Box::new(Pongs::first(self.out.len()))),
                }
                self.queued(now, timeouts);
            }
        }
    }

    fn inflate(
        &mut self,
        codec: &mut Codec,
        opcode: Opcode,
        data: &[u8],
    ) -> Result<WebSocketEvent<'static>, ProtocolError> {
        let limit = self.decoder.message_limit();
        // The decoder gives none that was not agreed on.
        let Some(extension) = &mut self.extension else { return Err(ProtocolError::ReservedBits) };
        let message = extension.inflate(codec, data, limit)?;
        if self.in_pieces {
            if opcode == Opcode::Text {
                str::from_utf8(&message).map_err(|_| ProtocolError::InvalidUtf8)?;
            }
            return Ok(WebSocketEvent::Piece { opcode, data: Cow::Owned(message), is_last: true });
        }
        Ok(match opcode {
            Opcode::Text => {
                let text = String::from_utf8(message).map_err(|_| ProtocolError::InvalidUtf8)?;
                WebSocketEvent::Text(Cow::Owned(text))
            }
            _ => WebSocketEvent::Binary(Cow::Owned(message)),
        })
    }

    fn fail(
        &mut self,
        now: Now,
        timeouts: &Timeouts,
        error: ProtocolError,
        key: impl FnMut() -> [u8; 4],
    ) -> WebSocketEvent<'static> {
        self.close_with(now, timeouts, error.close_code(), "", key);
        self.finish(now, timeouts);
        WebSocketEvent::Failed(error)
    }

    /// Begins the close handshake.
    pub fn close(
        &mut self,
        now: Now,
        timeouts: &Timeouts,
        code: CloseCode,
        reason: &str,
        key: impl FnMut() -> [u8; 4],
    ) {
        if self.is_open() {
            self.close_with(now, timeouts, code, reason, key);
            self.read_by = Some(now.instant + timeouts.pong);
            self.paused = false;
        }
    }

    /// Stops reading: who gets the messages is slow. The peer is not asked whether it is still there meanwhile.
    pub fn pause(&mut self) {
        self.paused = self.is_open();
    }

    /// Reads again.
    pub fn resume(&mut self, now: Now, timeouts: &Timeouts) {
        if mem::take(&mut self.paused) {
            self.pinged = false;
            self.read_by = Some(now.instant + timeouts.ping);
        }
    }

    /// Whether reading is stopped.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Drops the connection.
    pub fn abort(&mut self) {
        self.closing = Closing::Now;
    }

    /// Whether messages can still be sent.
    pub fn is_open(&self) -> bool {
        !self.close_sent && self.closing == Closing::No
    }

    /// The peer ended its direction, or the connection broke: without a close frame that is 1006.
    pub fn handle_eof(&mut self) {
        self.eof = true;
        self.read_by = None;
        self.closing = if self.out.is_empty() { Closing::Now } else { Closing::Flushing };
    }

    /// Some of the outbox was written.
    pub fn wrote(&mut self, now: Now, timeouts: &Timeouts) {
        if let Some(held) = self.pongs.as_mut().and_then(|pongs| pongs.wrote(self.out.len())) {
            self.pongs = None;
            if !held.is_empty() && !self.close_sent {
                self.out.extend(&held);
                self.pongs = Some(Box::new(Pongs::first(self.out.len())));
            }
        }
        self.write_by.wrote(now.instant, timeouts.write, self.out.len());
        if self.out.is_empty() && self.closing == Closing::Flushing {
            self.closing = Closing::Now;
        }
    }

    /// The host ended the outgoing direction.
    pub fn handle_shutdown(&mut self) {
        if let Closing::Lingering { shut } = &mut self.closing {
            *shut = true;
        }
    }

    /// A deadline may have passed: ping, or give the connection up.
    pub fn handle_timeout(&mut self, now: Now, timeouts: &Timeouts, key: impl FnMut() -> [u8; 4]) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if due(self.write_by.0) {
            self.closing = Closing::Now;
        }
        if self.paused || !due(self.read_by) {
            return;
        }
        if !self.out.is_empty() && self.is_open() {
            // Whoever is slow to read is not silent: what it owes us may come behind what it reads. It has to make progress.
            self.read_by = Some(now.instant + timeouts.ping);
            return;
        }
        if self.pinged || self.close_sent || self.closing != Closing::No {
            self.read_by = None;
            self.closing = Closing::Now;
            return;
        }
        self.pinged = true;
        ws::encode(Opcode::Ping, &[], (self.role == Role::Client).then(key), &mut self.out);
        self.read_by = Some(now.instant + timeouts.pong);
        self.queued(now, timeouts);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.read_by.filter(|_| !self.paused), self.write_by.0).filter(|_| self.closing != Closing::Now)
    }

    /// What the host should do.
    #[inline(always)]
    pub fn interest(&self) -> Interest {
        let write = !self.out.is_empty();
        let none = Interest::default();
        match self.closing {
            Closing::No => Interest { read: !self.eof && !self.paused, write, ..none },
            Closing::Lingering { shut } => Interest { read: !self.eof, write, shutdown: !write && !shut, ..none },
            Closing::Flushing => Interest { write, close: !write, ..none },
            Closing::Now => Interest { close: true, ..none },
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

    /// The outbox has grown.
    fn queued(&mut self, now: Now, timeouts: &Timeouts) {
        if let Some(pongs) = &mut self.pongs {
            pongs.followed(self.out.len());
        }
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
    }

    fn close_with(
        &mut self,
        now: Now,
        timeouts: &Timeouts,
        code: CloseCode,
        reason: &str,
        key: impl FnMut() -> [u8; 4],
    ) {
        if !self.close_sent {
            self.close_sent = true;
            ws::encode_close(code, reason, (self.role == Role::Client).then(key), &mut self.out);
            self.queued(now, timeouts);
        }
    }

    /// Both close frames are on their way, or the protocol was broken. RFC 6455 §7.1.1: the server closes TCP first;
    /// the client waits for it.
    fn finish(&mut self, now: Now, timeouts: &Timeouts) {
        self.read_by = Some(now.instant + timeouts.linger);
        self.closing = Closing::Lingering { shut: false };
    }
}

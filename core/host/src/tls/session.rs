//! TLS as a byte transform over any stream: ciphertext in, plaintext out, and back. Once for all runtimes.
//!
//! Nothing is held back: what was decrypted is read before the socket is asked for more, and what was encrypted is with
//! the socket before a write counts as done. So at most one write (64 KiB) and one record are held per connection, and
//! the deadlines of the shard see the progress of the socket.

use super::ahead::Ahead;
use crate::io::gather;
use brolly_core::driver::Stream;
use brolly_core::shard::IoError;
use rustls::{ClientConnection, Connection, InvalidMessage, ProtocolVersion, ServerConnection};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem;
use std::task::{Context, Poll, Waker, ready};

/// How much ciphertext is read at a time (bytes): a record and its overhead, so that rustls takes all of it.
const RECORD: usize = 16 * 1024 + 256;
/// Reads that decrypt to nothing before others get their turn.
const ROUNDS: usize = 16;

/// The TLS of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    tls: Connection,
    /// Bytes of the write that is pending: encrypted, and on their way.
    taken: usize,
    is_shut: bool,
}

/// Why TLS ended.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The stream below it did.
    Stream(IoError),
    /// The peer did something wrong, or cannot be trusted.
    Tls(rustls::Error),
}

impl From<Broken> for IoError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Stream(error) => error,
            Broken::Tls(rustls::Error::InvalidCertificate(_)) => Self::Certificate,
            Broken::Tls(_) => Self::Tls,
        }
    }
}

impl From<IoError> for Broken {
    fn from(error: IoError) -> Self {
        Self::Stream(error)
    }
}

impl From<ServerConnection> for Session {
    fn from(connection: ServerConnection) -> Self {
        Self { tls: connection.into(), taken: 0, is_shut: false }
    }
}

impl From<ClientConnection> for Session {
    fn from(connection: ClientConnection) -> Self {
        Self { tls: connection.into(), taken: 0, is_shut: false }
    }
}

impl Session {
    /// What was agreed on, once the handshake is done.
    pub(crate) fn connection(&self) -> &Connection {
        &self.tls
    }

    /// Everything up to the first byte of the application.
    pub(crate) fn poll_handshake<S: Stream>(
        &mut self,
        base: &mut Ahead<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let mut buffer = [0; 4096];
        for _ in 0..ROUNDS {
            let flushed = self.poll_flush(base, cx)?;
            if !self.tls.is_handshaking() {
                // In 1.3 a server has nothing left to send but tickets, which a client need not read before it speaks.
                let is_last_to_speak = matches!(self.tls, Connection::Client(_))
                    || self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_2);
                return if is_last_to_speak { flushed.map(Ok) } else { Poll::Ready(Ok(())) };
            }
            match ready!(base.poll_read(cx, &mut buffer))? {
                0 => return Poll::Ready(Err(IoError::ConnectionReset.into())),
                bytes => self.take(base, cx, &buffer[..bytes])?,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads plaintext. An end of the stream that the peer has not announced (`close_notify`, RFC 8446 §6.1) is a cut:
    /// whoever takes the end of the stream for the end of a message must not be deceived (RFC 9112 §9.8).
    pub(crate) fn poll_read<S: Stream>(
        &mut self,
        base: &mut Ahead<S>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, IoError>> {
        // The end of the handshake, tickets: what did not go at once, and no write takes along.
        let _goes_on = self.poll_flush(base, cx);
        for _ in 0..ROUNDS {
            match self.tls.reader().read(buffer) {
                Ok(bytes) => return Poll::Ready(Ok(bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(IoError::ConnectionReset)),
            }
            // There is no plaintext, so that the caller's buffer is free for ciphertext.
            let room = buffer.len().min(RECORD);
            match ready!(base.poll_read(cx, &mut buffer[..room]))? {
                0 if self.tls.read_tls(&mut io::empty()).is_err() => return Poll::Ready(Err(IoError::ConnectionReset)),
                0 => {}
                bytes => self.take(base, cx, &buffer[..bytes])?,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes plaintext. Ready once the socket has its records: until then, the next call must offer the same bytes again.
    pub(crate) fn poll_write<S: Stream>(
        &mut self,
        base: &mut Ahead<S>,
        cx: &mut Context<'_>,
        slices: &[&[u8]],
    ) -> Poll<Result<usize, IoError>> {
        if self.taken == 0 {
            let (slices, filled) = gather(slices);
            self.taken = self.tls.writer().write_vectored(&slices[..filled]).map_err(|_| IoError::Tls)?;
        }
        ready!(self.poll_flush(base, cx))?;
        Poll::Ready(Ok(mem::take(&mut self.taken)))
    }

    /// Announces the end of the outgoing direction, and ends it.
    pub(crate) fn poll_shutdown<S: Stream>(
        &mut self,
        base: &mut Ahead<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), IoError>> {
        if !mem::replace(&mut self.is_shut, true) {
            self.tls.send_close_notify();
        }
        ready!(self.poll_flush(base, cx))?;
        base.poll_shutdown(cx)
    }

    /// Announces the end, if the socket takes that at once.
    pub(crate) fn farewell<S: Stream>(&mut self, base: &mut Ahead<S>) {
        if !self.is_shut && self.taken == 0 {
            self.tls.send_close_notify();
            let _ = self.poll_flush(base, &mut Context::from_waker(Waker::noop()));
        }
    }

    /// Decrypts; what finds no room before more plaintext is read goes back to be read again.
    fn take<S: Stream>(&mut self, base: &mut Ahead<S>, cx: &mut Context<'_>, mut input: &[u8]) -> Result<(), Broken> {
        let mut result = Ok(());
        // Nothing is read behind a close_notify.
        while result.is_ok() && !input.is_empty() {
            match self.tls.read_tls(&mut input) {
                Ok(0) => break,
                Ok(_) => result = self.tls.process_new_packets().map(drop).map_err(Broken::Tls),
                // A handshake message that will never find room; otherwise plaintext has to be read first.
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    result = Err(Broken::Tls(InvalidMessage::HandshakePayloadTooLarge.into()));
                }
                Err(_) => break,
            }
        }
        base.unread(input);
        // Answers to the peer: the handshake, tickets, key updates, and the alert that says what is wrong. If they cannot be
        // written, what the peer has said may still be worth reading; the next write will say so.
        let _goes_on = self.poll_flush(base, cx);
        result
    }

    fn poll_flush<S: Stream>(&mut self, base: &mut Ahead<S>, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        while self.tls.wants_write() {
            let mut wire = Wire { base, cx, error: None };
            match self.tls.write_tls(&mut wire) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(_) => return Poll::Ready(Err(wire.error.unwrap_or(IoError::Other))),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The socket as rustls wants it.
struct Wire<'w, 'c, S> {
    base: &'w mut Ahead<S>,
    cx: &'w mut Context<'c>,
    error: Option<IoError>,
}

impl<S: Stream> Wire<'_, '_, S> {
    fn result(&mut self, written: Poll<Result<usize, IoError>>) -> io::Result<usize> {
        match written {
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
            Poll::Ready(result) => result.map_err(|error| {
                self.error = Some(error);
                ErrorKind::Other.into()
            }),
        }
    }
}

impl<S: Stream> Write for Wire<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.base.poll_write(self.cx, &[bytes]);
        self.result(written)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut slices: [&[u8]; 16] = [&[]; 16];
        let pieces = pieces.iter().filter(|piece| !piece.is_empty());
        let filled = slices.iter_mut().zip(pieces).map(|(to, from)| *to = from).count();
        let written = self.base.poll_write(self.cx, &slices[..filled]);
        self.result(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

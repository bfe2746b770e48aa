//! A stream some of whose bytes were read before their time.

use brolly_core::driver::Stream;
use brolly_core::shard::IoError;
use std::task::{Context, Poll, ready};

/// How much is looked at before it is known what it is (bytes).
const PEEK: usize = 1024;

/// A stream, and what was read of it and not used.
#[derive(Debug)]
pub(crate) struct Ahead<S> {
    stream: S,
    /// No memory while there are none.
    bytes: Vec<u8>,
}

impl<S> Ahead<S> {
    /// Where to write to.
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: Stream> Ahead<S> {
    /// Nothing was read yet.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, bytes: Vec::new() }
    }

    /// What was read and not used.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops the first `len` of those bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.bytes.drain(..len.min(self.bytes.len()));
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// Puts bytes back in front.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.splice(..0, bytes.iter().copied());
        }
    }

    /// Reads more behind the bytes that are there.
    ///
    /// # Errors
    /// The stream has ended, or broke.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        let mut buffer = [0; PEEK];
        Poll::Ready(match ready!(self.stream.poll_read(cx, &mut buffer))? {
            0 => Err(IoError::ConnectionReset),
            read => {
                self.bytes.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        })
    }
}

impl<S: Stream> Stream for Ahead<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        if self.bytes.is_empty() {
            return self.stream.poll_read(cx, buffer);
        }
        let len = buffer.len().min(self.bytes.len());
        buffer[..len].copy_from_slice(&self.bytes[..len]);
        self.consume(len);
        Poll::Ready(Ok(len))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        self.stream.poll_write(cx, slices)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        self.stream.poll_shutdown(cx)
    }

    fn reset(&mut self) {
        self.stream.reset();
    }
}

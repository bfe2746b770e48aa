//! Sockets by smol.

use brolly_core::driver::Stream;
use brolly_core::shard::{Address, FileRange, IoError};
use brolly_host::{io, listen};
use smol::Async;
use socket2::Socket;
use std::fs::File;
use std::io::{ErrorKind, Read, Result, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A connected socket.
#[derive(Debug)]
pub struct SmolStream {
    socket: Async<Socket>,
    /// The last read did not fill the buffer: the next one would find nothing before the system says so.
    is_drained: bool,
}

impl SmolStream {
    pub(crate) fn new(socket: Async<Socket>) -> Self {
        Self { socket, is_drained: false }
    }

    pub(crate) async fn connect(to: Address) -> core::result::Result<Self, IoError> {
        let connected = async {
            let socket = Async::new_nonblocking(listen::connect(&to)?)?;
            socket.writable().await?;
            socket.get_ref().take_error()?.map_or_else(|| Ok(Self::new(socket)), Err)
        };
        connected.await.map_err(|error| io::error(&error))
    }

    /// Writes a piece of a file, as much as the socket takes.
    pub(crate) fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        file: &File,
        range: &FileRange,
    ) -> Poll<core::result::Result<u64, IoError>> {
        loop {
            match io::send_file(self.socket.get_ref(), file, range) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_writable(cx)).map_err(|error| io::error(&error))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent.map_err(|error| io::error(&error))),
            }
        }
    }

    /// Our end's address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.socket.get_ref().local_addr().ok()?.as_socket()
    }

    fn try_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        loop {
            // Once is enough: whoever polls again after it was pending was woken, and finds something.
            if mem::take(&mut self.is_drained) {
                ready!(self.socket.poll_readable(cx))?;
            }
            match self.socket.get_ref().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_drained = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => {
                    // The end of the stream fills no buffer either, but there is no next read.
                    self.is_drained = result.as_ref().is_ok_and(|&bytes| bytes < buffer.len());
                    return Poll::Ready(result);
                }
            }
        }
    }

    fn try_write(&self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize>> {
        loop {
            let result = if let [slice] = slices {
                self.socket.get_ref().write(slice)
            } else {
                let (slices, filled) = io::gather(slices);
                self.socket.get_ref().write_vectored(&slices[..filled])
            };
            match result {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(self.socket.poll_writable(cx))?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl Stream for SmolStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<core::result::Result<usize, IoError>> {
        self.try_read(cx, buffer).map_err(|error| io::error(&error))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<core::result::Result<usize, IoError>> {
        self.try_write(cx, slices).map_err(|error| io::error(&error))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<core::result::Result<(), IoError>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write).map_err(|error| io::error(&error)))
    }

    fn reset(&mut self) {
        // If it fails, the connection is gone.
        let _ = self.socket.get_ref().set_linger(Some(Duration::ZERO));
    }
}

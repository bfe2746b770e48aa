//! Sockets by tokio.

use brolly_core::driver::Stream;
use brolly_core::shard::{Address, FileRange, IoError};
use brolly_host::io;
use brolly_host::listen::{Bound, IS_NODELAY_INHERITED};
use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A listening socket.
#[derive(Debug)]
pub(crate) enum TokioListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl TokioListener {
    pub(crate) fn new(bound: Bound) -> std::io::Result<Self> {
        Ok(match bound {
            Bound::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    /// A connection, and the address of its other end if it has one.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<(Option<SocketAddr>, TokioStream)>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                if !IS_NODELAY_INHERITED {
                    // If it fails, the connection is gone, and reading will say so.
                    let _ = stream.set_nodelay(true);
                }
                Poll::Ready(Ok((Some(peer), TokioStream::Tcp(stream))))
            }
            Self::Unix(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(Ok((None, TokioStream::Unix(stream))))
            }
        }
    }
}

/// A connected socket.
#[derive(Debug)]
pub enum TokioStream {
    /// With no delay.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

impl TokioStream {
    pub(crate) async fn connect(to: Address) -> Result<Self, IoError> {
        let connected = async {
            match to {
                Address::Tcp(to) => {
                    let stream = TcpStream::connect(to).await?;
                    stream.set_nodelay(true)?;
                    Ok(Self::Tcp(stream))
                }
                Address::Unix(path) => UnixStream::connect(&*path).await.map(Self::Unix),
            }
        };
        connected.await.map_err(|error| io::error(&error))
    }

    /// Writes a piece of a file, as much as the socket takes.
    pub(crate) fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &File,
        range: &FileRange,
    ) -> Poll<Result<u64, IoError>> {
        loop {
            let (ready, sent) = match self {
                Self::Tcp(stream) => (
                    stream.poll_write_ready(cx),
                    stream.try_io(Interest::WRITABLE, || io::send_file(&*stream, file, range)),
                ),
                Self::Unix(stream) => (
                    stream.poll_write_ready(cx),
                    stream.try_io(Interest::WRITABLE, || io::send_file(&*stream, file, range)),
                ),
            };
            match sent {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(ready).map_err(|error| io::error(&error))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent.map_err(|error| io::error(&error))),
            }
        }
    }

    /// Our end's address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl Stream for TokioStream {
    /// A read that does not fill the buffer ends the readiness, so that the next one does not ask the system in vain.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let mut buffer = ReadBuf::new(buffer);
        let result = match self {
            Self::Tcp(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer)),
            Self::Unix(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer)),
        };
        Poll::Ready(result.map(|()| buffer.filled().len()).map_err(|error| io::error(&error)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        match self {
            Self::Tcp(stream) => write(stream, cx, slices),
            Self::Unix(stream) => write(stream, cx, slices),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        let result = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        result.map_err(|error| io::error(&error))
    }

    fn reset(&mut self) {
        if let Self::Tcp(stream) = self {
            // If it fails, the connection is gone.
            let _ = stream.set_zero_linger();
        }
    }
}

fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    slices: &[&[u8]],
) -> Poll<Result<usize, IoError>> {
    let stream = Pin::new(stream);
    let result = if let [slice] = slices {
        ready!(stream.poll_write(cx, slice))
    } else {
        let (slices, filled) = io::gather(slices);
        ready!(stream.poll_write_vectored(cx, &slices[..filled]))
    };
    Poll::Ready(result.map_err(|error| io::error(&error)))
}

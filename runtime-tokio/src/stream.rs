//! Sockets by tokio.

use brolly_core::driver::Stream;
use brolly_core::shard::IoError;
use brolly_host::io;
use brolly_host::listen::IS_NODELAY_INHERITED;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct TokioStream(TcpStream);

impl TokioStream {
    pub(crate) fn accepted(stream: TcpStream) -> Self {
        if !IS_NODELAY_INHERITED {
            // If it fails, the connection is gone, and reading will say so.
            let _ = stream.set_nodelay(true);
        }
        Self(stream)
    }

    pub(crate) async fn connect(to: SocketAddr) -> Result<Self, IoError> {
        let connected = async {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Self(stream))
        };
        connected.await.map_err(|error| io::error(&error))
    }
}

impl Stream for TokioStream {
    /// A read that does not fill the buffer ends the readiness, so that the next one does not ask the system in vain.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let mut buffer = ReadBuf::new(buffer);
        let result = ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer));
        Poll::Ready(result.map(|()| buffer.filled().len()).map_err(|error| io::error(&error)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        let stream = Pin::new(&mut self.0);
        let result = if let [slice] = slices {
            ready!(stream.poll_write(cx, slice))
        } else {
            let (slices, filled) = io::gather(slices);
            ready!(stream.poll_write_vectored(cx, &slices[..filled]))
        };
        Poll::Ready(result.map_err(|error| io::error(&error)))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map_err(|error| io::error(&error))
    }
}

//! Listeners by smol.

use crate::stream::SmolStream;
use brolly_host::listen::{self, Bound};
use smol::Async;
use socket2::Socket;
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::task::{Context, Poll};

/// A listener.
#[derive(Debug)]
pub(crate) struct SmolListener(Async<Socket>);

impl SmolListener {
    pub(crate) fn new(bound: Bound) -> Result<Self> {
        Ok(Self(Async::new_nonblocking(bound.into())?))
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<(Option<SocketAddr>, SmolStream)>> {
        loop {
            match listen::accept(self.0.get_ref()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::task::ready!(self.0.poll_readable(cx))?,
                accepted => {
                    return Poll::Ready(
                        accepted
                            .and_then(|(socket, peer)| Ok((peer, SmolStream::new(Async::new_nonblocking(socket)?)))),
                    );
                }
            }
        }
    }
}

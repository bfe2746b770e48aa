//! Listeners by smol.

use crate::stream::SmolStream;
use brolly_host::listen::{self, Bound};
use smol::Async;
use socket2::Socket;
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A listener that asks the system only when something happened: it is polled in every turn of the shard.
#[derive(Debug)]
pub(crate) struct SmolListener {
    socket: Async<Socket>,
    bell: Arc<Bell>,
    waker: Waker,
}

impl SmolListener {
    pub(crate) fn new(bound: Bound) -> Result<Self> {
        let bell = Bell::new(Waker::noop().clone());
        Ok(Self { socket: Async::new_nonblocking(bound.into())?, waker: bell.clone().into(), bell })
    }

    pub(crate) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Result<(Option<SocketAddr>, SmolStream)>> {
        if !self.bell.task.will_wake(cx.waker()) {
            self.bell = Bell::new(cx.waker().clone());
            self.waker = self.bell.clone().into();
        }
        if !self.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        loop {
            match listen::accept(self.socket.get_ref()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::task::ready!(self.socket.poll_readable(&mut Context::from_waker(&self.waker)))?;
                }
                accepted => {
                    // There may be more, or it may be tried again.
                    self.bell.has_rung.store(true, Ordering::Release);
                    return Poll::Ready(
                        accepted
                            .and_then(|(socket, peer)| Ok((peer, SmolStream::new(Async::new_nonblocking(socket)?)))),
                    );
                }
            }
        }
    }
}

/// Remembers that it woke the task.
#[derive(Debug)]
struct Bell {
    task: Waker,
    has_rung: AtomicBool,
}

impl Bell {
    /// Rung, so that the first poll tries.
    fn new(task: Waker) -> Arc<Self> {
        Arc::new(Self { task, has_rung: AtomicBool::new(true) })
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

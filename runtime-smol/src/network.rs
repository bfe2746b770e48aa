//! What clients need of smol.

use crate::stream::SmolStream;
use brolly_core::shard::{Address, IoError};
use brolly_host::client::Network;
use brolly_host::timer::Timer;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Sockets and timers by smol, which has a thread of its own for both: they work on any executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmolNetwork;

impl Network for SmolNetwork {
    type Stream = SmolStream;
    type Timer = SmolTimer;

    fn timer(&self) -> SmolTimer {
        SmolTimer::new()
    }

    fn connect(&self, to: Address) -> impl Future<Output = Result<SmolStream, IoError>> {
        SmolStream::connect(to)
    }

    async fn unblock<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Result<R, IoError> {
        Ok(smol::unblock(work).await)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }
}

/// A timer by smol.
#[derive(Debug)]
pub struct SmolTimer(smol::Timer);

impl SmolTimer {
    pub(crate) fn new() -> Self {
        Self(smol::Timer::never())
    }
}

impl Timer for SmolTimer {
    fn set(&mut self, at: std::time::Instant) {
        self.0.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(())
    }
}

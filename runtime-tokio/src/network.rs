//! What clients need of tokio.

use crate::stream::TokioStream;
use brolly_core::shard::{Address, IoError};
use brolly_host::client::Network;
use brolly_host::timer::Timer;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Sockets and timers by tokio; to be used within a runtime that has both.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNetwork;

impl Network for TokioNetwork {
    type Stream = TokioStream;
    type Timer = TokioTimer;

    fn timer(&self) -> TokioTimer {
        TokioTimer::new()
    }

    fn connect(&self, to: Address) -> impl Future<Output = Result<TokioStream, IoError>> {
        TokioStream::connect(to)
    }

    async fn unblock<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Result<R, IoError> {
        tokio::task::spawn_blocking(work).await.map_err(|_| IoError::Other)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let runtime = crate::reactor();
        let output = runtime.block_on(future);
        runtime.shutdown_background();
        output
    }
}

/// A timer by tokio.
#[derive(Debug)]
pub struct TokioTimer(Pin<Box<Sleep>>);

impl TokioTimer {
    pub(crate) fn new() -> Self {
        Self(Box::pin(tokio::time::sleep(Duration::ZERO)))
    }
}

impl Timer for TokioTimer {
    fn set(&mut self, at: std::time::Instant) {
        self.0.as_mut().reset(at.into());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

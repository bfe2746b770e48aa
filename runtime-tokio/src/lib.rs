//! brolly on tokio: the binary `brolly`, and WebSockets for programs of your own.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use brolly_core::driver::Message;
//! use brolly_core::{config::Limits, ws::CloseCode, ws::handshake::Request};
//! use brolly_host::client::Endpoint;
//! use brolly_tokio::TokioNetwork;
//!
//! let server = Endpoint::parse("wss://example.org/chat?room=1")?;
//! let mut socket = server.connect(&TokioNetwork, &Limits::default(), &Request::default()).await?;
//! socket.send(&Message::Text("hello".into())).await?;
//! println!("{:?}", socket.next().await?);
//! socket.close(CloseCode::NORMAL, "").await;
//! # Ok(())
//! # }
//! ```

mod network;
mod runtime;
mod stream;

pub use network::{TokioNetwork, TokioTimer};
pub use stream::TokioStream;

use brolly_core::driver::Driver;
use brolly_host::start::Seat;
use runtime::Tokio;
use tokio::runtime::{Builder, Runtime};

/// Drives one shard on this thread until it is done: a current-thread runtime, with one future on it.
pub fn drive(seat: Seat) {
    let runtime = reactor();
    let Seat { parts, equipment } = seat;
    // The driver polls many sockets in one turn and bounds its turns itself; tokio's budget would starve it.
    runtime.block_on(tokio::task::unconstrained(async move { Driver::new(parts, Tokio::new(equipment)).await }));
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
}

fn reactor() -> Runtime {
    match Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no reactor for this thread: {error}"),
    }
}

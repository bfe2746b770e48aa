//! brolly on smol: the binary `brolly-smol`, and WebSockets for programs of your own, on any executor.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use brolly_core::driver::Message;
//! use brolly_core::{config::Limits, ws::CloseCode, ws::handshake::Request};
//! use brolly_host::client::Endpoint;
//! use brolly_smol::SmolNetwork;
//!
//! let server = Endpoint::parse("wss://example.org/chat?room=1")?;
//! let mut socket = server.connect(&SmolNetwork, &Limits::default(), &Request::default()).await?;
//! socket.send(&Message::Text("hello".into())).await?;
//! println!("{:?}", socket.next().await?);
//! socket.close(CloseCode::NORMAL, "").await;
//! # Ok(())
//! # }
//! ```

mod listener;
mod network;
mod runtime;
mod stream;

pub use network::{SmolNetwork, SmolTimer};
pub use stream::SmolStream;

use brolly_core::driver::Driver;
use brolly_host::start::Seat;
use runtime::Smol;

/// Drives one shard on this thread until it is done.
pub fn drive(seat: Seat) {
    let Seat { parts, equipment } = seat;
    smol::block_on(Driver::new(parts, Smol::new(equipment)));
}

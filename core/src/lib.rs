//! The protocol engine of brolly: HTTP/1.1, Server-Sent Events, WebSockets and pub-sub as pure state machines.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, loom))]
extern crate std;

pub mod arena;
pub mod driver;
pub mod mailbox;
pub mod http1;
pub mod outbox;
pub mod pubsub;
pub mod rng;
pub mod sse;
pub mod shard;
pub mod text;
pub mod time;
pub mod ws;

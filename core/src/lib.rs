//! The protocol engine of brolly: HTTP/1.1, Server-Sent Events, WebSockets and pub-sub as pure state machines.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, loom))]
extern crate std;

pub mod arena;
pub mod config;
pub mod conn;
pub mod driver;
pub mod handler;
pub mod http1;
pub mod mailbox;
pub mod outbox;
pub mod pubsub;
pub mod rng;
pub mod route;
pub mod shard;
pub mod sse;
pub mod text;
pub mod time;
pub mod upstream;
pub mod ws;

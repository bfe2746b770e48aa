//! The protocol engine of brolly: HTTP/1.1, Server-Sent Events, WebSockets and pub-sub as pure state machines.
//!
//! No I/O, no clock, no randomness of its own, no `unsafe`: time is an argument, randomness a seed, and what the world
//! has to do is asked for. Three levels, each usable alone; every lower one is a part of the next:
//!
//! | level | modules | what goes in | what comes out |
//! |---|---|---|---|
//! | codecs | [`http1`], [`sse`], [`ws`], [`proxy_protocol`] | bytes | messages that borrow from them; and back |
//! | one connection | [`conn`] | bytes, deadlines, answers | events, bytes to write, what to do with the socket |
//! | everything of one thread | [`shard`] | what happened to sockets, files, names | what to do with them |
//!
//! [`pubsub`] keeps topics, positions and history; [`route`], [`handler`] and [`config`] say what requests are for;
//! [`upstream`] knows backends, [`throttle`] what clients had. [`driver`] is the one event loop over small traits;
//! [`mailbox`] carries mail between the shards of a process. Below all of them: [`time`], [`rng`], [`arena`],
//! [`outbox`], [`text`], [`tls`].
//!
//! Input is always borrowed: a machine is given the bytes that were read, says how many it used, and is given the rest
//! again with more behind it. Output is collected in an [`outbox::Outbox`]. Errors are small, `Copy`, and know their
//! status or close code. *Upstream* is towards the backend, *downstream* towards the user.
//!
//! ```
//! use brolly_core::{config::Config, rng::Seed, shard::Shard, time::Now};
//! use core::net::SocketAddr;
//! use std::sync::Arc;
//!
//! let mut shard = Shard::new(Arc::new(Config::default()), 0, 1, Seed([7; 32]));
//! let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
//! let conn = shard.handle_accept(Now::default(), peer.into()).unwrap();
//! shard.handle_read(Now::default(), conn, &mut b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n".to_vec());
//!
//! let mut slices: [&[u8]; 1] = [&[]];
//! shard.outgoing(conn, &mut slices);
//! assert!(slices[0].starts_with(b"HTTP/1.1 404 Not Found\r\n"), "there are no routes yet");
//! ```
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
pub mod lattice;
pub mod mailbox;
pub mod outbox;
pub mod proxy_protocol;
pub mod pubsub;
pub mod rng;
pub mod route;
pub mod session;
pub mod shard;
pub mod sse;
pub mod text;
pub mod throttle;
pub mod time;
pub mod tls;
pub mod upstream;
pub mod ws;

//! What the fuzz targets of `conformance/fuzz` do with their input. Functions of their own, so that a plain test can run
//! them anywhere (`tests/fuzz_bodies.rs`). They panic if something does not hold.

mod decoders;
mod shard;
mod websocket;

pub use decoders::{http1_request, http1_response, proxy_protocol, sse};
pub use shard::{noise, shard};
pub use websocket::{opening_request, opening_response, websocket_client, websocket_server};

//! What the fuzz targets of `conformance/fuzz` do with their input. Functions of their own, so that a plain test can run
//! them anywhere (`tests/fuzz_bodies.rs`). They panic if something does not hold.

mod decoders;
mod shard;

pub use decoders::{http1_request, http1_response, proxy_protocol, sse, websocket};
pub use shard::{noise, shard};

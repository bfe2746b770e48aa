//! Micro-benchmarks: `cargo bench -p brolly-benches`. For looking at one thing while it is changed; what is asserted is in
//! `tests/`, and what counts is `compare`.

mod fan_out;
mod http1;
mod shard_turn;
mod sse;
mod timers;
mod websocket;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    http1::parse(&mut criterion);
    http1::encode(&mut criterion);
    websocket::decode(&mut criterion);
    websocket::write(&mut criterion);
    sse::all(&mut criterion);
    fan_out::all(&mut criterion);
    shard_turn::all(&mut criterion);
    timers::all(&mut criterion);
    criterion.final_summary();
}

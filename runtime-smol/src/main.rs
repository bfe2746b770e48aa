//! brolly on smol: `block_on` on each of its threads, with one future on it, the driver of a shard.

mod listener;
mod runtime;
mod stream;

use brolly_core::driver::Driver;
use brolly_host::start::{self, Seat};
use runtime::Smol;
use std::process::ExitCode;

fn main() -> ExitCode {
    start::main("brolly-smol", drive)
}

/// Drives one shard on this thread until it is done.
fn drive(seat: Seat) {
    let Seat { parts, equipment } = seat;
    smol::block_on(Driver::new(parts, Smol::new(equipment)));
}

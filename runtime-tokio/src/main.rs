//! brolly on tokio: a current-thread runtime on each of its threads, with one future on it, the driver of a shard.

mod runtime;
mod stream;

use brolly_core::driver::Driver;
use brolly_host::start::{self, Seat};
use runtime::Tokio;
use std::process::ExitCode;

fn main() -> ExitCode {
    start::main("brolly", drive)
}

/// Drives one shard on this thread until it is done.
fn drive(seat: Seat) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no reactor for this thread: {error}"),
    };
    let Seat { parts, equipment } = seat;
    // The driver polls many sockets in one turn and bounds its turns itself; tokio's budget would starve it.
    runtime.block_on(tokio::task::unconstrained(async move { Driver::new(parts, Tokio::new(equipment)).await }));
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
}

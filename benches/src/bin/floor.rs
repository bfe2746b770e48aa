//! See [`brolly_benches::floor`].

use brolly_benches::floor::{self, Mode};
use std::net::TcpListener;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [mode, address] = &arguments[..] else { return usage() };
    let Some(mode) = Mode::by_name(mode) else { return usage() };
    match TcpListener::bind(address).and_then(|listener| floor::serve(mode, &listener)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: floor http|ws|fanout ADDRESS");
    ExitCode::from(2)
}

//! The binary `brolly`.

use brolly_tokio::TokioNetwork;
use std::process::ExitCode;

fn main() -> ExitCode {
    brolly_host::start::main("brolly", brolly_tokio::drive, &TokioNetwork)
}

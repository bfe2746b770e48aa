//! The binary `brolly-smol`.

use brolly_smol::SmolNetwork;
use std::process::ExitCode;

fn main() -> ExitCode {
    brolly_host::start::main("brolly-smol", brolly_smol::drive, &SmolNetwork)
}

//! A few worlds of the simulator in `cargo test`; `cargo run --release -p brolly-conformance -- simulate` runs many.
#![cfg(not(loom))]

use brolly_conformance::sim::{self, Canary};
use brolly_conformance::simulate;

#[test]
fn worlds_are_as_they_should_be() {
    let (summary, failures) = simulate::run(300, 1);
    for failure in &failures {
        println!("{failure}\n");
    }
    assert!(failures.is_empty(), "{} of {} worlds failed", failures.len(), summary.worlds);
    // Worlds in which nothing happens prove nothing.
    assert!(summary.requests > 3000 && summary.messages > 500 && summary.claims > 500, "{summary:?}");
}

/// Every planted fault has to be noticed in one of a few worlds, or else nobody would notice a real one either.
#[test]
fn planted_faults_are_noticed() {
    for canary in [Canary::LostByte, Canary::RepeatedRead, Canary::LostWakeUp, Canary::LeakedFile] {
        let noticed = (1..200).find_map(|seed| sim::run_with(seed, canary).err());
        assert!(noticed.is_some(), "{canary:?} was not noticed");
    }
}

#[test]
fn close_handshakes_end_wherever_they_are_cut_off() {
    let (count, faults) = sim::close_handshakes();
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
    assert!(count > 1000, "{count} are not all");
}

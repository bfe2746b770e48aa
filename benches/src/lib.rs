//! What the budgets of the design are checked with.
//!
//! * [`rig`]: a shard without a host, for the micro-benchmarks in `benches/` and the counts in `tests/`;
//! * `src/bin/compare.rs`: brolly beside other servers and beside the floor, relative CPU time per operation;
//! * `src/bin/instructions.rs`: instructions per operation, under callgrind;
//! * `src/bin/floor.rs`, `src/bin/load.rs`: the two ends of those runs, also for use by hand.

pub mod rig;

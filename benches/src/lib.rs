//! What the budgets of the design are checked with.
//!
//! * [`rig`]: a shard without a host, for the micro-benchmarks in `benches/micro/` and the counts in `tests/`;
//! * `src/bin/compare.rs`: brolly beside other servers and beside the floor, CPU time per operation;
//! * `src/bin/instructions.rs`: instructions per operation, under callgrind;
//! * [`floor`], [`load`]: the two ends of those runs, also as programs of their own for use by hand;
//! * `peers/`: echo servers by other libraries, a package of their own;
//! * [`servers`]: throw-away instances of everything that is compared;
//! * [`process`]: what the system says about a process.

pub mod floor;
pub mod load;
pub mod process;
pub mod rig;
pub mod servers;

//! Checks of what brolly says and does: see `tests/` too.

mod cargo;
#[cfg(not(loom))]
pub mod exchange;
#[cfg(not(loom))]
pub mod fuzz_bodies;
#[cfg(not(loom))]
pub mod gateway;
#[cfg(not(loom))]
pub mod sim;
#[cfg(not(loom))]
pub mod simulate;
#[cfg(not(loom))]
pub mod table;

pub use cargo::cargo;

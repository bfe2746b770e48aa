//! The event loop's building blocks: what decides which slots of a driver are visited next.

pub mod wakeups;

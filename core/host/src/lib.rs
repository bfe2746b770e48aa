//! The std side of starting a server that both binaries share; no runtime in it.

pub mod args;
mod assets;
pub mod client;
pub mod clock;
pub mod config;
mod failure;
pub mod files;
pub mod io;
pub mod listen;
pub mod log;
pub mod passwords;
pub mod start;
pub mod timer;
pub mod url;
pub mod work;

pub use failure::Failure;

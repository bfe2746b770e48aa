//! The std side of starting a server that both binaries share; no runtime in it.

pub mod args;
mod assets;
mod cert;
pub mod client;
pub mod clock;
pub mod config;
pub mod door;
mod failure;
pub mod files;
mod import;
pub mod io;
pub mod listen;
pub mod log;
pub mod passwords;
mod reload;
mod signals;
pub mod start;
pub mod timer;
pub mod tls;
pub mod transport;
pub mod url;
pub mod work;

pub use failure::Failure;

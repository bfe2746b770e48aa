//! Both binaries on real sockets, with nothing but `std`: the core of what they promise, and that they answer with the
//! same bytes.
//!
//! Every test is a conversation that is held with each binary. What it returns is compared between the two, after what
//! must differ (dates, ids, epochs) has been replaced by its name. The suites of `cargo run -p brolly-conformance` ask
//! more, with other people's clients.

mod admission;
mod certificates;
mod client;
mod command_line;
mod events;
mod example;
mod exchanges;
mod expiry;
mod files;
mod gateway;
mod large_files;
mod lifecycle;
mod listeners;
mod messages;
mod proxy;
mod reload;
mod representations;
mod server;
mod shaping;
mod table;
mod tls;
mod topics;
mod upstreams;

//! What the servers of the table serve.

/// The configuration file for brolly, without `listen`. Deadlines are short, but for idle connections: a connection that
/// is closed in the middle of a row must have been closed on purpose.
pub const CONFIG: &str = include_str!("../../cases/site.toml");

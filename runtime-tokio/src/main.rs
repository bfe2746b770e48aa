//! brolly on tokio.
fn main() {}

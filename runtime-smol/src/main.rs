//! brolly on smol.
fn main() {}

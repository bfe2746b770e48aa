//! A whole shard with hostile clients, hostile backends and a host that is late: any operations, in any order.
//!
//! | file | what |
//! |---|---|
//! | `operation.rs` | what can happen, as bytes |
//! | `dictionary.rs` | what clients and backends say |
//! | `host.rs` | makes it happen |
//! | `client.rs`, `backend.rs` | look at what comes out |
//!
//! Nothing panics or runs in circles; limits hold; every request is answered at most once, in order, by its own answer;
//! backends get the requests that were accepted and nothing else; files are closed; nothing hangs, and nothing is left.

mod backend;
mod client;
mod dictionary;
mod host;
mod operation;

use crate::sim::random::Random;
use host::Host;
use operation::Operation;

/// Any operations on a whole shard. Afterwards everybody goes, and nothing may be left.
pub fn shard(data: &[u8]) {
    let mut host = Host::new();
    let mut rest = data;
    while let Some((operation, after)) = Operation::parse(rest) {
        host.perform(operation);
        rest = after;
    }
    host.end();
}

/// Operations for [`shard`] by chance, mostly of a world that works.
pub fn noise(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut data = Vec::new();
    for _ in 0..random.between(1, 150) {
        let name = match random.below(100) {
            0..8 => 0,
            8..30 => 1,
            30..32 => 3,
            32..52 => 4,
            52..54 => 6,
            54..56 => 7,
            56..70 => 8,
            70..74 => 9,
            74..88 => 10,
            88..94 => 12,
            94..99 => 13,
            _ => 15,
        };
        // Waits are short, most of the time.
        let which = if name == 9 { random.index(38).max(random.index(38)) as u8 } else { random.number() as u8 };
        data.extend([name, which]);
        if matches!(name, 1 | 3 | 4 | 8 | 10) {
            let more = if matches!(name, 4 | 8) && random.chance(70) { 255 } else { random.number() as u8 };
            data.push(more);
            if name == 3 {
                data.extend((0..more).map(|_| random.number() as u8));
            }
        }
    }
    data
}

//! A connection costs nothing while it does nothing: a turn takes as long with 100,000 idle connections as with 1,000.

use brolly_benches::rig::{GET, Rig};
use brolly_core::shard::ConnId;
use std::time::{Duration, Instant};

/// Far from 100, which is what a look at every connection would cost; caches, and a shared machine, are forgiven.
const FACTOR: u32 = 5;

#[test]
fn a_turn_takes_as_long_with_many_idle_connections_as_with_few() {
    let (mut few, mut many) = (Turns::new(1_000), Turns::new(100_000));
    // By turns, and the best of several: whatever else the machine does meanwhile hits both.
    let (few, many) = (0..20).fold((Duration::MAX, Duration::MAX), |(best_few, best_many), _| {
        (best_few.min(few.measure()), best_many.min(many.measure()))
    });
    println!("1,000 turns with 1,000 connections: {few:?}, with 100,000: {many:?}");
    assert!(many < few * FACTOR, "{many:?} instead of {few:?}");
}

/// A shard with idle connections.
struct Turns {
    rig: Rig,
    conn: ConnId,
}

impl Turns {
    fn new(connections: usize) -> Self {
        let mut rig = Rig::new();
        let conn = (0..connections).map(|_| rig.idle()).last().expect("there are some");
        Self { rig, conn }
    }

    /// 1,000 turns with one request each, and as many in which nothing happens.
    fn measure(&mut self) -> Duration {
        let began = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(self.rig.feed(self.conn, GET).writes, 1);
            self.rig.now.instant = self.rig.now.instant + Duration::from_micros(1);
            assert_eq!(self.rig.turn().writes, 0);
        }
        began.elapsed()
    }
}

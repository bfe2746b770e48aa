//! A request on one connection, and a turn in which nothing happens, beside many connections that are idle. Flat, or
//! something looks at every connection.

use brolly_benches::rig::{GET, Rig};
use criterion::Criterion;
use std::time::Duration;

pub(super) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shard_turn");
    for connections in [1_000, 100_000] {
        let mut rig = Rig::new();
        let conn = (0..connections).map(|_| rig.idle()).last().expect("there are some");
        group.bench_function(format!("request beside {connections}"), |bencher| {
            bencher.iter(|| assert_eq!(rig.feed(conn, GET).writes, 1));
        });
        group.bench_function(format!("nothing beside {connections}"), |bencher| {
            bencher.iter(|| {
                rig.now.instant = rig.now.instant + Duration::from_nanos(10);
                rig.turn()
            });
        });
    }
    group.finish();
}

//! The timer wheel, with as many entries as there are connections.

use brolly_core::shard::wheel::Wheel;
use brolly_core::time::Instant;
use criterion::Criterion;
use std::hint::black_box;
use std::time::Duration;

pub(super) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");
    for entries in [1_000, 100_000] {
        let (mut wheel, mut now) = (Wheel::new(), Instant::default());
        // Idle timeouts of connections that came one after the other.
        for entry in 0..entries {
            wheel.insert(now + IDLE / entries * entry, entry);
        }
        group.bench_function(format!("next of {entries}"), |bencher| bencher.iter(|| black_box(&wheel).poll_timeout()));
        group.bench_function(format!("fire and insert again one of {entries}"), |bencher| {
            bencher.iter(|| {
                while let Some((_, entry)) = wheel.pop_due(now) {
                    wheel.insert(now + IDLE, entry);
                }
                now = now + IDLE / entries;
            });
        });
    }
    group.finish();
}

const IDLE: Duration = Duration::from_secs(75);

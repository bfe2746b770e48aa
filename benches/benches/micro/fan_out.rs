//! One message to many: a whole shard, from the publisher's request to the bytes for every socket. The host's writes cost
//! nothing here.

use brolly_benches::rig::{Rig, publication};
use brolly_core::shard::ConnId;
use criterion::{Criterion, Throughput};

type Open = fn(&mut Rig) -> ConnId;

const TRANSPORTS: [(&str, Open); 2] =
    [("WebSockets", |rig| rig.websocket("/-/ws?topic=a")), ("event streams", |rig| rig.event_stream("/-/sse?topic=a"))];

pub(super) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    for (name, open) in TRANSPORTS {
        for subscribers in [1_000, 10_000] {
            let mut rig = Rig::new();
            for _ in 0..subscribers {
                open(&mut rig);
            }
            let (publisher, publication) = (rig.accept(), publication("a"));
            group.throughput(Throughput::Elements(subscribers as u64));
            group.bench_function(format!("{subscribers} {name}"), |bencher| {
                bencher.iter(|| assert_eq!(rig.feed(publisher, &publication).writes, subscribers + 1));
            });
        }
    }
    group.finish();
}

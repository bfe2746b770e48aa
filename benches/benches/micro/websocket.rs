//! WebSocket frames, read and written.

use brolly_benches::rig::client_frame;
use brolly_core::outbox::Outbox;
use brolly_core::ws::{Decoder, Item, Limits, Opcode, Role, encode};
use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;

const SIZES: [(&str, usize); 3] = [("64 B", 64), ("1 KiB", 1024), ("64 KiB", 64 * 1024)];

pub(super) fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("websocket/decode");
    for (name, size) in SIZES {
        let frame = client_frame(&vec![b'x'; size]);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || frame.clone(),
                |frame| {
                    let decoded = decoder.decode(black_box(frame));
                    assert!(matches!(decoded, Ok((_, Some(Item::Text(text)))) if text.len() == size));
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

pub(super) fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("websocket/encode");
    for (name, size) in SIZES {
        let (mut out, payload) = (Outbox::new(), vec![b'x'; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                encode(Opcode::Text, black_box(&payload), None, &mut out);
                out.advance(out.len());
            });
        });
    }
    group.finish();
}

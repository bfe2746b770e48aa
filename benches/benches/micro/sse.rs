//! Server-Sent Events, written and read.

use brolly_core::sse::{Event, Parser};
use criterion::{Criterion, Throughput};
use std::hint::black_box;

pub(super) fn all(criterion: &mut Criterion) {
    let line = "a line of a chat room as people write it, not long and not short at all, a hundred bytes of text ...";
    let mut group = criterion.benchmark_group("sse");
    for (name, data) in [("one line of 100 B", line.to_owned()), ("40 lines", [line; 40].join("\n"))] {
        let event = Event { id: Some("2f-1a2b3c.77"), data: &data, ..Event::default() };
        let mut out = Vec::new();
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&event).encode(&mut out).expect("the fields are good");
            });
        });
        let mut parser = Parser::new(1024 * 1024);
        group.bench_function(format!("parse {name}"), |bencher| {
            bencher.iter(|| {
                let (_, event) = parser.parse(black_box(&out)).expect("it is short");
                event.expect("it is whole").data.len()
            });
        });
    }
    group.finish();
}

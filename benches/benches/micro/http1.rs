//! HTTP/1.1 heads and chunks, read and written.

use brolly_benches::rig::GET;
use brolly_core::http1::{
    FieldLines, HeadWriter, Limits, Part, RequestDecoder, ResponseDecoder, StatusCode, chunk, normalise,
};
use brolly_core::outbox::Outbox;
use criterion::{Criterion, Throughput};
use std::hint::black_box;

/// What a browser sends.
const BROWSER: &[u8] = b"GET /rooms/12/messages?after=77 HTTP/1.1\r\n\
    Host: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.org/rooms/12\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Site: same-origin\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nserver: backend\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    content-type: application/json\r\ncontent-length: 0\r\n\r\n";

pub(super) fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http1/parse");
    for (name, request) in [("tiny request", GET), ("request of a browser", BROWSER)] {
        group.throughput(Throughput::Bytes(request.len() as u64));
        let mut decoder = RequestDecoder::new(Limits::default());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (used, head) = decoder.decode(black_box(request)).expect("it is right");
                assert!(matches!(head, Some(Part::Head(..))) && used == request.len());
                decoder.decode(b"").expect("it has ended");
                decoder.start_next_message();
            });
        });
    }
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    group.bench_function("response", |bencher| {
        bencher.iter(|| {
            let mut decoder = ResponseDecoder::new(Limits::default());
            decoder.expect(brolly_core::http1::Method::Get);
            let (used, _) = decoder.decode(black_box(RESPONSE)).expect("it is right");
            used
        });
    });
    group.throughput(Throughput::Elements(1));
    for path in ["/tiny.txt", "/rooms/%C3%BC/../12/./messages/"] {
        let mut out = String::new();
        group.bench_function(format!("normalise {path}"), |bencher| {
            bencher.iter(|| normalise(black_box(path), &mut out));
        });
    }
    group.finish();
}

pub(super) fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http1/encode");
    group.bench_function("response head", |bencher| {
        let mut out = Outbox::new();
        bencher.iter(|| {
            let mut head = HeadWriter::response(&mut out, black_box(StatusCode::OK));
            head.field("date", b"Thu, 01 Jan 1970 00:00:00 GMT").expect("a good value");
            head.field("x-barium", b"01234567-89ab-4def-8123-456789abcdef").expect("a good value");
            head.lines(FieldLines::new("cache-control: no-cache\r\n"));
            head.field("content-type", b"text/plain; charset=utf-8").expect("a good value");
            head.content_length(14).expect("the first framing field");
            head.finish();
            out.advance(out.len());
        });
    });
    group.throughput(Throughput::Bytes(4096));
    group.bench_function("chunk of 4 KiB", |bencher| {
        let (mut out, data) = (Outbox::new(), [b'x'; 4096]);
        bencher.iter(|| {
            chunk(&mut out, black_box(&data));
            out.advance(out.len());
        });
    });
    group.finish();
}

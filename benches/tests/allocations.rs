//! Heap allocations on the paths that are walked all the time, and the memory of connections that do nothing.
//!
//! One test: the count is of the whole process. If it fails, `target/tmp/allocations.json` says where, in DHAT's format.

use brolly_benches::rig::{GET, GET_COMPRESSED, Rig, client_frame, publication};
use brolly_core::config::{Policy, Shaping};
use brolly_core::handler::cors::{Cors, Wishes};
use brolly_core::shard::{ConnId, Slot};
use bytes::Bytes;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const REPORT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/allocations.json");
/// The budgets of the design for an idle connection, in bytes.
const IDLE_HTTP: usize = 512;
const IDLE_WEBSOCKET: usize = 1024;
/// A power of two: all vectors are full.
const MANY: usize = 1 << 14;

#[test]
fn nothing_is_allocated_where_everybody_walks() {
    let _profiler = dhat::Profiler::builder().testing().file_name(REPORT).trim_backtraces(Some(24)).build();
    let mut failures = Vec::new();
    let mut expect = |what: &str, got: u64, at_most: u64| {
        println!("{what}: {got} (at most {at_most})");
        if got > at_most {
            failures.push(format!("{what}: {got} instead of {at_most}"));
        }
    };

    expect("allocations per kept-alive GET of a small cached file", per_get(Rig::new(), 14), 0);
    let compressed = per_request(Rig::new(), GET_COMPRESSED, 14);
    expect("allocations per kept-alive GET of a small cached file that is compressed", compressed, 0);
    expect("allocations per kept-alive GET of a cached file of 1 KiB", per_get(Rig::new(), 1024), 0);
    expect("allocations per kept-alive GET with edited fields", per_get(Rig::with(Some(edits())), 14), 0);
    // What is shared seals the head before it: `Storage::seal` in the core's outbox gives its tail away.
    expect("allocations per kept-alive GET of a cached file of 8 KiB", per_get(Rig::new(), 8 * 1024), 6);
    expect("allocations per echo of 64 B", per_echo(1), 0);
    expect("allocations per 16 echoes of 64 B", per_echo(16), 0);
    let one = per_publication(1, Rig::websocket, "/-/ws?topic=a");
    let thousand = per_publication(1000, Rig::websocket, "/-/ws?topic=a");
    println!("allocations per publication: {one}");
    expect("allocations per 1000 deliveries to WebSockets", thousand - one, 0);
    let one = per_publication(1, Rig::event_stream, "/-/sse?topic=a");
    let thousand = per_publication(1000, Rig::event_stream, "/-/sse?topic=a");
    expect("allocations per 1000 deliveries to event streams", thousand - one, 0);

    println!("size of a slot: {} bytes", size_of::<Slot>());
    expect("bytes per idle kept-alive connection", per_connection(Rig::idle) as u64, IDLE_HTTP as u64);
    let websocket = per_connection(|rig| rig.websocket("/-/ws?topic=a"));
    expect("bytes per idle subscribed WebSocket", websocket as u64, IDLE_WEBSOCKET as u64);

    dhat::assert!(failures.is_empty(), "{failures:#?}");
}

/// Allocations of the least of a few rounds of `work`: amortised growth happens in some.
fn least(mut work: impl FnMut()) -> u64 {
    let rounds = (0..20).map(|_| {
        let before = dhat::HeapStats::get().total_blocks;
        work();
        dhat::HeapStats::get().total_blocks - before
    });
    rounds.min().unwrap_or(0)
}

fn per_get(rig: Rig, bytes: usize) -> u64 {
    per_request(rig, GET, bytes)
}

fn per_request(mut rig: Rig, request: &[u8], bytes: usize) -> u64 {
    rig.file = Bytes::from(vec![b'x'; bytes]);
    let conn = rig.idle();
    least(|| assert!(rig.feed(conn, request).bytes > bytes))
}

/// A policy that changes the fields of answers.
fn edits() -> Policy {
    let mut shaping = Shaping::default();
    let edits = &mut shaping.response_fields;
    edits.set("x-frame-options", "DENY").and_then(|()| edits.remove("etag")).expect("good edits");
    shaping.cors = Cors::new(&Wishes { origins: &["https://a.example"], ..Wishes::default() }).ok();
    Policy { shaping: Some(Box::new(shaping)), ..Policy::default() }
}

fn per_echo(in_flight: usize) -> u64 {
    let mut rig = Rig::new();
    let conn = rig.websocket("/-/echo");
    let frames = client_frame(&[b'x'; 64]).repeat(in_flight);
    least(|| assert_eq!(rig.feed(conn, &frames).bytes, 66 * in_flight))
}

fn per_publication(subscribers: usize, open: fn(&mut Rig, &str) -> ConnId, target: &str) -> u64 {
    let mut rig = Rig::new();
    for _ in 0..subscribers {
        open(&mut rig, target);
    }
    let publisher = rig.accept();
    let publication = publication("a");
    least(|| assert_eq!(rig.feed(publisher, &publication).writes, subscribers + 1))
}

fn per_connection(mut open: impl FnMut(&mut Rig) -> ConnId) -> usize {
    let mut rig = Rig::new();
    let conn = open(&mut rig);
    rig.shard.handle_closed(rig.now, conn, None);
    let before = dhat::HeapStats::get().curr_bytes;
    for _ in 0..MANY {
        open(&mut rig);
    }
    (dhat::HeapStats::get().curr_bytes - before) / MANY
}

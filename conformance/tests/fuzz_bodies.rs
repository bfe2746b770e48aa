//! The bodies of the fuzz targets over their corpus, over mutations of it, and over noise. `cargo fuzz` goes on from there.
#![cfg(not(loom))]

use brolly_conformance::fuzz_bodies;
use std::fs;
use std::path::Path;

/// Inputs made of each file of a small corpus; of each file of a large one fewer, at least a hundred.
const MUTATIONS: u64 = 2000;
/// Inputs made of all files of a corpus, if it is a large one.
const ALL: u64 = 20_000;
/// Runs of operations by chance.
const NOISE: u64 = 5000;

/// As libFuzzer does, with less wit: a few bytes changed, cut out, doubled, inserted.
fn mutate(input: &[u8], state: &mut u64) -> Vec<u8> {
    let mut next = |limit: usize| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize % limit.max(1)
    };
    let mut bytes = input.to_vec();
    for at in 0..8.min(bytes.len()) {
        bytes[at] = next(256) as u8;
    }
    for _ in 0..next(6) {
        let at = next(bytes.len() + 1);
        match next(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, next(256) as u8),
            2 => bytes.insert(at, b"\r\n \0:;,0\xff\x80"[next(10)]),
            3 => {
                let piece = bytes[at..(at + next(40)).min(bytes.len())].to_vec();
                let to = next(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << next(8),
            _ => {}
        }
    }
    bytes
}

fn run(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{} has {} files", corpus.display(), files.len());
    let mut state = 7;
    let mutations = (ALL / files.len() as u64).clamp(100, MUTATIONS);
    for file in files {
        let input = fs::read(&file).unwrap();
        body(&input);
        (0..mutations).for_each(|_| body(&mutate(&input, &mut state)));
    }
    (0..MUTATIONS).for_each(|len| body(&mutate(&vec![0; len as usize], &mut state)));
}

#[test]
fn http1_request() {
    run("http1_request", fuzz_bodies::http1_request);
}

#[test]
fn http1_response() {
    run("http1_response", fuzz_bodies::http1_response);
}

#[test]
fn websocket_server() {
    run("websocket_server", fuzz_bodies::websocket_server);
}

#[test]
fn websocket_client() {
    run("websocket_client", fuzz_bodies::websocket_client);
}

#[test]
fn opening_request() {
    run("opening_request", fuzz_bodies::opening_request);
}

#[test]
fn opening_response() {
    run("opening_response", fuzz_bodies::opening_response);
}

#[test]
fn proxy_protocol() {
    run("proxy_protocol", fuzz_bodies::proxy_protocol);
}

#[test]
fn sse() {
    run("sse", fuzz_bodies::sse);
}

#[test]
fn shard() {
    run("shard", fuzz_bodies::shard);
}

/// Longer runs of operations than mutations of the corpus make.
#[test]
fn shard_by_chance() {
    for seed in 0..NOISE {
        let noise = fuzz_bodies::noise(seed);
        let result = std::panic::catch_unwind(|| fuzz_bodies::shard(&noise));
        assert!(result.is_ok(), "seed {seed}");
    }
}

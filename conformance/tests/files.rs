//! Files through a whole shard: whatever is asked for and however it is read, the bytes are those of the file, and as many
//! as were announced.
#![cfg(not(loom))]

use brolly_core::config::{Config, Files, Handler};
use brolly_core::handler::files::Stamp;
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route};
use brolly_core::shard::{Completion, ConnId, Effect, FileId, IoError, Opened, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use bytes::Bytes;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;

const NOW: Now = Now { instant: Instant::from_nanos(1_000_000_000), unix: UnixTime::from_millis(1_700_000_000_000) };
const FILE: FileId = FileId(3);

/// A host with one file, of which it gives away the beginning at first and then a few bytes at a time.
struct Host {
    shard: Shard,
    conn: ConnId,
    content: Vec<u8>,
    first: usize,
    reads: Vec<usize>,
    is_open: bool,
}

impl Host {
    fn new(content: Vec<u8>, first: usize, reads: Vec<usize>) -> Self {
        let mut config = Config { handlers: vec![Handler::Files(Files::new("/").into())], ..Config::default() };
        config.routes.add(Route { host: HostPattern::Any, prefix: "/".into(), to: 0.into() }).unwrap();
        let mut shard = Shard::new(Arc::new(config), 0, 1, Seed([7; 32]));
        let conn = accept(&mut shard);
        Self { shard, conn, content, first, reads, is_open: false }
    }

    /// Everything that the shard answers.
    fn ask(&mut self, request: &str) -> Vec<u8> {
        self.shard.handle_read(NOW, self.conn, &mut request.as_bytes().to_vec());
        let mut answer = Vec::new();
        loop {
            while self.shard.interest(self.conn).write {
                let mut slices: [&[u8]; 4] = [&[]; 4];
                let filled = self.shard.outgoing(self.conn, &mut slices);
                let bytes = slices[..filled].concat();
                answer.extend_from_slice(&bytes);
                self.shard.handle_write(NOW, self.conn, bytes.len());
            }
            let Some(effect) = self.shard.poll_effect() else { return answer };
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::OpenFile { op, .. } => {
                let (len, modified) = (self.content.len() as u64, UnixTime::from_millis(1));
                let first = Bytes::copy_from_slice(&self.content[..self.first]);
                let file = (self.first < self.content.len()).then_some(FILE);
                self.is_open = file.is_some();
                let opened = Opened::new(file, Stamp { len, modified, identity: [0; 3] }, first);
                self.shard.handle_completion(NOW, op, Ok(Completion::Opened(opened)));
            }
            Effect::ReadFile { op, file, offset, len } => {
                assert!(file == FILE && self.is_open);
                let rest = &self.content[offset as usize..][..len as usize];
                let most = self.reads.pop().unwrap_or(usize::MAX);
                let data = Bytes::copy_from_slice(&rest[..most.min(rest.len())]);
                self.shard.handle_completion(NOW, op, Ok(Completion::Read(data)));
            }
            Effect::CloseFile(file) => assert!(file == FILE && std::mem::take(&mut self.is_open)),
            other => panic!("{other:?}"),
        }
    }
}

fn accept(shard: &mut Shard) -> ConnId {
    shard.handle_accept(NOW, SocketAddr::from(([10, 0, 0, 1], 1024)).into()).unwrap()
}

/// Status, fields and content of the first response, and what follows it.
fn response(bytes: &[u8]) -> (&str, &str, &[u8], &[u8]) {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let (head, rest) = (std::str::from_utf8(&bytes[..at]).unwrap(), &bytes[at + 4..]);
    let length = field(head, "content-length").map_or(0, |length| length.parse().unwrap());
    (&head[9..12], head, &rest[..length], &rest[length..])
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The range that a `Content-Range` says must be what it says it is.
fn check_part(range: &str, content: &[u8], file: &[u8]) {
    let (range, length) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    assert_eq!((length.parse(), &file[first..=last]), (Ok(file.len()), content));
}

fn spec() -> impl Strategy<Value = String> {
    let number = 0..1500_u32;
    prop_oneof![
        4 => (number.clone(), number.clone()).prop_map(|(first, length)| format!("{first}-{}", first + length)),
        1 => number.clone().prop_map(|first| format!("{first}-")),
        1 => number.prop_map(|length| format!("-{length}")),
    ]
}

proptest! {
    #[test]
    fn parts_are_what_they_say(
        length in 0..1000_usize,
        first in 0..1000_usize,
        reads in prop::collection::vec(1..300_usize, 0..30),
        specs in prop::collection::vec(spec(), 1..6),
    ) {
        let content: Vec<_> = (0..length).map(|at| (at * at % 251) as u8).collect();
        let mut host = Host::new(content.clone(), first.min(length), reads);
        let range = specs.join(",");
        let get = format!("GET /x HTTP/1.1\r\nhost: a\r\nrange: bytes={range}\r\n\r\n");
        // One that needs no file behind it: it can be read only if the framing is right.
        let answers = host.ask(&(get + "PUT /x HTTP/1.1\r\nhost: a\r\n\r\n"));
        let (status, head, body, next) = response(&answers);
        match (status, field(head, "content-range")) {
            ("200", None) => prop_assert!(body == content && length == 0),
            ("206", Some(range)) => check_part(range, body, &content),
            ("206", None) => {
                let kind = field(head, "content-type").unwrap();
                let boundary = format!("--{}", kind.strip_prefix("multipart/byteranges; boundary=").unwrap());
                let mut rest = body;
                let mut parts = 0;
                while let Some(part) = rest.strip_prefix(format!("{boundary}\r\n").as_bytes()) {
                    let at = part.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
                    let range = field(std::str::from_utf8(&part[..at]).unwrap(), "content-range").unwrap();
                    let end = at + part[at..].windows(boundary.len()).position(|text| text == boundary.as_bytes()).unwrap();
                    check_part(range, &part[at..end - 2], &content);
                    rest = &part[end..];
                    parts += 1;
                }
                assert_eq!(rest, format!("{boundary}--\r\n").as_bytes());
                prop_assert!(parts > 1);
            }
            ("416", Some(range)) => prop_assert_eq!(range, format!("bytes */{length}")),
            other => prop_assert!(false, "{other:?}"),
        }
        prop_assert_eq!(response(next).0, "405");
        prop_assert!(!host.is_open, "a file stays open");
    }
}

/// However the connection ends, nothing stays open.
#[test]
fn files_of_clients_that_go_are_closed() {
    let content = vec![b'x'; 1000];
    for effects in 0..3 {
        let mut host = Host::new(content.clone(), 10, vec![1; 1000]);
        host.shard.handle_read(NOW, host.conn, &mut b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n".to_vec());
        for _ in 0..effects {
            let effect = host.shard.poll_effect().unwrap();
            host.perform(effect);
        }
        host.shard.handle_closed(NOW, host.conn, None);
        while let Some(effect) = host.shard.poll_effect() {
            host.perform(effect);
        }
        assert!(!host.is_open, "after {effects} effects");
    }
}

/// RFC 9112 §8: what is missing must be noticed.
#[test]
fn a_file_that_cannot_be_read_to_its_end_cuts_the_connection() {
    for result in [Ok(Completion::Read(Bytes::new())), Err(IoError::Other)] {
        let mut host = Host::new(vec![b'x'; 1000], 10, Vec::new());
        host.shard.handle_read(NOW, host.conn, &mut b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n".to_vec());
        let open = host.shard.poll_effect().unwrap();
        host.perform(open);
        let Some(Effect::ReadFile { op, .. }) = host.shard.poll_effect() else { panic!("nothing is read") };
        host.shard.handle_completion(NOW, op, result);
        let answer = host.ask("");
        assert!(answer.ends_with(b"\r\n\r\nxxxxxxxxxx"));
        assert!(host.shard.interest(host.conn).close);
        host.shard.handle_closed(NOW, host.conn, None);
        while let Some(effect) = host.shard.poll_effect() {
            host.perform(effect);
        }
        assert!(!host.is_open);
    }
}

/// While one client waited to hear that a file was gone, all others were served from memory, and so for ever.
#[test]
fn what_is_gone_is_gone_for_everybody() {
    let later = Now { instant: Instant::from_nanos(10_000_000_000), ..NOW };
    let mut host = Host::new(b"content".to_vec(), 7, Vec::new());
    let get = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(response(&host.ask(get)).2, b"content");
    let asks = accept(&mut host.shard);
    host.shard.handle_read(later, asks, &mut get.as_bytes().to_vec());
    let Some(Effect::OpenFile { op, file }) = host.shard.poll_effect() else { panic!("nobody looks") };
    assert!(file.known.is_some());
    let waits = std::mem::replace(&mut host.conn, accept(&mut host.shard));
    host.shard.handle_read(later, host.conn, &mut get.as_bytes().to_vec());
    assert!(host.shard.poll_effect().is_none() && host.shard.interest(host.conn).write, "it was not served meanwhile");
    host.shard.handle_completion(later, op, Err(IoError::NotFound));
    host.shard.handle_read(later, waits, &mut get.as_bytes().to_vec());
    assert!(matches!(host.shard.poll_effect(), Some(Effect::OpenFile { .. })), "what is gone was served");
}

//! Event streams of backends: each event passes by itself, whatever stands around it.

use crate::server::{Wire, both, directory, neutral};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Sender};
use std::thread::{sleep, spawn};
use std::time::Duration;

const EVENTS: usize = 8;
/// Between two events.
const PAUSE: Duration = Duration::from_millis(100);
const FIELDS: &str =
    "Content-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n";

/// A backend of one event stream. It sends an event only once it was told, by this channel, that the one before has arrived.
fn backend(head: &'static str, is_chunked: bool) -> (u16, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (arrived, confirmed) = mpsc::channel();
    spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{FIELDS}{head}\r\n").as_bytes()).unwrap();
        for number in 0..EVENTS {
            let event = event(number);
            let event = if is_chunked { format!("{:x}\r\n{event}\r\n", event.len()) } else { event };
            stream.write_all(event.as_bytes()).unwrap();
            // Whoever waits for more than this never learns of it.
            if confirmed.recv_timeout(Duration::from_secs(20)).is_err() {
                return;
            }
            sleep(PAUSE);
        }
        stream.write_all(if is_chunked { b"0\r\n\r\n" } else { b"" }).unwrap();
    });
    (port, arrived)
}

fn event(number: usize) -> String {
    format!("id: {number}\ndata: event {number}\n\n")
}

#[test]
fn each_event_of_a_backend_arrives_before_the_next_is_sent() {
    let root = directory("events");
    let request = |version: &str| {
        let fields =
            "Host: a\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip, br, zstd\r\nConnection: close\r\n\r\n";
        format!("GET /stream HTTP/{version}\r\n{fields}")
    };
    both(|binary| {
        let mut said = String::new();
        for (head, is_chunked, version) in [
            ("Transfer-Encoding: chunked\r\n", true, "1.1"),
            ("Transfer-Encoding: chunked\r\n", true, "1.0"),
            ("Connection: close\r\n", false, "1.1"),
            ("Connection: close\r\n", false, "1.0"),
        ] {
            let (port, arrived) = backend(head, is_chunked);
            let server = binary.serve_config(
                &root,
                &format!(
                    "upstreams.app.url = 'http://127.0.0.1:{port}'
                    [[routes]]
                    handler = 'proxy'
                    upstream = 'app'
                    response_fields = {{ set = {{ X-Frame-Options = 'DENY' }} }}
                    errors = {{ 5xx = '{}' }}
                    limits = {{ bandwidth = '10MiB/s' }}",
                    page(&root)
                ),
            );
            let mut wire = server.connect();
            wire.send(request(version));
            let head = wire.until("\r\n\r\n").to_ascii_lowercase();
            for line in FIELDS.to_ascii_lowercase().lines() {
                assert!(head.contains(line), "{line} is not in {head}");
            }
            assert!(!head.contains("content-encoding"), "{head}");
            for number in 0..EVENTS {
                assert_eq!(next(&mut wire), event(number), "{head}");
                arrived.send(()).unwrap();
            }
            said += &neutral(&head);
            said += &wire.rest();
        }
        said
    });
}

/// The next event; what frames it is left out.
fn next(wire: &mut Wire) -> String {
    let read = wire.until("\n\n");
    read[read.find("id: ").unwrap_or(0)..].to_owned()
}

fn page(root: &std::path::Path) -> String {
    let path = root.join("down.html");
    std::fs::write(&path, "down").unwrap();
    path.display().to_string()
}

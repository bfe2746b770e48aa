//! HTTP/1.1 on the wire, WebSocket frames, limits and deadlines.

use crate::representations::write;
use crate::server::{both, directory, neutral, post, with};
use std::net::Shutdown;
use std::thread::sleep;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n";

/// The upgrade of RFC 6455 section 1.3, whose answer is known.
pub(crate) const UPGRADE: &str = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
pub(crate) const ACCEPT: &str = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[test]
fn what_is_malformed_is_refused_alike() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "1"]);
        let publish = "POST /-/publish/a HTTP/1.1\r\nHost: a\r\n";
        [
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), "400"),
            ("GET / HTTP/1.1\nHost: a\n\n".into(), "400"),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n".into(), "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n".into(), "400"),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(), "505"),
            ("nonsense\r\n\r\n".into(), "400"),
            (format!("{publish}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "400"),
            (format!("{publish}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), "400"),
            (format!("{publish}Content-Length: +1\r\n\r\n"), "400"),
            (format!("{publish}Transfer-Encoding: gzip\r\n\r\n"), "501"),
            (format!("{publish}Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"), "400"),
            (format!("{publish}Content-Type: text/plain\r\nContent-Length: 2000000\r\n\r\n"), "413"),
            (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000)), "414"),
            (format!("{GET}X: {}\r\n\r\n", "a".repeat(20_000)), "431"),
            (format!("{GET}{}\r\n", "X: y\r\n".repeat(200)), "431"),
        ]
        .map(|(request, status)| {
            with(&server.ask(request), &[&format!("HTTP/1.1 {status} "), "x-barium: ", "connection: close"])
        })
        .concat()
    });
}

#[test]
fn connections_are_kept_pipelined_and_closed_as_asked() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "1"]);
        let poll = "GET /-/poll?topic=none&position=0&wait=0";
        let mut wire = server.connect();
        wire.send(
            format!("{poll} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(3)
                + &format!("{poll} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        );
        let mut said: String = (0..4).map(|_| with(&wire.response(), &["200 OK", r#""messages":[]"#])).collect();
        for byte in format!("{poll} HTTP/1.0\r\n\r\n").bytes() {
            wire.send([byte]);
        }
        said += &with(&wire.rest(), &["200 OK", r#""messages":[]"#]);
        // A client that has said all it will say still gets its answer.
        let mut half = server.connect();
        half.send(format!("{poll} HTTP/1.1\r\nHost: a\r\n\r\n"));
        half.stream.shutdown(Shutdown::Write).unwrap();
        said + &with(&half.rest(), &["200 OK", r#""messages":[]"#])
    });
}

#[test]
fn content_is_read_in_every_framing() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "1"]);
        let head = "POST /-/publish/framing HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n";
        let mut wire = server.connect();
        wire.send(format!("{head}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
        let mut said = with(&wire.until("\r\n\r\n"), &["HTTP/1.1 100 Continue"]);
        wire.send("one");
        said += &with(&wire.response(), &["200 OK"]);
        wire.send(format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nt\r\n2\r\nwo\r\n0\r\nX-Trailer: x\r\n\r\n"
        ));
        said += &with(&wire.response(), &["200 OK"]);
        said + &with(&server.get("/-/poll?topic=framing&position=0&wait=0"), &[r#""data":"one""#, r#""data":"two""#])
    });
}

#[test]
fn websockets_echo_fragments_answer_pings_and_close_in_kind() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "1"]);
        let mut wire = server.connect();
        wire.send(format!("GET /-/echo HTTP/1.1\r\n{UPGRADE}"));
        let mut said = with(&wire.until("\r\n\r\n"), &["HTTP/1.1 101 Switching Protocols", ACCEPT]);
        wire.send([frame(0x01, b"he"), frame(0x89, b"ping"), frame(0x80, b"llo"), frame(0x82, &[7; 300])].concat());
        let expected = [b"\x8a\x04ping".as_slice(), b"\x81\x05hello", b"\x82\x7e\x01\x2c", &[7; 300]].concat();
        assert_eq!(wire.exactly(expected.len()), expected);
        wire.send(frame(0x88, b"\x0b\xb8bye"));
        assert_eq!(&wire.exactly(4)[2..], b"\x0b\xb8");
        wire.rest();
        for (bytes, code) in [
            (b"\x81\x01a".to_vec(), 1002_u16),
            (frame(0xc1, b"a"), 1002),
            (frame(0x83, b"a"), 1002),
            (frame(0x81, b"\xff"), 1007),
            (b"\x82\xff\0\0\0\x10\0\0\0\0mask".to_vec(), 1009),
            // Faster than the limit, without a ping that would have to be answered first.
            (frame(0x8a, b"").repeat(1000), 1008),
        ] {
            let mut wire = server.connect();
            wire.send(format!("GET /-/echo HTTP/1.1\r\n{UPGRADE}"));
            wire.until("\r\n\r\n");
            wire.send(bytes);
            let close = wire.exactly(4);
            assert_eq!((close[0], &close[2..]), (0x88, code.to_be_bytes().as_slice()));
            said += &neutral(&wire.rest());
        }
        // Of many pings at once, the first ones and the last are answered.
        let mut wire = server.connect();
        wire.send(format!("GET /-/echo HTTP/1.1\r\n{UPGRADE}"));
        wire.until("\r\n\r\n");
        let pings = [frame(0x89, b"a").repeat(79), frame(0x89, b"last")].concat();
        wire.send(pings);
        let mut answers = 0;
        while wire.exactly(3) != b"\x8a\x04l" {
            answers += 1;
        }
        assert_eq!(wire.exactly(3), b"ast");
        assert!((1..80).contains(&answers), "{answers} pongs");
        let old = format!("GET /-/echo HTTP/1.1\r\n{}", UPGRADE.replace("13", "8"));
        let mut wire = server.connect();
        wire.send(old);
        said + &with(&wire.response(), &["426 ", "sec-websocket-version: 13"])
    });
}

#[test]
fn deadlines_are_kept() {
    let directory = directory("deadlines");
    write(&directory.join("index.html"), "<p>");
    let config = "[limits]\nhead_timeout = \"400ms\"\ncontent_timeout = \"400ms\"\nidle_timeout = \"400ms\"\n\
                  [[routes]]\nhandler = \"files\"\nroot = \".\"\n[[routes]]\nprefix = \"/-/publish\"\nhandler = \"publish\"\n";
    both(|binary| {
        let server = binary.serve_config(&directory, config);
        let began = Instant::now();
        let mut idle = server.connect();
        idle.send(format!("{GET}\r\n"));
        let mut said = with(&idle.response(), &["200 OK"]);
        assert_eq!(idle.rest(), "", "an idle connection is closed without a word");
        let mut slow = server.connect();
        for byte in GET.bytes().take(8) {
            slow.send([byte]);
            sleep(Duration::from_millis(20));
        }
        said += &with(&slow.rest(), &["408 Request Timeout"]);
        let late = post("/-/publish/a", "text/plain", "never all of it");
        said += &with(&server.ask(&late[..late.len() - 1]), &["408 Request Timeout"]);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        said
    });
}

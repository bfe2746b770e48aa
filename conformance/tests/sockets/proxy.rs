//! The reverse proxy, with a backend on a plain listener.

use crate::server::{both, directory, free_port, neutral, with};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// A backend that answers by the last segment of the path. Its port.
pub(crate) fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(move || {
        for stream in listener.incoming() {
            spawn(move || while answer(stream.as_ref().unwrap()).is_some() {});
        }
    });
    port
}

/// Answers one request; `None` when the connection is to be closed.
fn answer(mut stream: &TcpStream) -> Option<()> {
    // Requests come one at a time: nothing is buffered beyond the one that is answered.
    let mut source = BufReader::with_capacity(1, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (source.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut content = vec![0; length.unwrap_or(0)];
    source.read_exact(&mut content).ok()?;
    let mut send = |text: &str| stream.write_all(text.as_bytes()).ok();
    match head.split_whitespace().nth(1)?.rsplit('/').next()? {
        "chunked" => send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        "old" => send("HTTP/1.0 200 OK\r\n\r\nto the end").and(None),
        "hop" => {
            send("HTTP/1.1 200 OK\r\nConnection: X-Private\r\nX-Private: 1\r\nX-Public: 2\r\nContent-Length: 0\r\n\r\n")
        }
        "bad" => send("SSH-2.0-x\r\n\r\n").and(None),
        "cors" => send(
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\nServer: theirs\r\nContent-Length: 0\r\n\r\n",
        ),
        "fail" => send(
            "HTTP/1.1 503 X\r\nAccess-Control-Allow-Origin: *\r\nRetry-After: 9\r\nServer: theirs\r\nContent-Length: 6\r\n\r\ntheirs",
        ),
        "nothing" => None,
        "slow" => {
            sleep(Duration::from_millis(1500));
            send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
        }
        "upgrade" => {
            send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")?;
            let mut byte = [0];
            while source.read(&mut byte).ok()? > 0 {
                stream.write_all(&byte.map(|byte| byte.to_ascii_uppercase())).ok()?;
            }
            None
        }
        _ => {
            // The order of the fields is part of what is compared.
            let seen = format!("{head}{}", String::from_utf8_lossy(&content));
            send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{seen}", seen.len()))
        }
    }
}

#[test]
fn requests_and_answers_pass_without_what_belongs_to_the_connection() {
    let root = directory("proxy");
    let (port, dead) = (backend(), free_port());
    let mounts = [
        format!("/api/=http://127.0.0.1:{port}"),
        format!("/v2/=http://127.0.0.1:{port}/base/"),
        format!("/dead/=http://127.0.0.1:{dead}"),
    ];
    both(|binary| {
        let mut arguments = vec!["--threads", "1", root.to_str().unwrap()];
        arguments.extend(mounts.iter().map(String::as_str));
        let server = binary.serve("dev", &arguments);
        let mut said = with(
            &server.ask(
                "POST /api/echo?a=%20b HTTP/1.1\r\nHost: shop.example\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nX-Other: 2\r\n\
                 X-Barium: forged\r\nX-Forwarded-For: 10.0.0.1\r\nContent-Length: 4\r\n\r\nbody",
            ),
            &["POST /api/echo?a=%20b HTTP/1.1\r\n", "2\r\n", "127.0.0.1", "shop.example", "\r\n\r\nbody"],
        );
        assert!(!said.contains("forged") && !said.to_ascii_lowercase().contains("x-mine"), "{said}");
        for (target, parts) in [
            ("/v2/users?x", ["200 OK", "GET /base/users?x "]),
            ("/api/chunked", ["200 OK", "hello"]),
            ("/api/old", ["200 OK", "to the end"]),
            ("/api/hop", ["200 OK", "x-public: 2"]),
            ("/api/nothing", ["502 Bad Gateway", "x-barium: "]),
            ("/api/bad", ["502 Bad Gateway", "x-barium: "]),
            ("/dead/x", ["502 Bad Gateway", "x-barium: "]),
        ] {
            let answer = server.get(target);
            said += &with(&answer.replace("X-Public", "x-public"), &parts);
            assert!(!answer.to_ascii_lowercase().contains("x-private"), "{answer}");
        }
        said
    });
}

#[test]
fn a_request_id_is_the_same_on_both_sides() {
    let root = directory("barium");
    let mount = format!("/api/=http://127.0.0.1:{}", backend());
    both(|binary| {
        let server = binary.serve("dev", &["--threads", "1", root.to_str().unwrap(), &mount]);
        let answer = server.get("/api/echo");
        let ids: Vec<_> = answer
            .lines()
            .filter_map(|line| line.to_ascii_lowercase().strip_prefix("x-barium: ").map(str::to_owned))
            .collect();
        assert_eq!(ids.len(), 2, "{answer}");
        assert_eq!(ids[0], ids[1]);
        assert!(neutral(&answer).contains("x-barium: ID"), "{answer}");
        neutral(&answer)
    });
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let root = directory("tunnel");
    let mount = format!("/api/=http://127.0.0.1:{}", backend());
    both(|binary| {
        let server = binary.serve("dev", &["--threads", "1", root.to_str().unwrap(), &mount]);
        let mut wire = server.connect();
        wire.send("GET /api/upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nearly ");
        let said = with(&wire.until("\r\n\r\n").to_ascii_lowercase(), &["101 switching protocols", "upgrade: shout"]);
        wire.send("and late");
        assert_eq!(wire.exactly(14), b"EARLY AND LATE");
        wire.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(wire.rest(), "");
        said
    });
}

//! Who may, and who they are: believed peers, access, logins, the backend that is asked first, limits.

use crate::messages::frame;
use crate::proxy::backend;
use crate::server::{Server, both, directory, free_port, neutral, post};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// `ann` with the password `sesame`: SHA-crypt of 1,000 rounds, so that the test is quick.
const USERS: &str = "ann:$5$rounds=1000$saltsaltsaltsalt$6JG2pT4dwkds3RjqH0K9RfPbS8JlhlSRGw9PqEKkw.8\n";
const ANN: &str = "Authorization: Basic YW5uOnNlc2FtZQ==";

/// A backend that says who may, by the cookie of the request. Its port.
pub(crate) fn doorman() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(move || {
        for stream in listener.incoming() {
            spawn(move || while judge(stream.as_ref().unwrap()).is_some() {});
        }
    });
    port
}

/// Answers one question; `None` when the connection is to be closed.
fn judge(mut stream: &TcpStream) -> Option<()> {
    let mut source = BufReader::with_capacity(1, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (source.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or("none");
    let line = head.lines().next()?;
    let (method, uri, from) = (field("x-forwarded-method"), field("x-forwarded-uri"), field("x-forwarded-for"));
    let seen = format!("{line} {method} {uri} {from} {} {}", field("Content-Type"), field("If-None-Match"));
    let answer = match field("Cookie") {
        "pass" => format!("200 OK\r\nX-User: ann\r\nX-Role: a\r\nX-Role: b\r\nX-Other: 1\r\nX-Seen: {seen}"),
        "brief" => "200 OK\r\nX-Authorization-Expires-In: 1".to_owned(),
        "soon" => "200 OK\r\nX-Authorization-Expires-In: soon".to_owned(),
        "empty" => "204 No Content".to_owned(),
        "login" => "302 Found\r\nLocation: /login\r\nSet-Cookie: a=b\r\nX-Other: 1".to_owned(),
        "deny" => "401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nX-User: ann".to_owned(),
        "never" => "403 Forbidden".to_owned(),
        "same" => "304 Not Modified".to_owned(),
        "broken" => "500 Internal Server Error".to_owned(),
        "silent" => {
            sleep(Duration::from_secs(3));
            return None;
        }
        _ => return stream.write_all(b"SSH-2.0-x\r\n\r\n").ok().and(None),
    };
    let (length, content) = if answer.starts_with("20") || answer.starts_with("304") {
        ("", "")
    } else {
        ("\r\nContent-Length: 6", "theirs")
    };
    let length = if answer.starts_with("200") { "\r\nContent-Length: 0" } else { length };
    stream.write_all(format!("HTTP/1.1 {answer}{length}\r\n\r\n{content}").as_bytes()).ok()
}

/// Asks with further field lines over a connection of its own.
fn ask(server: &Server, request: &str, fields: &str) -> String {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    server.ask(format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"))
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

#[test]
fn believed_peers_say_who_the_client_is() {
    let root = directory("believed");
    let config = format!(
        "trusted = ['127.0.0.1/32']
        upstreams.app.url = 'http://127.0.0.1:{}'
        [[routes]]
        prefix = '/office'
        handler = 'status'
        status = 200
        access = {{ allow = ['192.0.2.0/24', '2001:db8::/32'], deny = ['192.0.2.66'] }}
        [[routes]]
        handler = 'proxy'
        upstream = 'app'",
        backend()
    );
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        for (said, expected) in [
            ("", 403),
            ("X-Forwarded-For: 192.0.2.1", 200),
            ("X-Forwarded-For: 192.0.2.66", 403),
            ("X-Forwarded-For: 2001:db8::5", 200),
            ("X-Forwarded-For: 192.0.2.1, 198.51.100.1", 403),
            ("X-Forwarded-For: 198.51.100.1, 192.0.2.1, 127.0.0.1", 200),
            ("X-Forwarded-For: unknown", 403),
        ] {
            assert_eq!(status(&ask(&server, "GET /office/x", said)), expected, "{said}");
        }
        let said = "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\nX-Forwarded-Proto: https\r\nVia: 1.1 cdn\r\n\
                    X-Barium: 0190163d-8694-739b-aea5-966c26f8ad91\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6";
        let seen = ask(&server, "GET /echo", said);
        for line in [
            "x-forwarded-for: 192.0.2.1, 127.0.0.1\r\n",
            "x-forwarded-proto: https\r\n",
            "x-forwarded-host: a\r\n",
            "x-forwarded-port: 443\r\n",
            "Via: 1.1 cdn\r\n",
            "via: 1.1 brolly\r\n",
            "x-barium: 0190163d-8694-739b-aea5-966c26f8ad91\r\n",
        ] {
            assert!(seen.contains(line), "{line}{seen}");
        }
        assert!(!seen.contains("6.6.6.6") && !seen.contains("Forwarded: for"), "{seen}");
        neutral(&seen)
    });
}

#[test]
fn a_login_comes_before_content_and_backend() {
    let root = directory("login");
    fs::write(root.join("users"), USERS).unwrap();
    let config = format!(
        "upstreams.app.url = 'http://127.0.0.1:{}'
        [[routes]]
        handler = 'proxy'
        upstream = 'app'
        basic_auth = {{ file = 'users', realm = 'Administration' }}",
        backend()
    );
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        let mut said = String::new();
        for credentials in
            ["", "Authorization: Basic YW5uOng=", "Authorization: Basic Ym9iOnNlc2FtZQ==", "Authorization: Bearer x"]
        {
            let answer = ask(&server, "GET /echo", credentials);
            assert_eq!(status(&answer), 401, "{credentials}");
            assert!(
                answer.contains("www-authenticate: Basic realm=\"Administration\", charset=\"UTF-8\"\r\n"),
                "{answer}"
            );
            said += &answer;
        }
        // Twice: the second time from memory.
        for _ in 0..2 {
            let seen = ask(&server, "GET /echo", &format!("{ANN}\r\nX-Forwarded-User: root"));
            assert!(seen.contains("\r\nx-forwarded-user: ann\r\n") && !seen.contains("root"), "{seen}");
            assert!(!seen.contains("YW5uOnNlc2FtZQ"), "{seen}");
            said += &seen;
        }
        let mut wire = server.connect();
        wire.send(format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n{ANN}\r\n\r\n"
        ));
        assert_eq!(wire.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        wire.send("hello");
        assert!(wire.response().ends_with("hello"));
        // Pipelined, with the content in the same write.
        wire.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n{ANN}\r\n\r\nworld").repeat(2));
        assert!(wire.response().ends_with("world") && wire.response().ends_with("world"));
        // Another user after a HUP, and nobody else.
        fs::write(root.join("users"), USERS.replace("ann", "eve")).unwrap();
        server.process.signal("HUP");
        let deadline = Instant::now() + Duration::from_secs(5);
        while status(&ask(&server, "GET /echo", ANN)) != 401 {
            assert!(Instant::now() < deadline, "the file was not read again");
            sleep(Duration::from_millis(20));
        }
        fs::write(root.join("users"), USERS).unwrap();
        neutral(&said)
    });
}

#[test]
fn a_backend_says_who_may() {
    let root = directory("authorize");
    fs::write(root.join("file.txt"), "content").unwrap();
    let config = format!(
        "log = true
        limits = {{ authorize_timeout = '1s' }}
        upstreams.app.url = 'http://127.0.0.1:{}'
        upstreams.auth.url = 'http://127.0.0.1:{}'
        upstreams.dead.url = 'http://127.0.0.1:{}'
        [[routes]]
        handler = 'proxy'
        upstream = 'app'
        authorize = {{ upstream = 'auth', path = '/check', copy = ['X-User', 'X-Role', 'X-Seen'] }}
        [[routes]]
        prefix = '/files'
        handler = 'files'
        root = '.'
        authorize = {{ upstream = 'auth' }}
        [[routes]]
        prefix = '/echo-socket'
        handler = 'echo'
        authorize = {{ upstream = 'auth' }}
        [[routes]]
        prefix = '/events'
        handler = 'event-stream'
        authorize = {{ upstream = 'auth' }}
        [[routes]]
        prefix = '/dead'
        handler = 'status'
        status = 200
        authorize = {{ upstream = 'dead' }}",
        backend(),
        doorman(),
        free_port()
    );
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        let forged = "Cookie: pass\r\nX-User: root\r\nx_role: root\r\nX-Forwarded-Uri: /x\r\nIf-None-Match: x";
        let seen = ask(&server, "GET /a/echo?b", forged);
        for line in [
            "x-user: ann\r\n",
            "x-role: a\r\nx-role: b\r\n",
            "x-seen: GET /check HTTP/1.1 GET /a/echo?b 127.0.0.1 none none\r\n",
            "If-None-Match: x\r\n",
        ] {
            assert!(seen.contains(line), "{line}{seen}");
        }
        assert!(!seen.contains("root") && !seen.contains("X-Other"), "{seen}");
        let mut said = seen;
        for (cookie, expected, told) in [
            ("empty", 200, ""),
            ("login", 302, "location: /login\r\nset-cookie: a=b\r\n"),
            ("deny", 401, "www-authenticate: Bearer\r\n"),
            ("never", 403, ""),
            ("same", 502, ""),
            ("broken", 502, ""),
            ("nonsense", 502, ""),
            ("silent", 504, ""),
        ] {
            let answer = ask(&server, "GET /echo", &format!("Cookie: {cookie}"));
            assert_eq!(status(&answer), expected, "{cookie}: {answer}");
            assert!(answer.contains(told) && !answer.contains("theirs") && !answer.contains("X-Other"), "{answer}");
            said += &answer;
        }
        assert_eq!(status(&ask(&server, "GET /dead", "Cookie: pass")), 502);
        // Any handler, and content that waits.
        assert!(ask(&server, "GET /files/file.txt", "Cookie: pass").ends_with("\r\n\r\ncontent"));
        assert_eq!(status(&ask(&server, "GET /files/file.txt", "Cookie: never")), 403);
        let posted = post("/echo", "text/plain", "hello").replacen("Host: a", "Host: a\r\nCookie: pass", 1);
        let answer = server.ask(&posted);
        assert!(answer.ends_with("hello") && answer.contains("x-seen: GET /check HTTP/1.1 POST /echo"), "{answer}");
        let mut wire = server.connect();
        wire.send(
            "POST /echo HTTP/1.1\r\nHost: a\r\nCookie: never\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        );
        assert_eq!(status(&wire.until("\r\n\r\n")), 403);
        let mut wire = server.connect();
        wire.send(
            "GET /echo-socket HTTP/1.1\r\nHost: a\r\nCookie: pass\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        assert_eq!(status(&wire.until("\r\n\r\n")), 101);
        wire.send(frame(0x81, b"hello"));
        assert_eq!(wire.exactly(7), b"\x81\x05hello");
        let mut wire = server.connect();
        wire.send("GET /events?topic=a HTTP/1.1\r\nHost: a\r\nCookie: pass\r\n\r\n");
        assert_eq!(status(&wire.until("\r\n\r\n")), 200);
        neutral(&said)
    });
}

#[test]
fn one_client_gets_so_much_and_no_more() {
    let root = directory("limits");
    fs::write(root.join("large"), vec![b'x'; 300_000]).unwrap();
    let config = format!(
        "threads = 3
        trusted = ['127.0.0.1']
        upstreams.app.url = 'http://127.0.0.1:{}'
        [[routes]]
        prefix = '/few'
        handler = 'status'
        status = 200
        limits = {{ requests = '1/m', burst = 3 }}
        [[routes]]
        prefix = '/one'
        handler = 'event-stream'
        limits = {{ connections = 1 }}
        [[routes]]
        prefix = '/slow'
        handler = 'files'
        root = '.'
        limits = {{ bandwidth = '200KiB/s' }}
        [[routes]]
        prefix = '/small'
        handler = 'proxy'
        upstream = 'app'
        content_bytes = '8B'",
        backend()
    );
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        for expected in [200, 200, 200, 429] {
            let answer = ask(&server, "GET /few", "");
            assert_eq!(status(&answer), expected);
            assert_eq!(answer.contains("retry-after: 60\r\n"), expected == 429, "{answer}");
        }
        // Behind a believed peer there are many clients; those of one household are one.
        for (client, expected) in [("192.0.2.1", 200), ("2001:db8::1", 200), ("2001:db8::2", 200)] {
            assert_eq!(status(&ask(&server, "GET /few", &format!("X-Forwarded-For: {client}"))), expected);
        }
        let mut wire = server.connect();
        wire.send("GET /one?topic=a HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status(&wire.until("\r\n\r\n")), 200);
        assert_eq!(status(&ask(&server, "GET /one?topic=a", "")), 429);
        drop(wire);
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let mut wire = server.connect();
            wire.send("GET /one?topic=a HTTP/1.1\r\nHost: a\r\n\r\n");
            if status(&wire.until("\r\n\r\n")) == 200 {
                break;
            }
            assert!(Instant::now() < deadline, "the place is not given back");
            sleep(Duration::from_millis(20));
        }
        let began = Instant::now();
        let answer = server.get("/slow/large");
        let took = began.elapsed().as_millis();
        assert!(answer.len() > 300_000 && (900..4000).contains(&took), "{} bytes in {took} ms", answer.len());
        let mut said = String::new();
        for (request, expected) in [
            (post("/small/echo", "text/plain", "12345678"), 200),
            (post("/small/echo", "text/plain", "123456789"), 413),
        ] {
            let answer = server.ask(&request);
            assert_eq!(status(&answer), expected);
            said += &answer;
        }
        let mut wire = server.connect();
        wire.send("POST /small/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(status(&wire.until("\r\n\r\n")), 413);
        let mut wire = server.connect();
        let chunks = "5\r\n12345\r\n4\r\n6789\r\n";
        wire.send(format!("POST /small/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        assert_eq!(status(&wire.until("\r\n\r\n")), 413);
        neutral(&said)
    });
}

/// With several threads a client gets as much as with one: its home counts, wherever its connections are.
#[test]
fn one_client_gets_no_more_with_more_threads() {
    let root = directory("limits-threads");
    both(|binary| {
        let server = binary.serve_config(
            &root,
            "threads = 4
            [[routes]]
            handler = 'status'
            status = 204
            limits = { requests = '1/m', burst = 10 }
            [[routes]]
            prefix = '/echo'
            handler = 'echo'
            limits = { connections = 2 }",
        );
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut wires: Vec<_> = (0..40).map(|_| server.connect()).collect();
        wires.iter_mut().for_each(|wire| wire.send(request));
        let answers: Vec<_> = wires.iter_mut().map(|wire| wire.response()).collect();
        let count = |wanted| answers.iter().filter(|answer| status(answer) == wanted).count();
        assert_eq!((count(204), count(429)), (10, 30), "{answers:?}");
        assert!(answers.iter().filter(|answer| status(answer) == 429).all(|answer| answer.contains("retry-after: ")));

        let upgrade = "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        for _ in 0..3 {
            let mut wires: Vec<_> = (0..12).map(|_| server.connect()).collect();
            wires.iter_mut().for_each(|wire| wire.send(upgrade));
            let open = wires.iter_mut().map(|wire| wire.until("\r\n\r\n")).filter(|answer| status(answer) == 101);
            assert_eq!(open.count(), 2);
            drop(wires);
            // Their places are given back once the ends of all have been seen.
            sleep(Duration::from_millis(300));
        }
        format!("{} {}", count(204), count(429))
    });
}

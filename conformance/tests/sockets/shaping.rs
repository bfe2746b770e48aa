//! What routes change about messages: fields, redirects, other origins, pages, and what the log says about errors.

use crate::proxy::backend;
use crate::server::{both, directory, free_port, neutral};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

const ROUTES: &str = r#"
    trusted = ["127.0.0.0/8"]
    errors = { 4xx = "global.html" }

    [[routes]]
    host = "site.example"
    handler = "files"
    root = "."
    https = true
    www = "remove"
    errors = { 404 = "own.txt" }
    response_fields = { set = { X-Frame-Options = "DENY" }, add = { X-Who = "{client} {scheme}" }, remove = ["etag", "Last-Modified"] }

    [[routes]]
    host = "ported.example"
    handler = "status"
    status = 204
    https = 8443

    [[routes]]
    prefix = "/api/"
    handler = "proxy"
    upstream = "app"
    intercept = true
    errors = { 503 = "own.txt" }
    request_fields = { set = { X-Edge = "brolly {id}" }, remove = ["X-Debug"] }
    cors = { origins = ["https://app.example", "https://*.dev.example"], methods = ["PUT"], fields = ["X-A"], expose = ["X-Total"], credentials = true, max_age = "10m" }

    [[routes]]
    prefix = "/open/"
    handler = "status"
    status = 200
    cors = { origins = ["*"] }

    [[routes]]
    prefix = "/shop/"
    handler = "status"
    status = 200
    maintenance = "own.txt"

    [[routes]]
    prefix = "/moved/"
    handler = "redirect"
    location = "/new/"
    keep_path = true
    status = 302
"#;

/// Target and further field lines; what the answer says; what it does not say.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const ROWS: [Row; 26] = [
    // The address of a site.
    ("GET /a%2Fb?c", "Host: site.example", &[" 308 ", "location: https://site.example/a%2Fb?c\r\n", "DENY"], &["etag"]),
    ("GET /", "Host: www.site.example:8080", &[" 308 ", "location: https://site.example/\r\n", "this is at"], &[]),
    ("GET /", "Host: www.site.example\r\nX-Forwarded-Proto: https", &["location: https://site.example/\r\n"], &[]),
    ("POST //b.example/", "Host: site.example", &["location: https://site.example//b.example/\r\n"], &[]),
    ("GET /", "Host: ported.example", &["location: https://ported.example:8443/\r\n"], &[]),
    ("GET /", "Host: ported.example\r\nX-Forwarded-Proto: https", &[" 204 "], &["location"]),
    // Fields of answers.
    (
        "GET /index.html",
        "Host: site.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1",
        &[" 200 ", "server: brolly\r\n", "X-Frame-Options: DENY\r\n", "X-Who: 192.0.2.1 https\r\n", "hello"],
        &["last-modified", "etag: "],
    ),
    // Errors.
    (
        "GET /none",
        "Host: site.example\r\nX-Forwarded-Proto: https",
        &[" 404 ", "text/plain", "no-store", "X-Frame-Options: DENY\r\n", "\r\n\r\nown 404 "],
        &["{id}"],
    ),
    ("HEAD /none", "Host: site.example\r\nX-Forwarded-Proto: https", &[" 404 ", "content-length: 44\r\n"], &["own"]),
    ("GET /none", "Host: other.example", &[" 404 ", "text/html", "no-store", "<h1>global"], &["own"]),
    ("BREW /none", "Host : a", &[" 400 ", "<h1>global", "connection: close"], &[]),
    // Backends: fields in both directions, their errors.
    (
        "GET /api/echo",
        "Host: a\r\nX-Debug: 1\r\nX-Edge: forged",
        &[" 200 ", "X-Edge: brolly ", "vary: origin\r\n"],
        &["X-Debug", "forged", "server: brolly"],
    ),
    (
        "GET /api/fail",
        "Host: a\r\nOrigin: https://evil.example",
        &[" 503 ", "retry-after: 9\r\n", "\r\n\r\nown 503 ", "server: brolly\r\n", "vary: origin\r\n"],
        &["theirs", "access-control"],
    ),
    // Other origins.
    (
        "GET /api/cors",
        "Host: a\r\nOrigin: https://app.example",
        &[
            "Vary: Accept, origin\r\n",
            "access-control-allow-origin: https://app.example\r\n",
            "access-control-allow-credentials: true\r\n",
            "access-control-expose-headers: X-Total\r\n",
            "Server: theirs\r\n",
        ],
        &["Allow-Origin: *", "server: brolly"],
    ),
    ("GET /api/cors", "Host: a\r\nOrigin: https://a.dev.example", &["allow-origin: https://a.dev.example\r\n"], &[]),
    ("GET /api/cors", "Host: a\r\nOrigin: https://evil.example", &[" 200 ", "Vary: Accept, origin\r\n"], &["llow-"]),
    ("GET /api/cors", "Host: a\r\nOrigin: null", &[" 200 "], &["llow-"]),
    (
        "OPTIONS /api/cors",
        "Host: a\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: PUT",
        &[
            " 204 ",
            "vary: origin\r\n",
            "access-control-allow-origin: https://app.example\r\n",
            "access-control-allow-methods: PUT\r\n",
            "access-control-allow-headers: X-A\r\n",
            "access-control-max-age: 600\r\n",
        ],
        &["Accept", "content-length"],
    ),
    (
        "OPTIONS /api/cors",
        "Host: a\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: PUT",
        &[" 403 ", "vary: origin\r\n"],
        &["access-control"],
    ),
    ("OPTIONS /api/cors", "Host: a\r\nOrigin: https://app.example", &[" 200 ", "Server: theirs"], &[]),
    ("GET /open/", "Host: a\r\nOrigin: https://any.example", &["access-control-allow-origin: *\r\n"], &["vary"]),
    ("GET /open/", "Host: a", &["access-control-allow-origin: *\r\n"], &["vary"]),
    // Maintenance, with the other address of a site before it.
    ("PUT /shop/x", "Host: a", &[" 503 ", "retry-after: 120\r\n", "no-store", "\r\n\r\nown 503 "], &[]),
    // Redirects that keep the path cannot be led astray.
    ("GET /moved/x?y=%20", "Host: a", &[" 302 ", "location: /new/moved/x?y=%20\r\n", "this is at /new"], &[]),
    ("GET //moved//evil.example", "Host: a", &["location: /new/moved//evil.example\r\n"], &[]),
    ("GET /moved/%2e%2E/x", "Host: a", &[" 404 "], &["location"]),
];

fn site(name: &str) -> (std::path::PathBuf, String) {
    let root = directory(name);
    fs::write(root.join("own.txt"), "own {status} {id}").unwrap();
    fs::write(root.join("global.html"), "<h1>global").unwrap();
    fs::write(root.join("index.html"), "hello").unwrap();
    let config = format!("upstreams.app.url = \"http://127.0.0.1:{}\"\n{ROUTES}", backend());
    (root, config)
}

#[test]
fn routes_have_the_last_word_about_messages() {
    let (root, config) = site("shaping");
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        let mut said = String::new();
        for (request, lines, present, absent) in ROWS {
            let answer = server.ask(format!("{request} HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n"));
            for part in present {
                assert!(answer.contains(part), "{request} {lines}: no {part:?} in {answer}");
            }
            for part in absent {
                assert!(!answer.contains(part), "{request} {lines}: {part:?} in {answer}");
            }
            let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
            for name in ["\r\nx-barium: ", "\r\ndate: "] {
                assert_eq!(head.matches(name).count(), 1, "{request} {lines}: {answer}");
            }
            // What a backend tells about its connection has the port of this run in it.
            let answer =
                answer.lines().filter(|line| !line.contains("x-forwarded-port")).collect::<Vec<_>>().join("\n");
            said += &neutral(&answer);
        }
        said
    });
}

#[test]
fn who_cannot_be_sent_to_https_is_not_served_in_plain() {
    let root = directory("shaping-nowhere");
    both(|binary| {
        let server = binary.serve_config(&root, "[[routes]]\nhandler = 'status'\nstatus = 200\nhttps = true");
        let mut said = String::new();
        for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a&b\r\nConnection: close\r\n\r\n"] {
            let answer = server.ask(request);
            assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("location"), "{answer}");
            said += &neutral(&answer);
        }
        said
    });
}

#[test]
fn server_says_what_the_file_says() {
    let root = directory("shaping-server");
    both(|binary| {
        let mut said = String::new();
        for (line, expected) in [
            ("", "\r\nserver: brolly\r\n"),
            ("server = 'mine/1'", "\r\nserver: mine/1\r\n"),
            ("server = false", "\r\n"),
        ] {
            let answer = binary.serve_config(&root, line).get("/");
            assert!(answer.contains(expected), "{line}: {answer}");
            assert_eq!(answer.contains("server"), expected.contains("server"), "{line}: {answer}");
            said += &neutral(&answer);
        }
        said
    });
}

/// What a client gets wrong is found in the log: the request line as far as it could be read, and what was wrong.
#[test]
fn errors_are_logged_with_their_reason() {
    let root = directory("shaping-log");
    let config = root.join("log.toml");
    both(|binary| {
        let port = free_port();
        fs::write(&config, format!("listen = [\"127.0.0.1:{port}\"]\n")).unwrap();
        let mut process = binary.spawn(&["serve", "--config", config.to_str().unwrap()]);
        let mut log = BufReader::new(process.0.stdout.take().unwrap());
        let mut said = String::new();
        for (bytes, request, status, reason) in [
            (&b"GET /a?b HTTP/1.1\r\nHost : x\r\n\r\n"[..], "GET /a?b", 400, "malformed field line"),
            (b"GET /a HTTP/1.1\r\n\r\n", "GET /a", 400, "missing, repeated or malformed Host"),
            (b"GET /a HTTP/3.0\r\n\r\n", "GET /a", 505, "HTTP version not supported"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n", "POST /", 501, "unknown transfer coding"),
            (b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET /none", 404, "nothing is here"),
        ] {
            let mut stream = connect(port);
            stream.write_all(bytes).unwrap();
            let mut line = String::new();
            log.read_line(&mut line).unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                (&line["request"], &line["status"], &line["reason"]),
                (&request.into(), &status.into(), &reason.into())
            );
            assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:") && line["id"].is_string(), "{line}");
            said += &format!("{} {} {}\n", line["request"], line["status"], line["reason"]);
        }
        said
    });
}

/// A connection to a server that may still be starting.
fn connect(port: u16) -> TcpStream {
    for _ in 0..2000 {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            return stream;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("nobody listens on {port}");
}

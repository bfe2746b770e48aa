//! TLS in both directions, over real sockets.

use crate::certificates::{Authority, Tls, connect};
use crate::server::{Server, both, directory, free_port, with};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// One listener with TLS, and what else the configuration says.
fn config(port: u16, tls: &str, rest: &str) -> String {
    format!(
        "[[listeners]]\naddress = \"127.0.0.1:{port}\"\ntls = \"main\"\n[tls.main]\n{tls}\n{rest}\n\
         [[routes]]\nhandler = \"status\"\nstatus = 200\n"
    )
}

fn certificates(stems: &[&str]) -> String {
    let one = |stem: &&str| format!("{{ chain = \"{stem}.pem\", key = \"{stem}.key\" }}");
    format!("certificates = [{}]", stems.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A whole response with a length.
fn answer(tls: &mut Tls, request: &[u8]) -> String {
    tls.write_all(request).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.split_once("content-length: ").unwrap().1.lines().next().unwrap().parse().unwrap();
    let mut content = vec![0; length];
    tls.read_exact(&mut content).unwrap();
    head + std::str::from_utf8(&content).unwrap()
}

/// Everything up to the end, which must have been announced.
fn rest(tls: &mut Tls, request: &[u8]) -> String {
    tls.write_all(request).unwrap();
    let mut all = Vec::new();
    tls.read_to_end(&mut all).unwrap();
    String::from_utf8(all).unwrap()
}

#[test]
fn certificates_versions_and_protocols_are_agreed_on() {
    let root = directory("tls");
    let authority = Authority::new(&root, "authority");
    let [org, net] =
        [("org", "example.org"), ("net", "*.example.net")].map(|(stem, name)| authority.sign(stem, &[name]));
    both(|binary| {
        let port = free_port();
        let _server = binary.serve_config(&root, &config(port, &certificates(&["org", "net"]), ""));
        let mut said = String::new();
        for (version, number) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let mut client = authority.client(&[version], None);
            client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let client = Arc::new(client);
            for (name, expected) in [("example.org", &org), ("a.example.net", &net)] {
                let mut tls = connect(&client, port, name);
                said += &with(&answer(&mut tls, GET), &["HTTP/1.1 200 OK\r\n"]);
                assert_eq!(tls.conn.peer_certificates().unwrap().first(), Some(expected));
                assert_eq!(tls.conn.protocol_version(), Some(number));
                assert_eq!(tls.conn.alpn_protocol(), Some(b"http/1.1".as_slice()));
                said += &with(&rest(&mut tls, LAST), &["HTTP/1.1 200 OK\r\n"]);
            }
            // Opened with the second name already, except for the tickets that come too late for it.
            let mut again = connect(&client, port, "example.org");
            answer(&mut again, GET);
            assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        }
        let mut client = authority.client(&[&TLS13], None);
        client.alpn_protocols = vec![b"h2".to_vec()];
        let refused = connect(&Arc::new(client), port, "example.org").write_all(GET).unwrap_err();
        let mut unknown = connect(&authority.plain_client(), port, "elsewhere.test");
        said + &format!("{refused}\n{}", unknown.write_all(GET).unwrap_err())
    });
}

#[test]
fn plain_http_and_slow_handshakes_are_turned_away() {
    let root = directory("tls-slow");
    Authority::new(&root, "authority").sign("org", &["example.org"]);
    both(|binary| {
        let port = free_port();
        let limits = "[limits]\nhead_timeout = \"1s\"";
        let server = binary.serve_config(&root, &config(port, &certificates(&["org"]), limits));
        let tls = Server { port, ..server };
        let said = with(&tls.ask(GET), &["HTTP/1.1 400 Bad Request\r\n", "speaks TLS"]);
        for beginning in [b"".as_slice(), b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
            let mut wire = tls.connect();
            wire.send(beginning);
            let began = Instant::now();
            assert_eq!(wire.rest(), "");
            assert!((500..5_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        }
        said
    });
}

#[test]
fn clients_are_asked_for_certificates() {
    let root = directory("tls-clients");
    let (authority, other) = (Authority::new(&root, "authority"), Authority::new(&root, "other"));
    authority.sign("org", &["example.org"]);
    authority.sign("alice", &["alice.example.org"]);
    other.sign("mallory", &["mallory.test"]);
    both(|binary| {
        let port = free_port();
        let tls =
            certificates(&["org"]) + "\nclient_certificates = { authorities = \"authority.pem\", required = true }";
        let _server = binary.serve_config(&root, &config(port, &tls, ""));
        for version in [&TLS12, &TLS13] {
            let mut good = connect(&Arc::new(authority.client(&[version], Some("alice"))), port, "example.org");
            with(&answer(&mut good, GET), &["HTTP/1.1 200 OK\r\n"]);
            for shown in [None, Some("mallory")] {
                let mut bad = connect(&Arc::new(authority.client(&[version], shown)), port, "example.org");
                let mut all = Vec::new();
                assert!(bad.write_all(GET).and_then(|()| bad.read_to_end(&mut all)).is_err() && all.is_empty());
            }
        }
        "done".into()
    });
}

#[test]
fn a_reload_changes_certificates_and_drops_nobody() {
    let root = directory("tls-reload");
    let authority = Authority::new(&root, "authority");
    both(|binary| {
        let first = authority.sign("org", &["example.org"]);
        let port = free_port();
        let server = binary.serve_config(&root, &config(port, &certificates(&["org"]), ""));
        let shown = || {
            let mut tls = connect(&authority.plain_client(), port, "example.org");
            answer(&mut tls, GET);
            tls.conn.peer_certificates().unwrap()[0].clone().into_owned()
        };
        let client = authority.plain_client();
        let mut open = connect(&client, port, "example.org");
        answer(&mut open, GET);
        assert_eq!(shown(), first);
        let second = authority.sign("org", &["example.org"]);
        server.process.signal("HUP");
        let deadline = Instant::now() + Duration::from_secs(10);
        while shown() != second {
            assert!(Instant::now() < deadline, "the old certificate is still shown");
            sleep(Duration::from_millis(20));
        }
        fs::write(root.join("org.key"), "broken").unwrap();
        server.process.signal("HUP");
        sleep(Duration::from_millis(300));
        assert_eq!(shown(), second, "a broken file took the good one away");
        let mut again = connect(&client, port, "example.org");
        answer(&mut again, GET);
        assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Resumed), "sessions are gone");
        with(&answer(&mut open, GET), &["HTTP/1.1 200 OK\r\n"])
    });
}

/// Answers each request with the number of bytes of its content.
fn counting_backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(move || {
        for stream in listener.incoming() {
            spawn(move || count(stream.unwrap()));
        }
    });
    port
}

fn count(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length: u64 = head.split_once("content-length: ").unwrap().1.lines().next().unwrap().parse().unwrap();
    // So that it does not all fit somewhere.
    sleep(Duration::from_millis(300));
    let mut content = Vec::new();
    Read::by_ref(&mut stream).take(length).read_to_end(&mut content).unwrap();
    let sum: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
    let text = format!("{sum}");
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
}

#[test]
fn much_arrives_in_both_directions_though_the_reader_is_slow() {
    let root = directory("tls-much");
    let authority = Authority::new(&root, "authority");
    authority.sign("org", &["example.org"]);
    let content: Vec<u8> = (0..8_000_000_u32).map(|n| (n * 31 % 253) as u8).collect();
    fs::create_dir(root.join("public")).unwrap();
    fs::write(root.join("public/big"), &content).unwrap();
    let rest = format!(
        "[upstreams.a]\nurl = \"http://127.0.0.1:{}\"\n[[routes]]\nprefix = \"/files/\"\nhandler = \"files\"\nroot = \"public\"\n\
         [[routes]]\nprefix = \"/up\"\nhandler = \"proxy\"\nupstream = \"a\"",
        counting_backend()
    );
    both(|binary| {
        let port = free_port();
        let _server = binary.serve_config(&root, &config(port, &certificates(&["org"]), &rest));
        let mut tls = connect(&authority.plain_client(), port, "example.org");
        tls.write_all(b"GET /files/big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        sleep(Duration::from_millis(500));
        let mut all = Vec::new();
        tls.read_to_end(&mut all).unwrap();
        assert!(all.ends_with(&content), "{} bytes of {}", all.len(), content.len());
        let mut tls = connect(&authority.plain_client(), port, "example.org");
        let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
        tls.write_all(head.as_bytes()).unwrap();
        tls.write_all(&content).unwrap();
        let sum = content.iter().map(|byte| u64::from(*byte)).sum::<u64>().to_string();
        with(&answer(&mut tls, b""), &["HTTP/1.1 200 OK\r\n", &sum])
    });
}

/// Speaks TLS as a server, and ends its answer, which has no length, with or without `close_notify`.
fn ending_backend(root: &Path, announces: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(crate::certificates::server(root, "org"));
    spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut buffer = [0; 4096];
            if tls.read(&mut buffer).is_ok() {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it");
                if announces {
                    tls.conn.send_close_notify();
                }
                let _ = tls.flush();
            }
        }
    });
    port
}

#[test]
fn backends_are_verified_and_their_answers_cannot_be_cut_short() {
    let root = directory("tls-backends");
    Authority::new(&root, "authority").sign("org", &["example.org"]);
    let [whole, cut] = [true, false].map(|announces| ending_backend(&root, announces));
    let mut rest = String::new();
    for (name, port, tls) in [
        ("whole", whole, "{ authorities = \"authority.pem\", name = \"example.org\" }"),
        ("cut", cut, "{ authorities = \"authority.pem\", name = \"example.org\" }"),
        ("wrong", whole, "{ authorities = \"authority.pem\", name = \"example.net\" }"),
        ("unknown", whole, "{ authorities = \"other.pem\", name = \"example.org\" }"),
    ] {
        rest += &format!(
            "[upstreams.{name}]\nurl = \"https://127.0.0.1:{port}\"\ntls = {tls}\n[[routes]]\nprefix = \"/{name}\"\n\
             handler = \"proxy\"\nupstream = \"{name}\"\n"
        );
    }
    Authority::new(&root, "other");
    both(|binary| {
        let server = binary.serve_config(&root, &rest);
        let mut said = with(&server.get("/whole"), &["HTTP/1.1 200 OK\r\n", "half of it\r\n0\r\n\r\n"]);
        let cut = server.get("/cut");
        assert!(cut.is_empty() || !cut.contains("\r\n0\r\n"), "{cut}");
        for path in ["/wrong", "/unknown"] {
            said += &with(&server.get(path), &["HTTP/1.1 502 Bad Gateway\r\n"]);
        }
        said
    });
}

/// The PROXY header comes before TLS, where load balancers write it, and where servers look for it.
#[test]
fn backends_behind_tls_learn_the_client_from_a_proxy_header() {
    let root = directory("tls-backend-proxy");
    Authority::new(&root, "authority").sign("org", &["example.org"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(crate::certificates::server(&root, "org"));
    spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut header = [0; 28];
            stream.read_exact(&mut header).unwrap();
            assert_eq!(&header[..20], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01");
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let mut buffer = [0; 4096];
            while tls.read(&mut buffer).is_ok_and(|read| read > 0) {
                let client = u16::from_be_bytes([header[24], header[25]]);
                let content = format!("port {client}");
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len());
                tls.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    let rest = format!(
        "[upstreams.app]\nurl = \"https://127.0.0.1:{port}\"\nproxy_protocol = true\n\
         tls = {{ authorities = \"authority.pem\", name = \"example.org\" }}\n\
         [[routes]]\nhandler = \"proxy\"\nupstream = \"app\"\n"
    );
    both(|binary| {
        let server = binary.serve_config(&root, &rest);
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let own = stream.local_addr().unwrap().port();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        with(&answer, &["HTTP/1.1 200 OK\r\n", &format!("port {own}")]);
        "it knows the port".into()
    });
}

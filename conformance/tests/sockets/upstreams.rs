//! Several servers, some of them dead, slow or full, behind both binaries.

use crate::server::{Server, both, directory, free_port, with};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// A backend that does `serve` with each connection. Its port, and how many connections it had.
fn backend(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count, serve) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)), Arc::new(serve));
    let counted = Arc::clone(&count);
    spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let serve = Arc::clone(&serve);
            spawn(move || serve(stream.unwrap()));
        }
    });
    (port, count)
}

/// Reads one request with its content; `None` at the end.
fn request(stream: &mut impl Read) -> Option<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap();
    let length = text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut content = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut content).ok()?;
    Some(text + &String::from_utf8_lossy(&content))
}

fn say(stream: &mut impl Write, who: &str) {
    let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{who}", who.len()).as_bytes());
}

fn answer_all(who: &'static str) -> impl Fn(TcpStream) + Send + Sync {
    move |mut stream| while request(&mut stream).map(|_| say(&mut stream, who)).is_some() {}
}

fn config(upstream: &str, route: &str) -> String {
    format!("threads = 1\n[upstreams.app]\n{upstream}\n[[routes]]\nhandler = 'proxy'\nupstream = 'app'\n{route}\n")
}

fn statuses(server: &Server, requests: &[String]) -> String {
    requests.iter().map(|request| server.ask(request).lines().next().unwrap_or("nothing").to_owned() + "\n").collect()
}

const CLOSE: &str = "Host: a\r\nConnection: close\r\n";

#[test]
fn a_dead_server_is_nobodys_error() {
    let root = directory("upstreams");
    let (port, _) = backend(answer_all("alive"));
    let config = config(&format!("servers = ['http://127.0.0.1:{}', 'http://127.0.0.1:{port}']", free_port()), "");
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        let request = |at| match at % 2 {
            0 => format!("GET / HTTP/1.1\r\n{CLOSE}\r\n"),
            _ => format!("POST / HTTP/1.1\r\n{CLOSE}Content-Length: 2\r\n\r\nhi"),
        };
        let said = statuses(&server, &(0..20).map(request).collect::<Vec<_>>());
        assert!(said.lines().all(|line| line == "HTTP/1.1 200 OK"), "{said}");
        said
    });
}

/// Without file descriptors there is no connection to any server, and that is none of theirs' fault.
#[test]
fn who_has_no_descriptors_left_says_so_and_blames_nobody() {
    let root = directory("descriptors");
    let ports = ["alive", "other"].map(|who| backend(answer_all(who)).0);
    let servers = format!("servers = ['http://127.0.0.1:{}']\nfallbacks = ['http://127.0.0.1:{}']", ports[0], ports[1]);
    let config = config(&format!("{servers}\neject = {{ failures = 1, for = '1m' }}"), "");
    both(|binary| {
        let (port, file) = (free_port(), root.join(format!("{}.toml", binary.name)));
        std::fs::write(&file, format!("listen = ['127.0.0.1:{port}']\n{config}")).unwrap();
        let arguments = ["serve", "--config", file.to_str().unwrap()];
        let process = binary.spawn_in_shell("ulimit -n 40; exec \"$@\"", &arguments, |_| ());
        let server = binary.listening(process, port);
        let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        // Each of these needs a connection of its own; sooner or later all who are at the door have been let in.
        let ask = || {
            let (mut first, mut answer) = (&crowd[0], [0; 1000]);
            first.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
            let length = first.read(&mut answer).unwrap();
            sleep(Duration::from_millis(10));
            String::from_utf8_lossy(&answer[..length]).into_owned()
        };
        let answer = (0..1000).map(|_| ask()).find(|answer| !answer.starts_with("HTTP/1.1 200 ")).unwrap_or_default();
        with(&answer, &["HTTP/1.1 503 ", "retry-after: 1\r\n"]);
        drop(crowd);
        let served = server.get("/");
        with(&served, &["HTTP/1.1 200 ", "alive"]);
        served.lines().next().unwrap().to_owned()
    });
}

#[test]
fn a_fallback_on_a_unix_socket_is_asked_while_none_is_up() {
    let root = directory("fallback");
    let path = root.join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            spawn(move || while request(&mut stream).map(|_| say(&mut stream, "over the socket")).is_some() {});
        }
    });
    let dead = free_port();
    let upstream =
        format!("servers = ['http://127.0.0.1:{dead}']\nfallbacks = ['unix:{}']\nretries = 0", path.display());
    let config = config(&format!("{upstream}\neject = {{ failures = 2, for = '1m' }}"), "");
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        let asked: String = (0..4).map(|_| server.get("/").lines().next().unwrap().to_owned() + "\n").collect();
        assert_eq!(asked, "HTTP/1.1 502 Bad Gateway\n".repeat(2) + &"HTTP/1.1 200 OK\n".repeat(2));
        with(&server.get("/"), &["over the socket"]);
        asked
    });
}

#[test]
fn a_server_that_is_down_is_noticed_before_anybody_asks() {
    let root = directory("health");
    let (sick, _) = backend(|mut stream| {
        while let Some(text) = request(&mut stream) {
            let status = if text.starts_with("GET /up ") { "503 No" } else { "200 OK" };
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nsick").as_bytes());
        }
    });
    let (well, _) = backend(answer_all("well"));
    let servers = format!("servers = ['http://127.0.0.1:{sick}', 'http://127.0.0.1:{well}']");
    let health = "health = { path = '/up', interval = '50ms', timeout = '1s', unhealthy = 1 }";
    let config = config(&format!("{servers}\n{health}"), "");
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        sleep(Duration::from_millis(400));
        let said: Vec<_> = (0..10).map(|_| server.get("/").rsplit("\r\n").next().unwrap().to_owned()).collect();
        assert_eq!(said, ["well"; 10]);
        said.concat()
    });
}

/// Every connection is closed behind its answer, without a word (RFC 9112 §9.3.1).
#[test]
fn a_stale_connection_is_nobodys_error() {
    let root = directory("stale");
    let (port, _) = backend(|mut stream| {
        if request(&mut stream).is_some() {
            say(&mut stream, "once");
        }
    });
    let config = config(&format!("url = 'http://127.0.0.1:{port}'"), "");
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        let mut wire = server.connect();
        let mut said = String::new();
        for at in 0..60 {
            let method = ["GET", "POST", "PUT", "DELETE"][at % 4];
            wire.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"));
            said += with(&wire.until("once"), &["HTTP/1.1 200 OK\r\n"]).lines().next().unwrap();
        }
        said
    });
}

#[test]
fn requests_that_find_no_connection_wait_or_are_told_when_to_come_back() {
    let root = directory("queue");
    let (port, _) = backend(|mut stream| {
        while request(&mut stream).is_some() {
            sleep(Duration::from_millis(300));
            say(&mut stream, "done");
        }
    });
    let config = config(&format!("url = 'http://127.0.0.1:{port}'\nconnections = 1\nqueue = 1"), "");
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        let mut wires: Vec<_> = (0..3)
            .map(|_| {
                let mut wire = server.connect();
                wire.send(format!("GET / HTTP/1.1\r\n{CLOSE}\r\n"));
                sleep(Duration::from_millis(50));
                wire
            })
            .collect();
        let refused = with(&wires.remove(2).rest(), &["HTTP/1.1 503 Service Unavailable\r\n", "retry-after: 1\r\n"]);
        wires.iter_mut().fold(refused, |said, wire| said + &with(&wire.rest(), &["HTTP/1.1 200 OK\r\n", "done"]))
    });
}

#[test]
fn a_slow_client_does_not_occupy_a_backend() {
    let root = directory("buffered");
    let (port, count) = backend(answer_all("got it"));
    let config = config(&format!("url = 'http://127.0.0.1:{port}'"), "buffer_requests = true");
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        let before = count.load(Ordering::SeqCst);
        let mut wire = server.connect();
        wire.send(format!("POST / HTTP/1.1\r\n{CLOSE}Content-Length: 6\r\nExpect: 100-continue\r\n\r\n"));
        let mut said = wire.until("\r\n\r\n");
        for piece in ["sl", "ow"] {
            wire.send(piece);
            sleep(Duration::from_millis(50));
        }
        assert_eq!(count.load(Ordering::SeqCst), before, "nobody was asked yet");
        wire.send("ly");
        said += &with(&wire.rest(), &["HTTP/1.1 200 OK\r\n", "got it"]);
        assert_eq!(count.load(Ordering::SeqCst), before + 1);
        let mut wire = server.connect();
        wire.send(format!("POST / HTTP/1.1\r\n{CLOSE}Content-Length: 9999999\r\n\r\n"));
        said + &with(&wire.rest(), &["HTTP/1.1 413 "])
    });
}

/// The server has read nothing but the head when it answers, and closes: what is sent to it is answered with a reset.
#[test]
fn an_early_answer_arrives_whole() {
    let root = directory("early");
    let (port, _) = backend(|mut stream| {
        let mut head = [0; 64];
        let _ = stream.read(&mut head);
        let content = "no".repeat(5000);
        let length = content.len();
        let _ =
            stream.write_all(format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {length}\r\n\r\n{content}").as_bytes());
    });
    let config = config(&format!("url = 'http://127.0.0.1:{port}'"), "");
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        let mut wire = server.connect();
        wire.send(format!("POST / HTTP/1.1\r\n{CLOSE}Content-Length: 4000000\r\n\r\n"));
        let mut stream = wire.stream.try_clone().unwrap();
        let upload = spawn(move || {
            let sent = Mutex::new(0);
            while stream.write_all(&[b'x'; 10_000]).is_ok() && *sent.lock().unwrap() < 400 {
                *sent.lock().unwrap() += 1;
            }
        });
        let said = with(&wire.until(&"no".repeat(5000)), &["HTTP/1.1 403 Forbidden\r\n"]);
        drop(wire);
        let _ = upload.join();
        said
    });
}

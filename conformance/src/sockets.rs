//! The main job over real sockets, byte for byte: the same exchanges for every binary, with nothing but the Rust toolchain.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs all exchanges against `binary`.
///
/// # Panics
/// An answer is not what it should be.
pub fn run(binary: &str) {
    let server = Server::start(binary);
    for (name, exchange) in [
        ("files", files as fn(&Server)),
        ("refusals", refusals),
        ("proxy", proxy),
        ("topics", topics),
        ("websocket", websocket),
    ] {
        println!("{name}");
        exchange(&server);
    }
    shutdown(server);
    command_line(binary);
}

fn files(server: &Server) {
    let page = server.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(page.lines().next(), Some("HTTP/1.1 200 OK"));
    assert!(
        page.contains("content-type: text/html; charset=utf-8\r\n") && page.ends_with("\r\n\r\n<h1>hello</h1>"),
        "{page}"
    );
    let etag = page.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an entity tag").to_owned();
    let again = server.ask(&format!("GET / HTTP/1.1\r\nhost: a\r\nif-none-match: {etag}\r\n\r\n"));
    assert!(again.starts_with("HTTP/1.1 304 Not Modified\r\n") && again.ends_with("\r\n\r\n"), "{again}");
    let head = server.ask("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(head.contains("content-length: 14\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(server.ask("GET /sub?q HTTP/1.1\r\nhost: a\r\n\r\n").contains("301 Moved Permanently\r\n"));
    for path in ["/../secret", "/%2e%2e/secret", "/sub/..%2f..%2fsecret", "/sub\\..\\..\\secret", "/%00", "/link"] {
        let answer = server.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 40") && !answer.contains("not for you"), "{path}: {answer}");
    }
    // Pipelined, and the last one without keep-alive: three answers, then the end.
    let mut wire = server.connect();
    let get = "GET /sub/ HTTP/1.1\r\nhost: a\r\n\r\n";
    write!(wire, "{get}{get}GET /sub/ HTTP/1.0\r\n\r\n").unwrap();
    let mut all = String::new();
    wire.read_to_string(&mut all).unwrap();
    assert_eq!(all.matches("\r\n\r\nsub").count(), 3, "{all}");
}

fn refusals(server: &Server) {
    for (request, status) in [
        ("BLAH\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
        ("POST /-/publish/a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("POST /-/publish/a HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n", 413),
        ("POST /-/publish/ HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 400),
        ("PUT /-/publish/a HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        ("GET /-/sse HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n", 404),
        ("GET /dead/ HTTP/1.1\r\nhost: a\r\n\r\n", 502),
    ] {
        let answer = server.ask(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert_eq!(answer.matches("x-barium: ").count(), 1, "{answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(9000));
    assert!(server.ask(&long).starts_with("HTTP/1.1 414 "));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    assert!(server.ask(&large).starts_with("HTTP/1.1 431 "));
}

fn proxy(server: &Server) {
    let answer = server.ask(
        "POST /api/users?x=1 HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.2.3.4\r\nx-barium: mine\r\nconnection: x-hop\r\nx-hop: 1\r\ncontent-length: 3\r\n\r\nabc",
    );
    let (head, seen) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(seen.starts_with("POST /v2/users?x=1 HTTP/1.1\r\n") && seen.ends_with("\r\n\r\nabc"), "{seen}");
    assert!(
        seen.contains("x-forwarded-for: 127.0.0.1\r\n") && !seen.contains("1.2.3.4") && !seen.contains("x-hop"),
        "{seen}"
    );
    let id = |text: &str| text.lines().find_map(|line| line.strip_prefix("x-barium: ").map(str::to_owned));
    assert!(id(head).is_some() && id(head) == id(seen) && !seen.contains("mine"), "{answer}");
}

fn topics(server: &Server) {
    let mut stream = server.connect();
    write!(stream, "GET /-/sse?topic=t HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let head = read_until(&mut stream, "\n\nid: ");
    assert!(
        head.contains("content-type: text/event-stream\r\n") && head.contains("x-accel-buffering: no\r\n"),
        "{head}"
    );
    let receipt = server.publish("t", "{\"n\": 1}");
    assert!(
        receipt.contains("{\"topic\":\"t\",\"position\":\"") && receipt.ends_with("\"subscribers\":1}"),
        "{receipt}"
    );
    let event = read_until(&mut stream, "data: {\"n\": 1}\n\n");
    let position = event.rsplit_once("id: ").unwrap().1.lines().next().unwrap().to_owned();
    drop(stream);
    server.publish("t", "two");
    let missed = server.ask(&format!("GET /-/poll?topic=t&position={position} HTTP/1.1\r\nhost: a\r\n\r\n"));
    assert!(missed.contains("\"messages\":[{\"topic\":\"t\",\"data\":\"two\"}]"), "{missed}");
    assert!(missed.ends_with("\"recovery\":[{\"outcome\":\"resumed\",\"topic\":\"t\"}]}"), "{missed}");
    let strange = server.ask("GET /-/poll?topic=t&wait=0&position=1-1.1 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(!strange.contains("\"resumed\""), "{strange}");
    let mut resumed = server.connect();
    write!(resumed, "GET /-/sse?topic=t HTTP/1.1\r\nhost: a\r\nlast-event-id: {position}\r\n\r\n").unwrap();
    let told = read_until(&mut resumed, "data: two\n\n");
    assert!(told.contains("event: brolly.recovery\ndata: {\"outcome\":\"resumed\",\"topic\":\"t\"}\n\n"), "{told}");
    let began = Instant::now();
    let empty = server.ask("GET /-/poll?topic=quiet&wait=1 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(empty.contains("\"messages\":[]") && began.elapsed() >= Duration::from_millis(990), "{empty}");
}

fn websocket(server: &Server) {
    let mut wire = server.upgrade("/-/ws?topic=w&position=0");
    assert!(read_until(&mut wire, "\"recovery\":null}]").contains("[\"hello\",{},{\"position\":\""));
    send(&mut wire, "[\"brolly.publish\",{\"request_id\":7},[\"w\",[1]],{}]");
    let answers = read_until(&mut wire, "\"subscribers\":1}]");
    assert!(answers.contains("[\"result\",{\"request_id\":7},{\"topic\":\"w\""), "{answers}");
    assert!(answers.contains("[\"message\",{\"topic\":\"w\",") || read_until(&mut wire, "},[1]]").contains("message"));
    send(&mut wire, "[\"nonsense\",{\"request_id\":8},[],{}]");
    read_until(&mut wire, "[\"error\",{\"error_kind\":\"validation_error\",\"request_id\":8},\"invalid method\"]");
    let mut echo = server.upgrade("/-/echo");
    send(&mut echo, "☂");
    read_until(&mut echo, "\u{2602}");
}

/// TERM: sockets are closed with 1001, streams are told when to come back, the exit code is 0.
fn shutdown(server: Server) {
    let mut socket = server.upgrade("/-/ws?topic=w");
    read_until(&mut socket, "\"recovery\":null}]");
    let mut stream = server.connect();
    write!(stream, "GET /-/sse?topic=t HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    read_until(&mut stream, "\n\nid: ");
    server.signal();
    let (mut closing, mut rest) = (vec![0; 4], String::new());
    socket.read_exact(&mut closing).unwrap();
    assert!(closing[0] == 0x88 && closing[2..] == 1001_u16.to_be_bytes(), "{closing:?}");
    socket.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    assert_eq!(server.wait().code(), Some(0));
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("retry: 1000\n\n"), "{rest}");
}

fn command_line(binary: &str) {
    for (arguments, code, says) in [
        (&["frobnicate"][..], 2, "frobnicate"),
        (&["dev"], 2, "DIR"),
        (&["dev", "/no/such/directory"], 1, "/no/such/directory"),
        (&["dev", "--listen", "0.0.0.0:0", "."], 2, "--allow-remote"),
        (&["publish", "http://127.0.0.1:9", "t", "x"], 1, "127.0.0.1:9"),
        (&["serve", "--config", "/no/such/file"], 1, "/no/such/file"),
    ] {
        let output = Command::new(binary).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(says) && !text.contains("panicked"), "{arguments:?}: {text}");
    }
    for arguments in [&["--help"][..], &["--version"], &["dev", "--help"], &["check", "--defaults"]] {
        assert!(
            Command::new(binary).args(arguments).stdout(Stdio::null()).status().unwrap().success(),
            "{arguments:?}"
        );
    }
}

/// `dev` with a directory of its own and a backend that answers with what it was asked.
struct Server {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Server {
    fn start(binary: &str) -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("/api/=http://{}/v2/", backend.local_addr().unwrap());
        thread::spawn(move || backend.incoming().for_each(|stream| mirror(stream.unwrap())));
        let name = PathBuf::from(binary).file_name().unwrap().to_string_lossy().into_owned();
        let directory = std::env::temp_dir().join(format!("{name}-sockets-{}", std::process::id()));
        fs::create_dir_all(directory.join("public/sub")).unwrap();
        fs::write(directory.join("secret"), "not for you").unwrap();
        fs::write(directory.join("public/index.html"), "<h1>hello</h1>").unwrap();
        fs::write(directory.join("public/sub/index.html"), "sub").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(directory.join("secret"), directory.join("public/link")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(binary)
            .args(["dev", "--threads", "2", "--listen", &address.to_string()])
            .arg(directory.join("public"))
            .args([&api, "/dead/=http://127.0.0.1:9"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < PATIENCE, "the server does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, address, directory }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends one request, the last of its connection, and reads to the end.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        let request = request.replacen("host: a\r\n", "host: a\r\nconnection: close\r\n", 1);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{request}: {error}"),
            Ok(_) | Err(_) => String::from_utf8(answer).unwrap(),
        }
    }

    fn publish(&self, topic: &str, data: &str) -> String {
        let length = data.len();
        self.ask(&format!("POST /-/publish/{topic} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{data}"))
    }

    fn upgrade(&self, path: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        let head = read_until(&mut stream, "\r\n\r\n");
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        stream
    }

    fn signal(&self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
    }

    fn wait(mut self) -> ExitStatus {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not end")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A backend: answers each request with its own bytes.
fn mirror(mut stream: TcpStream) {
    let mut request = read_until(&mut stream, "\r\n\r\n");
    let length = request.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while request.split_once("\r\n\r\n").is_some_and(|(_, content)| content.len() < length) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0].into());
    }
    let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len());
}

/// Reads byte by byte until the text ends with `end`.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(end.as_bytes()) {
        let read = stream.read(&mut byte).unwrap_or_else(|error| panic!("{error} in {}", bytes.escape_ascii()));
        assert!(read == 1, "the end, after {}", bytes.escape_ascii());
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A masked text frame; the key is zero, so that the text stays readable.
fn send(stream: &mut TcpStream, text: &str) {
    assert!(text.len() < 126);
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    stream.write_all(&frame).unwrap();
}

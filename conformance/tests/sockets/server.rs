//! The binaries under test: built, started, talked to, compared.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// More than any answer takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Binary {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
}

/// Both binaries, built with the profile of the tests.
pub(crate) fn binaries() -> &'static [Binary; 2] {
    static BINARIES: OnceLock<[Binary; 2]> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let output = brolly_conformance::cargo()
            .args(["build", "--profile", "test", "-p", "brolly-tokio", "-p", "brolly-smol"])
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the binaries do not build");
        let messages = String::from_utf8(output.stdout).unwrap();
        let executables: Vec<PathBuf> = messages
            .lines()
            .filter_map(|line| {
                serde_json::from_str::<serde_json::Value>(line).ok()?["executable"].as_str().map(Into::into)
            })
            .collect();
        ["brolly", "brolly-smol"].map(|name| {
            let path = executables.iter().find(|path| path.file_name().is_some_and(|file| file == name));
            Binary { name, path: path.unwrap_or_else(|| panic!("cargo built no {name}")).clone() }
        })
    })
}

/// Holds a conversation with each binary, and compares what it returns.
pub(crate) fn both(conversation: impl Fn(&Binary) -> String) {
    let [tokio, smol] = binaries().each_ref().map(&conversation);
    assert!(!tokio.is_empty(), "nothing was said");
    let differ = tokio.lines().zip(smol.lines()).find(|(tokio, smol)| tokio != smol);
    assert!(tokio == smol, "the binaries differ, first in {differ:?}:\n{tokio}\n----\n{smol}");
}

/// A directory of its own for a test, empty.
pub(crate) fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sockets").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// A loopback port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Binary {
    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.path).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Starts a process whose output is read.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(&self.path);
        Process(
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap(),
        )
    }

    /// Starts a process by way of `sh -c SCRIPT`, which has to `exec "$@"`.
    pub(crate) fn spawn_in_shell(&self, script: &str, arguments: &[&str], more: impl FnOnce(&mut Command)) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&self.path).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        more(&mut command);
        Process(command.spawn().unwrap())
    }

    /// Starts a server with these arguments, on a free port.
    pub(crate) fn serve(&self, command: &str, arguments: &[&str]) -> Server {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        self.server(port, &[&[command, "--listen", &listen], arguments].concat())
    }

    /// Starts `serve` with a file whose `listen` is filled in.
    pub(crate) fn serve_config(&self, directory: &Path, config: &str) -> Server {
        let port = free_port();
        let file = directory.join(format!("{}.toml", self.name));
        fs::write(&file, format!("listen = [\"127.0.0.1:{port}\"]\n{config}")).unwrap();
        self.serve_file(port, &file)
    }

    /// Starts `serve` with a file that has a listener on `port`.
    pub(crate) fn serve_file(&self, port: u16, file: &Path) -> Server {
        self.server(port, &["serve", "--config", file.to_str().unwrap()])
    }

    fn server(&self, port: u16, arguments: &[&str]) -> Server {
        let mut command = Command::new(&self.path);
        let child = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.listening(Process(child.unwrap()), port)
    }

    /// Waits until a process serves `port`, and with it all else that it listens on.
    pub(crate) fn listening(&self, process: Process, port: u16) -> Server {
        let mut server = Server { process, port };
        let deadline = Instant::now() + PATIENCE;
        while hang_up(port).is_err() {
            assert_eq!(server.process.0.try_wait().unwrap(), None, "{} ended at once", self.name);
            assert!(Instant::now() < deadline, "{} does not listen", self.name);
            sleep(Duration::from_millis(10));
        }
        server
    }
}

/// Ended when it is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, name, &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// The exit code, once it has ended by itself.
    pub(crate) fn exit(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it still runs");
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.port)
    }

    /// Sends bytes over a connection of their own, and returns everything up to its end.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut wire = self.connect();
        wire.send(request);
        wire.rest()
    }

    /// As [`ask`](Self::ask), for what is not text.
    pub(crate) fn ask_for_bytes(&self, request: impl AsRef<[u8]>) -> Vec<u8> {
        let mut wire = self.connect();
        wire.send(request);
        while wire.more() {}
        wire.pending
    }

    /// A GET with `Connection: close`.
    pub(crate) fn get(&self, target: &str) -> String {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    }

    /// Publishes JSON; the position in the receipt.
    pub(crate) fn publish(&self, topic: &str, json: &str) -> String {
        let receipt = self.ask(post(&format!("/-/publish/{topic}"), "application/json", json));
        assert!(receipt.starts_with("HTTP/1.1 200 "), "{receipt}");
        receipt.split_once(r#""position":""#).unwrap().1.split_once('"').unwrap().0.to_owned()
    }
}

/// A POST with `Connection: close`.
pub(crate) fn post(target: &str, kind: &str, content: &str) -> String {
    let length = content.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{content}"
    )
}

/// Connects, says nothing, and waits until that is noticed. A socket takes connections before the process has opened the next one.
fn hang_up(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

/// A connection. Whatever is expected from it must come soon.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pending: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, pending: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Everything up to and with `mark`.
    pub(crate) fn until(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = self.pending.windows(mark.len()).position(|window| window == mark.as_bytes()) {
                return self.take(at + mark.len());
            }
            assert!(self.more(), "the connection ended before {mark:?}: {:?}", String::from_utf8_lossy(&self.pending));
        }
    }

    pub(crate) fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.pending.len() < length {
            assert!(self.more(), "the connection ended early");
        }
        self.pending.drain(..length).collect()
    }

    /// A response with `Content-Length`.
    pub(crate) fn response(&mut self) -> String {
        let mut response = self.until("\r\n\r\n");
        let length =
            response.split_once("\r\ncontent-length: ").map(|(_, rest)| rest.lines().next().unwrap().parse().unwrap());
        response.push_str(&String::from_utf8(self.exactly(length.unwrap_or(0))).unwrap());
        response
    }

    /// Everything up to the end; a reset counts as one.
    pub(crate) fn rest(&mut self) -> String {
        while self.more() {}
        self.take(self.pending.len())
    }

    fn take(&mut self, length: usize) -> String {
        String::from_utf8_lossy(&self.pending.drain(..length).collect::<Vec<_>>()).into_owned()
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(bytes) => {
                self.pending.extend(&buffer[..bytes]);
                bytes > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // A read with a deadline ends so when the machine was stopped for a moment.
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&self.pending)),
        }
    }
}

/// Replaces what must differ between two runs: dates, ids, epochs, and the length of content with an epoch in it.
pub(crate) fn neutral(text: &str) -> String {
    let text = epochs(&ids(text));
    let with_epoch = text.contains("EPOCH");
    let line = |line: &str| match line.split_once(": ") {
        Some(("date", _)) => "date: DATE\r".to_owned(),
        Some(("content-length", _)) if with_epoch => "content-length: LENGTH\r".to_owned(),
        Some(_) | None => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// UUIDs, which must be of version 4, become `ID`.
fn ids(text: &str) -> String {
    let is_id = |bytes: &[u8]| {
        bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == b'4',
            19 => b"89ab".contains(byte),
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while let Some(id) = bytes.get(at..at + 36) {
        if is_id(id) {
            bytes.splice(at..at + 36, *b"ID");
        }
        at += 1;
    }
    String::from_utf8(bytes).unwrap()
}

/// The hexadecimal epoch that a position begins with becomes `EPOCH`.
fn epochs(text: &str) -> String {
    let mut pieces = text.split('-');
    let mut neutral = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let digits = neutral.bytes().rev().take_while(u8::is_ascii_hexdigit).count();
        let hash = piece.bytes().take_while(u8::is_ascii_hexdigit).count();
        if (8..=16).contains(&digits) && piece[hash..].starts_with('.') {
            neutral.truncate(neutral.len() - digits);
            neutral.push_str("EPOCH");
        }
        neutral.push('-');
        neutral.push_str(piece);
    }
    neutral
}

/// Asserts that `text` contains all `parts`, and returns it without what must differ.
#[track_caller]
pub(crate) fn with(text: &str, parts: &[&str]) -> String {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    neutral(text) + "\n"
}

//! A running binary.

use super::row::Row;
use super::world::{Door, End, Route, World};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// More than anything takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(1);

/// A process of its own, and the other ends of its connections.
#[derive(Debug)]
pub struct Sockets {
    process: Child,
    /// Of the listeners for clients and for backends.
    ports: Vec<u16>,
    /// By upstream; nobody accepts at the last.
    backends: Vec<Option<TcpListener>>,
    streams: Vec<Option<TcpStream>>,
    /// Since anything was read.
    idle_since: Instant,
    /// Keeps the port of the dead upstream taken.
    _dead: std::os::fd::OwnedFd,
}

impl Sockets {
    /// Starts a binary with the configuration of a row, which is written to `directory`.
    ///
    /// # Errors
    /// It does not start.
    ///
    /// # Panics
    /// There are no free ports.
    pub fn new(row: &Row, threads: u16, binary: &Path, directory: &Path) -> Result<Self, String> {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let (backends, dead) = ([bind(), bind()], crate::gateway::nobody());
        let addresses = [0, 0, port(&backends[0]), port(&backends[1]), dead.0];
        let text = row.config(threads, &addresses.map(|port| format!("127.0.0.1:{port}")));
        std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        let file = directory.join("brolly.toml");
        std::fs::write(&file, text).map_err(|error| error.to_string())?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = command.stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let mut said = BufReader::new(process.stderr.take().ok_or("no standard error")?);
        let (mut all, mut ports) = (String::new(), Vec::new());
        while ports.len() < 2 && said.read_line(&mut all).is_ok_and(|length| length > 0) {
            let number =
                |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
            ports = all.split("127.0.0.1:").skip(1).filter_map(number).collect();
        }
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        for backend in &backends {
            backend.set_nonblocking(true).map_err(|error| error.to_string())?;
        }
        let backends = backends.into_iter().map(Some).chain([None]).collect();
        let (streams, idle_since) = (Vec::new(), Instant::now());
        let world = Self { process, ports, backends, streams, idle_since, _dead: dead.1 };
        if world.ports.len() == 2 { Ok(world) } else { Err(format!("the binary does not start: {all}")) }
    }

    fn add(&mut self, stream: TcpStream) -> std::io::Result<End> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        self.streams.push(Some(stream));
        self.idle_since = Instant::now();
        Ok(End(self.streams.len() - 1))
    }
}

impl World for Sockets {
    fn open(&mut self, door: Door) -> Result<End, String> {
        let stream = TcpStream::connect(("127.0.0.1", self.ports[usize::from(door == Door::Api)]));
        stream.and_then(|stream| self.add(stream)).map_err(|error| error.to_string())
    }

    fn accept(&mut self, upstream: &str) -> Option<End> {
        let at = super::row::UPSTREAMS.iter().position(|name| *name == upstream)?;
        let (stream, _) = self.backends.get(at)?.as_ref()?.accept().ok()?;
        self.add(stream).ok()
    }

    fn write(&mut self, end: End, mut bytes: &[u8]) {
        let began = Instant::now();
        while let Some(stream) = &mut self.streams[end.0]
            && !bytes.is_empty()
            && began.elapsed() < PATIENCE
        {
            match stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(MOMENT),
                // What it says is what counts.
                Err(_) => return,
            }
        }
    }

    fn read(&mut self, end: End, into: &mut Vec<u8>) -> bool {
        let Some(stream) = &mut self.streams[end.0] else { return false };
        let mut buffer = [0; 16 * 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(read) => into.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
            self.idle_since = Instant::now();
        }
    }

    fn close(&mut self, end: End) {
        self.streams[end.0] = None;
    }

    fn rest(&mut self) -> bool {
        sleep(MOMENT);
        self.idle_since.elapsed() < PATIENCE
    }

    fn wait(&mut self, time: Duration) {
        sleep(time);
        self.idle_since = Instant::now();
    }

    fn shut_down(&mut self) {
        let id = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        // The order takes its way.
        self.wait(Duration::from_millis(100));
    }

    fn hold(&mut self, _: Option<Route>) -> bool {
        false
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

//! Backends: each connection plays its steps, and is an ordinary server afterwards.

use super::actor::{Actor, Side};
use super::message::Fault;
use super::scenario::{Backend, Kind, Step};
use super::stage::Stage;
use super::transport::Transport;
use rustix::net::{AddressFamily, SocketType};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::spawn;
use std::time::Duration;

/// Longer than any scenario.
const IDLE: Duration = Duration::from_secs(60);

/// Where a backend is reached.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
    /// A port that nobody listens at, nor will: it is taken.
    Nobody {
        port: u16,
        _held: OwnedFd,
    },
}

impl Listener {
    /// On a free port, or on a socket in `directory`.
    pub(crate) fn bind(backend: &Backend, directory: &Path) -> Self {
        match backend.kind {
            Kind::Unix => {}
            Kind::Refuses => {
                let (port, _held) = nobody();
                return Self::Nobody { port, _held };
            }
            Kind::Listens | Kind::Overflows | Kind::Tls | Kind::Untouched => {
                return Self::Tcp(TcpListener::bind("127.0.0.1:0").unwrap());
            }
        }
        let path = directory.join(&backend.name);
        let _ = std::fs::remove_file(&path);
        Self::Unix(UnixListener::bind(&path).unwrap(), path)
    }

    /// The port, or the path.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().unwrap().port().to_string(),
            Self::Unix(_, path) => path.display().to_string(),
            Self::Nobody { port, .. } => port.to_string(),
        }
    }

    fn accept(&self, kind: Kind) -> Option<Transport> {
        Some(match self {
            Self::Nobody { .. } => return None,
            Self::Tcp(listener) => {
                let stream = listener.accept().unwrap().0;
                stream.set_nodelay(true).unwrap();
                if kind == Kind::Tls { Transport::tls_server(stream) } else { Transport::Tcp(stream) }
            }
            Self::Unix(listener, _) => Transport::Unix(listener.accept().unwrap().0),
        })
    }
}

/// A port that nobody listens at as long as the socket is held.
pub(crate) fn nobody() -> (u16, OwnedFd) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    (address.port(), socket)
}

#[derive(Debug)]
pub(crate) struct Running {
    address: String,
    kind: Kind,
    accepted: Arc<AtomicUsize>,
    /// Keeps the queue of a listener full.
    _filler: Option<TcpStream>,
    _kept: Option<Listener>,
}

impl Running {
    /// Lets the backend serve at `listener`; `connections` are its steps, with everything filled in.
    pub(crate) fn start(
        listener: Listener,
        backend: &Backend,
        connections: Vec<Vec<Step>>,
        stage: &Arc<Stage>,
    ) -> Self {
        let (name, kind) = (backend.name.clone(), backend.kind);
        let address = listener.address();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (mut filler, mut kept) = (None, None);
        match (kind, listener) {
            (Kind::Refuses, listener) => kept = Some(listener),
            (Kind::Overflows, Listener::Tcp(listener)) => {
                rustix::net::listen(&listener, 0).unwrap();
                filler = Some(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
                kept = Some(Listener::Tcp(listener));
            }
            (_, listener) => {
                let (stage, accepted) = (Arc::clone(stage), Arc::clone(&accepted));
                spawn(move || {
                    let mut scripts = connections.into_iter();
                    while let Some(stream) = listener.accept(kind) {
                        if stage.is_over() {
                            break;
                        }
                        accepted.fetch_add(1, Ordering::Relaxed);
                        let (script, stage, name) = (scripts.next(), Arc::clone(&stage), name.clone());
                        spawn(move || serve(stream, &name, script.as_deref(), &stage));
                    }
                });
            }
        }
        Self { address, kind, accepted, _filler: filler, _kept: kept }
    }

    pub(crate) fn check(&self) -> Result<(), Fault> {
        match (self.kind, self.accepted.load(Ordering::Relaxed)) {
            (Kind::Untouched, 1..) => Err("the backend was asked".into()),
            _ => Ok(()),
        }
    }

    /// Lets the listening thread see that all is over.
    pub(crate) fn wake(&self) {
        match self.kind {
            Kind::Refuses | Kind::Overflows => {}
            Kind::Unix => drop(UnixStream::connect(&self.address)),
            Kind::Listens | Kind::Tls | Kind::Untouched => {
                drop(TcpStream::connect(format!("127.0.0.1:{}", self.address)));
            }
        }
    }
}

fn serve(stream: Transport, name: &str, script: Option<&[Step]>, stage: &Stage) {
    let mut actor = Actor::new(stream, Side::Backend, stage);
    if let Some(steps) = script {
        let result = actor.play(steps);
        let is_good = result.is_ok();
        if let Err(fault) = result {
            stage.fault(fault);
        }
        stage.played();
        if !is_good || actor.last.as_ref().is_some_and(|last| last.get("upgrade").is_some()) {
            return;
        }
    }
    while actor.is_open() && !stage.is_over() {
        if let Err(fault) = answer(&mut actor, name) {
            return stage.fault(format!("after its steps the backend got: {fault}"));
        }
    }
}

/// Answers one request with its method and target, and says who it is.
fn answer(actor: &mut Actor<'_>, name: &str) -> Result<(), Fault> {
    // Idle connections may wait for long, and end in any way.
    if actor.pending.is_empty() && !actor.fill(IDLE).unwrap_or(false) {
        return Ok(());
    }
    actor.read_message()?;
    let request = actor.last.as_ref().map(|last| last.start.clone()).unwrap_or_default();
    let request = request.trim_end_matches(" HTTP/1.1");
    let content = if request.starts_with("HEAD ") { "" } else { request };
    let head = format!("HTTP/1.1 200 OK\r\nX-Backend: {name}\r\nContent-Length: {}\r\n\r\n", request.len());
    actor.send([head.as_bytes(), content.as_bytes()].concat().as_slice())
}

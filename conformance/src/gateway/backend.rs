//! Backends: each connection plays its steps, and is an ordinary server afterwards.

use super::actor::{Actor, Side};
use super::message::Fault;
use super::scenario::{Backend, Kind, Step};
use super::stage::Stage;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::spawn;
use std::time::Duration;

/// Longer than any scenario.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) port: u16,
    kind: Kind,
    accepted: Arc<AtomicUsize>,
    /// Keep the queue of a listener full.
    _fillers: Vec<TcpStream>,
    _listener: Option<TcpListener>,
}

impl Running {
    /// Lets the backend serve at `listener`; `connections` are its steps, with everything filled in.
    pub(crate) fn start(
        listener: TcpListener,
        backend: &Backend,
        connections: Vec<Vec<Step>>,
        stage: &Arc<Stage>,
    ) -> Self {
        let (name, kind) = (backend.name.clone(), backend.kind);
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (mut fillers, mut kept) = (Vec::new(), None);
        match kind {
            Kind::Refuses => drop(listener),
            Kind::Overflows => {
                rustix::net::listen(&listener, 0).unwrap();
                fillers.push(TcpStream::connect(("127.0.0.1", port)).unwrap());
                kept = Some(listener);
            }
            Kind::Listens | Kind::Untouched => {
                let (stage, accepted) = (Arc::clone(stage), Arc::clone(&accepted));
                spawn(move || {
                    let mut scripts = connections.into_iter();
                    for stream in listener.incoming() {
                        if stage.is_over() {
                            break;
                        }
                        accepted.fetch_add(1, Ordering::Relaxed);
                        let (script, stage, name) = (scripts.next(), Arc::clone(&stage), name.clone());
                        spawn(move || serve(stream.unwrap(), &name, script.as_deref(), &stage));
                    }
                });
            }
        }
        Self { port, kind, accepted, _fillers: fillers, _listener: kept }
    }

    pub(crate) fn check(&self) -> Result<(), Fault> {
        match (self.kind, self.accepted.load(Ordering::Relaxed)) {
            (Kind::Untouched, 1..) => Err("the backend was asked".into()),
            _ => Ok(()),
        }
    }

    /// Lets the listening thread see that all is over.
    pub(crate) fn wake(&self) {
        if matches!(self.kind, Kind::Listens | Kind::Untouched) {
            let _ = TcpStream::connect(("127.0.0.1", self.port));
        }
    }
}

fn serve(stream: TcpStream, name: &str, script: Option<&[Step]>, stage: &Stage) {
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

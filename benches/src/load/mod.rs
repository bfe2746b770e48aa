//! The other end: clients that keep a server busy, from one thread with one epoll, and ask the system what it cost.
//!
//! Everything is a closed loop: a client asks again when it has the answer. So the rate is what the server makes of it, and
//! what is compared is CPU time per operation.

mod clients;
mod echo;
mod fan_out;
mod http;
mod open_close;

use crate::process::cpu_time;
use clients::Clients;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Stands once in every published message and nowhere else: whoever counts it counts messages, on any wire.
pub const MARK: u8 = b'#';

/// Longer without any answer is an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// Operations before the measurement begins.
const WARM_UP: u64 = 2_000;

/// What the clients do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Work {
    /// One GET after the other on each of so many connections.
    Get {
        /// The path.
        path: String,
        /// How many connections.
        connections: usize,
    },
    /// WebSockets that send messages and wait for their echoes. An operation is a message.
    Echo {
        /// The path.
        path: String,
        /// How many connections.
        connections: usize,
        /// How long a message is.
        bytes: usize,
        /// How many messages are sent at a time.
        in_flight: usize,
    },
    /// Subscribers, and a publisher that waits until all have its messages. An operation is a delivery.
    FanOut {
        /// Where to subscribe.
        subscribe: String,
        /// How.
        transport: Transport,
        /// Where to publish, by POST.
        publish: String,
        /// How many subscribers.
        subscribers: usize,
        /// How many messages are published at a time.
        burst: usize,
    },
    /// Opens a WebSocket and closes it, on so many connections at a time.
    OpenClose {
        /// The path.
        path: String,
        /// How many at a time.
        connections: usize,
    },
}

/// How a message reaches a subscriber.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// RFC 6455.
    WebSocket,
    /// Server-Sent Events.
    EventStream,
}

/// When to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Until {
    /// After about so much time.
    Time(Duration),
    /// After so many operations, or a few more. Nothing is done to warm up.
    Operations(u64),
}

/// What was done, and what it cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Operations.
    pub operations: u64,
    /// User and system time of the server.
    pub cpu: Duration,
    /// Time that passed.
    pub took: Duration,
}

impl Outcome {
    /// CPU time of the server per operation, in microseconds.
    pub fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }
}

/// Does `work` with the server at `address`, whose process is `pid`.
///
/// # Errors
/// The server does not do what it should, or takes longer than ten seconds for one operation.
pub fn run(address: SocketAddr, pid: u32, work: &Work, until: Until) -> io::Result<Outcome> {
    let mut load: Box<dyn Load> = match work {
        Work::Get { path, connections } => Box::new(http::Get::start(address, path, *connections)?),
        Work::Echo { path, connections, bytes, in_flight } => {
            Box::new(echo::Echo::start(address, path, *connections, *bytes, *in_flight)?)
        }
        Work::FanOut { subscribe, transport, publish, subscribers, burst } => {
            let subscribers = open(address, subscribe, *transport, *subscribers)?;
            Box::new(fan_out::FanOut::start(address, subscribers, publish, *burst)?)
        }
        Work::OpenClose { path, connections } => Box::new(open_close::OpenClose::start(address, path, *connections)?),
    };
    if matches!(until, Until::Time(_)) {
        let mut operations = 0;
        while operations < WARM_UP {
            operations += load.step()?;
        }
    }
    let (began, cpu) = (Instant::now(), cpu_time(pid)?);
    let mut operations = 0;
    loop {
        operations += load.step()?;
        let is_done = match until {
            Until::Time(time) => began.elapsed() >= time,
            Until::Operations(wanted) => operations >= wanted,
        };
        if is_done {
            break;
        }
    }
    Ok(Outcome { operations, cpu: cpu_time(pid)? - cpu, took: began.elapsed() })
}

/// Opens so many subscribers (or, without a query, plain WebSockets), and keeps them while the answer lives.
///
/// # Errors
/// The server does not let them in.
pub fn open(address: SocketAddr, path: &str, transport: Transport, count: usize) -> io::Result<Idle> {
    let request = match transport {
        Transport::WebSocket => http::upgrade(path),
        Transport::EventStream => http::get(path, "text/event-stream"),
    };
    let clients = Clients::open(address, count, &request)?;
    Ok(Idle(clients))
}

/// Opens so many connections, asks for `path` once on each, and keeps them while the answer lives.
///
/// # Errors
/// The server does not answer.
pub fn open_kept_alive(address: SocketAddr, path: &str, count: usize) -> io::Result<Idle> {
    Ok(Idle(Clients::open(address, count, &http::get(path, "*/*"))?))
}

/// Connections that have nothing to do.
#[derive(Debug)]
pub struct Idle(Clients);

/// Something that can be done again and again.
trait Load {
    /// Waits for answers, and asks again; how many operations were completed. At least one.
    fn step(&mut self) -> io::Result<u64>;
}

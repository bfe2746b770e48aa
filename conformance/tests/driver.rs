//! The event loop on a runtime that is nothing but two kinds of streams: what it must do however busy or stuck they are.
#![cfg(not(loom))]

use brolly_core::config::{Config, Handler, Limits, Proxy, Server, Upstream};
use brolly_core::driver::{Done, Driver, Runtime, Stream, Task, Timing, Work, fleet};
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{Accepted, Access, FileId, IoError};
use brolly_core::time::{Instant, Now};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
/// Nobody reads so often in one poll whose loops are bounded.
const TOO_OFTEN: usize = 1_000_000;

/// What the test and the streams share.
#[derive(Debug, Default)]
struct World {
    seconds: Cell<u64>,
    /// Clients at the door.
    door: RefCell<VecDeque<Client>>,
    /// Who wants to know when somebody knocks.
    doorman: RefCell<Option<Waker>>,
    /// Whether backends never accept.
    is_stuck: Cell<bool>,
    reads: Cell<usize>,
    /// Connections that are being opened.
    opening: Cell<usize>,
}

/// Says one request, and takes whatever comes.
#[derive(Clone, Debug, Default)]
struct Client {
    has_asked: bool,
    heard: Rc<RefCell<Vec<u8>>>,
}

enum Peer {
    Client(Client),
    /// Its answer never ends, and there is always more of it.
    Backend {
        world: Rc<World>,
        has_begun: bool,
    },
}

impl Stream for Peer {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let bytes = match self {
            Self::Client(Client { has_asked: true, .. }) => return Poll::Pending,
            Self::Client(client) => {
                client.has_asked = true;
                GET
            }
            Self::Backend { world, has_begun } => {
                world.reads.set(world.reads.get() + 1);
                assert!(world.reads.get() < TOO_OFTEN, "the driver never comes back");
                if std::mem::replace(has_begun, true) { b"x" } else { &b"HTTP/1.1 200 OK\r\n\r\n"[..] }
            }
        };
        buffer[..bytes.len()].copy_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        if let Self::Client(client) = self {
            let mut heard = client.heard.borrow_mut();
            if heard.len() < 1000 {
                slices.iter().for_each(|slice| heard.extend_from_slice(slice));
            }
        }
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Ok(()))
    }
}

struct Loopback(Rc<World>);

impl Timing for Loopback {
    fn now(&self) -> Now {
        Now { instant: Instant::from_nanos((1 + self.0.seconds.get()) * 1_000_000_000), ..Now::default() }
    }

    fn poll_timer(&mut self, _: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        if at.is_some_and(|at| at <= self.now().instant) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Runtime for Loopback {
    type Stream = Peer;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Accepted, Peer)> {
        self.0.doorman.replace(Some(cx.waker().clone()));
        let client = self.0.door.borrow_mut().pop_front();
        let address = SocketAddr::from(([192, 0, 2, 1], 99));
        client.map_or(Poll::Pending, |client| Poll::Ready((address.into(), Peer::Client(client))))
    }

    fn stop_accepting(&mut self) {}

    fn perform(&mut self, work: Work) -> Task<Peer> {
        let Work::Connect { conn, .. } = work else { panic!("{work:?}") };
        let world = Rc::clone(&self.0);
        if world.is_stuck.get() {
            return Box::pin(Stuck::new(world));
        }
        let backend = Peer::Backend { world, has_begun: false };
        Box::pin(std::future::ready(Done::Connected(conn, Ok(backend))))
    }

    fn close_file(&mut self, _: FileId) {}

    fn log(&mut self, _: &Access) {}
}

/// A connection that never comes about. Its socket lasts as long as it.
struct Stuck(Rc<World>);

impl Stuck {
    fn new(world: Rc<World>) -> Self {
        world.opening.set(world.opening.get() + 1);
        Self(world)
    }
}

impl Future for Stuck {
    type Output = Done<Peer>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.opening.set(self.0.opening.get() - 1);
    }
}

/// One shard in front of one server.
struct Edge {
    world: Rc<World>,
    driver: Driver<Loopback>,
}

impl Edge {
    fn new(change: impl FnOnce(&mut Upstream)) -> Self {
        let mut upstream = Upstream::new(&Limits::default(), vec![Server::tcp("10.0.0.1", 80)]);
        change(&mut upstream);
        let mut routes = Routes::default();
        routes.add(Route { host: HostPattern::Any, prefix: "/".into(), to: 0.into() }).unwrap();
        let (handlers, upstreams) = (vec![Handler::Proxy(Proxy::default())], vec![upstream]);
        let config = Arc::new(Config { routes, handlers, upstreams, ..Config::default() });
        let (mut parts, _) = fleet(&config, Seed([7; 32]), 1);
        let world = Rc::new(World::default());
        Self { driver: Driver::new(parts.remove(0), Loopback(Rc::clone(&world))), world }
    }

    fn ask(&self) -> Client {
        let client = Client::default();
        self.world.door.borrow_mut().push_back(client.clone());
        self.world.doorman.take().into_iter().for_each(Waker::wake);
        client
    }

    fn poll(&mut self) {
        assert!(Pin::new(&mut self.driver).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}

/// A client that takes everything at once and a backend that always has more change each other for ever: other futures
/// of the thread, and other connections, get their turn all the same.
#[test]
fn two_busy_ends_leave_time_for_others() {
    let mut edge = Edge::new(|_| ());
    let busy = edge.ask();
    edge.poll();
    assert!(busy.heard.borrow().starts_with(b"HTTP/1.1 200 OK\r\n"));
    let reads = edge.world.reads.get();
    let other = edge.ask();
    edge.poll();
    assert!(edge.world.reads.get() > reads, "the first goes on");
    assert!(other.heard.borrow().starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// The socket of a connection that nobody waits for any more goes at once, not when the system gives it up.
#[test]
fn a_connection_that_comes_too_late_is_given_up() {
    let mut edge = Edge::new(|upstream| upstream.total_timeout = Some(Duration::from_secs(2)));
    edge.world.is_stuck.set(true);
    for round in 0..3 {
        let client = edge.ask();
        edge.poll();
        assert_eq!((edge.world.opening.get(), client.heard.borrow().len()), (1, 0), "round {round}");
        edge.world.seconds.set(edge.world.seconds.get() + 3);
        edge.poll();
        assert!(client.heard.borrow().starts_with(b"HTTP/1.1 504 "), "{:?}", client.heard.borrow());
        assert_eq!(edge.world.opening.get(), 0, "round {round}");
        assert_eq!(edge.driver.shard().usage().connections, 1 + round, "clients alone");
    }
}

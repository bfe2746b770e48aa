//! A shard that does not take its mail: what others have for it is bounded, and whoever asks for more is told so.
#![cfg(not(loom))]

use brolly_core::config::{Config, Handler, Limits};
use brolly_core::driver::{Driver, Runtime, Stream, Task, Timing, Work, fleet};
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{Accepted, Access, FileId, IoError};
use brolly_core::time::{Instant, Now};
use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

const CLIENTS: usize = 100;
const LIMIT: usize = 4;

/// Clients that publish once each, and what they are answered.
struct Clients {
    /// Who comes next: one in each turn.
    is_expected: bool,
    heard: Rc<RefCell<String>>,
}

struct Client {
    request: Option<&'static [u8]>,
    heard: Rc<RefCell<String>>,
}

impl Timing for Clients {
    fn now(&self) -> Now {
        Now::default()
    }

    fn poll_timer(&mut self, _: &mut Context<'_>, _: Option<Instant>) -> Poll<()> {
        Poll::Pending
    }
}

impl Runtime for Clients {
    type Stream = Client;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Accepted, Client)> {
        self.is_expected = !self.is_expected;
        if !self.is_expected {
            // Ask again the next time.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Its home is the second of two shards.
        let request = Some(&b"POST /publish/b HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"[..]);
        Poll::Ready((SocketAddr::from(([10, 0, 0, 1], 1)).into(), Client { request, heard: Rc::clone(&self.heard) }))
    }

    fn stop_accepting(&mut self) {}

    fn perform(&mut self, work: Work) -> Task<Client> {
        panic!("nobody wants {work:?}")
    }

    fn close_file(&mut self, _: FileId) {}

    fn log(&mut self, _: &Access) {}
}

impl Stream for Client {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let Some(request) = self.request.take() else { return Poll::Pending };
        buffer[..request.len()].copy_from_slice(request);
        Poll::Ready(Ok(request.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        let bytes = slices.concat();
        self.heard.borrow_mut().push_str(&String::from_utf8_lossy(&bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Ok(()))
    }
}

/// Whether there is too much was only asked when mail found no room in the mailbox for the first time.
#[test]
fn publishes_are_refused_while_a_shard_takes_no_mail() {
    let mut routes = Routes::default();
    routes.add(Route { host: HostPattern::Any, prefix: "/publish".into(), to: 0.into() }).unwrap();
    let limits = Limits { mailbox_messages: LIMIT, ..Limits::default() };
    let config = Arc::new(Config { limits, routes, handlers: vec![Handler::Publish], ..Config::default() });
    let (mut parts, _control) = fleet(&config, Seed([1; 32]), 2);
    // The second is never run.
    let _idle = parts.pop();
    let heard = Rc::new(RefCell::new(String::new()));
    let clients = Clients { is_expected: false, heard: Rc::clone(&heard) };
    let mut driver = Driver::new(parts.remove(0), clients);
    for _ in 0..CLIENTS {
        let _ = Pin::new(&mut driver).poll(&mut Context::from_waker(Waker::noop()));
    }
    let refused = heard.borrow().matches("HTTP/1.1 503 ").count();
    let waiting = driver.waiting_mail();
    assert!(waiting <= LIMIT + 1, "{waiting} messages wait");
    // A mailbox has room for as many as its limit, rounded up.
    assert!((CLIENTS - 4 * LIMIT..CLIENTS).contains(&refused), "{refused} were refused");
}

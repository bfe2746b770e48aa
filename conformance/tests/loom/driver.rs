//! The event loop itself, with a shard that has nothing to do but read its mail.

use crate::holds;
use brolly_core::config::{Config, Limits};
use brolly_core::driver::{Driver, Runtime, Stream, Task, Timing, Work, fleet};
use brolly_core::rng::Seed;
use brolly_core::shard::{Accepted, Access, FileId, IoError};
use brolly_core::time::{Instant, Now};
use loom::future::block_on;
use loom::thread;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Where nobody knocks and no time passes.
struct Nowhere;

enum Nobody {}

impl Timing for Nowhere {
    fn now(&self) -> Now {
        Now::default()
    }

    fn poll_timer(&mut self, _: &mut Context<'_>, _: Option<Instant>) -> Poll<()> {
        Poll::Pending
    }
}

impl Runtime for Nowhere {
    type Stream = Nobody;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<(Accepted, Nobody)> {
        Poll::Pending
    }

    fn stop_accepting(&mut self) {}

    fn perform(&mut self, work: Work) -> Task<Nobody> {
        panic!("{work:?}")
    }

    fn close_file(&mut self, _: FileId) {}

    fn log(&mut self, _: &Access) {}
}

impl Stream for Nobody {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<Result<usize, IoError>> {
        match *self {}
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        match *self {}
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        match *self {}
    }
}

fn config() -> Arc<Config> {
    let limits = Limits { connections: 1, mailbox_messages: 2, ..Limits::default() };
    Arc::new(Config { limits, ..Config::default() })
}

/// The last of two letters ends it. It must not wait for a third.
#[test]
fn a_driver_reads_all_its_mail() {
    holds(|| {
        let config = config();
        let (mut parts, control) = fleet(&config, Seed([0; 32]), 1);
        thread::spawn(move || {
            assert!(control.configure(&config));
            assert!(control.shutdown(Duration::ZERO));
        });
        block_on(Driver::new(parts.remove(0), Nowhere));
    });
}

/// Each waits for the news that the other has finished.
#[test]
fn a_fleet_ends_when_all_are_drained() {
    holds(|| {
        let (mut parts, control) = fleet(&config(), Seed([0; 32]), 2);
        assert!(control.shutdown(Duration::ZERO));
        let other = parts.remove(1);
        let other = thread::spawn(move || block_on(Driver::new(other, Nowhere)));
        block_on(Driver::new(parts.remove(0), Nowhere));
        other.join().unwrap();
    });
}

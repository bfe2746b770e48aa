//! A full mailbox: back-pressure, and the wake-up when there is room.

use crate::mailbox::{Poller, receive_until};
use crate::{DEADLOCK, holds};
use brolly_core::driver::wakeups::Wakeups;
use brolly_core::mailbox::{self, SendError};
use loom::future::block_on;
use loom::sync::Arc as Shared;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

#[derive(Clone, Copy)]
enum Refused {
    AsksAndTriesAgain,
    OnlyAsks,
}

/// A sender with two messages and a full mailbox for one sleeps until there is room, and once more.
fn a_refused_sender_goes_on(refused: Refused) {
    let wakeups = Arc::new(Wakeups::new(1));
    let (sender, receiver) = mailbox::channel(1, wakeups.waker(0));
    assert_eq!(sender.send(0), Ok(()));
    thread::spawn(move || {
        let mut next = 1;
        block_on(poll_fn(|context| {
            let mut asked = false;
            while next <= 2 {
                match sender.send(next) {
                    Ok(()) => next += 1,
                    Err(SendError::Full(_)) if asked => return Poll::Pending,
                    Err(SendError::Full(_)) => {
                        sender.wake_when_room(context.waker());
                        asked = true;
                        if matches!(refused, Refused::OnlyAsks) {
                            return Poll::Pending;
                        }
                    }
                    Err(SendError::Closed(_)) => unreachable!("nobody closes"),
                }
            }
            Poll::Ready(())
        }));
    });
    assert_eq!(receive_until(&wakeups, &receiver, 3, Poller::RegistersFirst), [0, 1, 2]);
}

#[test]
fn a_sender_that_was_refused_is_woken() {
    holds(|| a_refused_sender_goes_on(Refused::AsksAndTriesAgain));
}

broken!(broken_sender_asks_and_does_not_try_again, DEADLOCK, || a_refused_sender_goes_on(Refused::OnlyAsks));

#[test]
fn a_sender_that_waits_for_room_learns_of_the_close() {
    holds(|| {
        let (sender, receiver) = mailbox::channel(1, Waker::noop().clone());
        assert_eq!(sender.send(1), Ok(()));
        let waiting = thread::spawn(move || {
            block_on(poll_fn(|context| {
                sender.wake_when_room(context.waker());
                if sender.send(2) == Err(SendError::Closed(2)) { Poll::Ready(()) } else { Poll::Pending }
            }));
        });
        receiver.close();
        waiting.join().unwrap();
        assert_eq!((receiver.receive(), receiver.receive()), (Some(1), None));
    });
}

/// The handshake behind it: each writes its own flag, then reads the other's.
fn one_of_the_two_sees_the_other(between: fn()) {
    let flags = Shared::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let theirs = Shared::clone(&flags);
    let asking = thread::spawn(move || {
        theirs[0].store(true, Ordering::Release);
        between();
        theirs[1].load(Ordering::Acquire)
    });
    flags[1].store(true, Ordering::Release);
    between();
    let sees = flags[0].load(Ordering::Acquire);
    assert!(asking.join().unwrap() || sees, "lost wake-up");
}

#[test]
fn fences_between_write_and_read_let_one_see_the_other() {
    holds(|| one_of_the_two_sees_the_other(|| fence(Ordering::SeqCst)));
}

broken!(broken_write_and_read_without_a_fence, "lost wake-up", || one_of_the_two_sees_the_other(|| ()));

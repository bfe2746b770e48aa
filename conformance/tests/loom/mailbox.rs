//! The mailbox with its wake-up.

use crate::{DEADLOCK, holds};
use brolly_core::driver::wakeups::Wakeups;
use brolly_core::mailbox::{self, Receiver, Sender};
use concurrent_queue::ConcurrentQueue;
use loom::future::block_on;
use loom::thread;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

#[derive(Clone, Copy)]
pub(crate) enum Poller {
    RegistersFirst,
    TakesFirst,
}

/// Two producers send a message each to a receiver that sleeps between them.
fn every_message_arrives(poller: Poller, send: impl Fn(&Sender<usize>, &Waker, usize) + Copy + Send + 'static) {
    let wakeups = Arc::new(Wakeups::new(1));
    let (sender, receiver) = mailbox::channel(2, wakeups.waker(0));
    for message in [1, 2] {
        let (sender, waker) = (sender.clone(), wakeups.waker(0));
        thread::spawn(move || send(&sender, &waker, message));
    }
    let mut received = receive_until(&wakeups, &receiver, 2, poller);
    received.sort_unstable();
    assert_eq!(received, [1, 2]);
    assert_eq!(receiver.receive(), None);
}

pub(crate) fn receive_until(wakeups: &Wakeups, receiver: &Receiver<usize>, count: usize, poller: Poller) -> Vec<usize> {
    let mut received = Vec::new();
    block_on(poll_fn(|context| {
        let mut take = || wakeups.take(|_| received.extend(std::iter::from_fn(|| receiver.receive())));
        match poller {
            Poller::RegistersFirst => {
                wakeups.register(context.waker());
                take();
            }
            Poller::TakesFirst => {
                take();
                wakeups.register(context.waker());
            }
        }
        if received.len() == count { Poll::Ready(()) } else { Poll::Pending }
    }));
    received
}

fn send(sender: &Sender<usize>, _: &Waker, message: usize) {
    assert_eq!(sender.send(message), Ok(()));
}

#[test]
fn every_message_wakes_its_receiver() {
    holds(|| every_message_arrives(Poller::RegistersFirst, send));
}

broken!(broken_slots_taken_before_the_task_is_registered, DEADLOCK, || every_message_arrives(Poller::TakesFirst, send));

// The mailbox's own wake-up must not help: this queue has none.
broken!(broken_receiver_woken_before_the_message_is_there, DEADLOCK, || {
    let (wakeups, queue) = (Arc::new(Wakeups::new(1)), Arc::new(ConcurrentQueue::bounded(2)));
    let (waker, theirs) = (wakeups.waker(0), Arc::clone(&queue));
    thread::spawn(move || {
        waker.wake_by_ref();
        assert_eq!(theirs.push(1), Ok(()));
    });
    block_on(poll_fn(|context| {
        let mut received = None;
        wakeups.register(context.waker());
        wakeups.take(|_| received = queue.pop().ok());
        if received.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }));
});

#[test]
fn messages_of_one_sender_keep_their_order() {
    holds(|| {
        let wakeups = Arc::new(Wakeups::new(1));
        let (sender, receiver) = mailbox::channel(2, wakeups.waker(0));
        thread::spawn(move || [1, 2].map(|message| assert_eq!(sender.send(message), Ok(()))));
        assert_eq!(receive_until(&wakeups, &receiver, 2, Poller::RegistersFirst), [1, 2]);
    });
}

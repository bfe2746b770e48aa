//! Shutdown: what was accepted is handed over, what was not is given back.

use crate::holds;
use brolly_core::mailbox::{self, SendError};
use concurrent_queue::ConcurrentQueue;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use std::sync::Arc;
use std::task::Waker;

#[derive(Clone, Copy)]
enum Closing {
    ThenReceives,
    AfterReceiving,
}

fn every_message_has_one_owner(senders: usize, messages: usize, closing: Closing) {
    let (sender, receiver) = mailbox::channel(2, Waker::noop().clone());
    let threads: Vec<_> = (0..senders)
        .map(|number| {
            let sender = sender.clone();
            thread::spawn(move || {
                let sent = (0..messages).map(|message| sender.send(number * 10 + message));
                let (accepted, refused): (Vec<_>, Vec<_>) = sent.enumerate().partition(|(_, sent)| sent.is_ok());
                for (message, sent) in refused {
                    assert_eq!(sent, Err(SendError::Closed(number * 10 + message)), "given back");
                }
                accepted.len()
            })
        })
        .collect();
    let receive_all = || std::iter::from_fn(|| receiver.receive()).collect::<Vec<_>>();
    let mut received = Vec::new();
    match closing {
        Closing::ThenReceives => {
            received.extend(receive_all());
            receiver.close();
            received.extend(receive_all());
        }
        Closing::AfterReceiving => {
            received.extend(receive_all());
            receiver.close();
        }
    }
    for (number, thread) in threads.into_iter().enumerate() {
        let accepted: Vec<_> = (0..thread.join().unwrap()).map(|message| number * 10 + message).collect();
        let theirs: Vec<_> = received.iter().copied().filter(|message| message / 10 == number).collect();
        assert_eq!(theirs, accepted, "lost or doubled");
    }
}

#[test]
fn close_racing_two_sends_of_one_thread_loses_nothing() {
    holds(|| every_message_has_one_owner(1, 2, Closing::ThenReceives));
}

#[test]
fn close_racing_sends_of_two_threads_loses_nothing() {
    holds(|| every_message_has_one_owner(2, 1, Closing::ThenReceives));
}

broken!(broken_receiver_does_not_look_again_after_closing, "lost or doubled", || every_message_has_one_owner(
    1,
    2,
    Closing::AfterReceiving
));

broken!(broken_closed_flag_beside_the_queue, "lost or doubled", || {
    let shared = Arc::new((AtomicBool::new(false), ConcurrentQueue::bounded(2)));
    let theirs = Arc::clone(&shared);
    let sending = thread::spawn(move || !theirs.0.load(Ordering::SeqCst) && theirs.1.push(1).is_ok());
    shared.0.store(true, Ordering::SeqCst);
    let received = shared.1.pop().is_ok();
    assert_eq!(received, sending.join().unwrap(), "lost or doubled");
});

//! Everything that threads share, in every interleaving that loom can find: mailboxes, wake-ups, shutdown.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p brolly-conformance --release --test loom`; `LOOM_MAX_PREEMPTIONS` (3 unless
//! set) bounds how often a thread is interrupted. Each model has broken twins that differ in one order or one strength,
//! and must fail: a model that passes them too would prove nothing.
#![cfg(loom)]

use brolly_core::driver::wakeups::Wakeups;
use brolly_core::mailbox::{self, Receiver, SendError, Sender};
use concurrent_queue::ConcurrentQueue;
use loom::cell::UnsafeCell;
use loom::future::{AtomicWaker, block_on};
use loom::sync::Arc as Shared;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use loom::thread;
use std::env;
use std::future::poll_fn;
use std::process::Command;
use std::sync::Arc;
use std::task::{Poll, Waker};

fn holds(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(model);
}

/// A test that passes if a model fails, and in the expected way. In a process of its own: loom may not survive it.
macro_rules! broken {
    ($name:ident, $how:expr, $model:expr) => {
        #[test]
        fn $name() {
            if env::var_os("BROLLY_LOOM_TWIN").is_some() {
                return holds($model);
            }
            let this = env::current_exe().unwrap();
            let run = Command::new(this)
                .args(["--exact", stringify!($name), "--nocapture"])
                .env("BROLLY_LOOM_TWIN", "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&run.stderr);
            assert!(!run.status.success(), "the broken twin passes the model");
            assert!(said.contains($how), "it failed in another way: {said}");
        }
    };
}

const DEADLOCK: &str = "deadlock; threads =";
const RACE: &str = "Causality violation";

// ---------------------------------------------------------------------------------------------------------------------
// The wake-up bitmap

/// The slots of two words, so that there is a summary above them.
const WORD: usize = usize::BITS as usize;

trait Bitmap: Send + Sync + 'static {
    fn new() -> Self;
    fn wake(&self, slot: usize);
    fn register(&self, task: &Waker);
    fn take(&self, visit: impl FnMut(usize));
}

impl Bitmap for Wakeups {
    fn new() -> Self {
        Self::new(2 * WORD)
    }
    fn wake(&self, slot: usize) {
        self.wake(slot);
    }
    fn register(&self, task: &Waker) {
        self.register(task);
    }
    fn take(&self, visit: impl FnMut(usize)) {
        self.take(visit);
    }
}

const RIGHT: u8 = 0;
const SUMMARY_SET_FIRST: u8 = 1;
const SUMMARY_CLEARED_LAST: u8 = 2;
const RELAXED_BITS: u8 = 3;
const TASK_WOKEN_FIRST: u8 = 4;

/// The same bitmap written plainly for two words, with one mistake.
struct Plain<const MISTAKE: u8> {
    words: [AtomicUsize; 2],
    summary: AtomicUsize,
    task: AtomicWaker,
}

impl<const MISTAKE: u8> Bitmap for Plain<MISTAKE> {
    fn new() -> Self {
        let words = [AtomicUsize::new(0), AtomicUsize::new(0)];
        Self { words, summary: AtomicUsize::new(0), task: AtomicWaker::new() }
    }

    fn wake(&self, slot: usize) {
        let order = if MISTAKE == RELAXED_BITS { Ordering::Relaxed } else { Ordering::AcqRel };
        let set_word = || self.words[slot / WORD].fetch_or(1 << (slot % WORD), order) == 0;
        let set_summary = || self.summary.fetch_or(1 << (slot / WORD), order) == 0;
        match MISTAKE {
            SUMMARY_SET_FIRST => {
                let first = set_summary();
                if set_word() && first {
                    self.task.wake();
                }
            }
            TASK_WOKEN_FIRST => {
                self.task.wake();
                let _ = set_word() && set_summary();
            }
            _ => {
                if set_word() && set_summary() {
                    self.task.wake();
                }
            }
        }
    }

    fn register(&self, task: &Waker) {
        self.task.register_by_ref(task);
    }

    fn take(&self, mut visit: impl FnMut(usize)) {
        let order = if MISTAKE == RELAXED_BITS { Ordering::Relaxed } else { Ordering::AcqRel };
        let summary = match MISTAKE {
            SUMMARY_CLEARED_LAST => self.summary.load(Ordering::Acquire),
            _ => self.summary.swap(0, order),
        };
        for word in (0..2).filter(|word| summary & (1 << word) != 0) {
            let bits = self.words[word].swap(0, order);
            (0..WORD).filter(|bit| bits & (1 << bit) != 0).for_each(|bit| visit(word * WORD + bit));
        }
        if MISTAKE == SUMMARY_CLEARED_LAST {
            self.summary.swap(0, order);
        }
    }
}

/// Two threads write something each and wake a slot; the task returns when it has visited both, and may read it then.
fn every_woken_slot_is_visited<B: Bitmap>(slots: [usize; 2]) {
    let bitmap = Arc::new(B::new());
    let written = slots.map(|slot| {
        let cell = Shared::new(UnsafeCell::new(()));
        let (bitmap, theirs) = (Arc::clone(&bitmap), Shared::clone(&cell));
        thread::spawn(move || {
            theirs.with_mut(|_| ());
            bitmap.wake(slot);
        });
        (slot, cell)
    });
    let mut visited = Vec::new();
    block_on(poll_fn(|context| {
        bitmap.register(context.waker());
        bitmap.take(|slot| {
            let (_, cell) = written.iter().find(|(known, _)| *known == slot).expect("a slot that was woken");
            cell.with(|_| ());
            visited.push(slot);
        });
        if visited.len() == 2 { Poll::Ready(()) } else { Poll::Pending }
    }));
    visited.sort_unstable();
    assert_eq!(visited, slots);
}

/// One slot is woken twice by one thread and once by another: the last visit sees what was written last.
fn the_last_wake_is_visited<B: Bitmap>() {
    let (bitmap, written) = (Arc::new(B::new()), Shared::new(AtomicUsize::new(0)));
    for times in [2, 1] {
        let (bitmap, written) = (Arc::clone(&bitmap), Shared::clone(&written));
        thread::spawn(move || {
            for _ in 0..times {
                written.fetch_add(1, Ordering::Relaxed);
                bitmap.wake(WORD);
            }
        });
    }
    let mut seen = 0;
    block_on(poll_fn(|context| {
        bitmap.register(context.waker());
        bitmap.take(|_| seen = written.load(Ordering::Relaxed));
        if seen == 3 { Poll::Ready(()) } else { Poll::Pending }
    }));
}

#[test]
fn slots_of_two_words_are_visited() {
    holds(|| every_woken_slot_is_visited::<Wakeups>([0, WORD]));
}

#[test]
fn slots_of_one_word_are_visited() {
    holds(|| every_woken_slot_is_visited::<Wakeups>([WORD, WORD + 1]));
}

#[test]
fn a_slot_woken_again_is_visited_again() {
    holds(the_last_wake_is_visited::<Wakeups>);
}

#[test]
fn the_plain_bitmap_without_a_mistake_holds() {
    holds(|| every_woken_slot_is_visited::<Plain<RIGHT>>([0, WORD]));
}

broken!(broken_summary_set_before_the_word, DEADLOCK, || every_woken_slot_is_visited::<Plain<SUMMARY_SET_FIRST>>([
    0, WORD
]));

broken!(
    broken_summary_cleared_after_the_word,
    DEADLOCK,
    || every_woken_slot_is_visited::<Plain<SUMMARY_CLEARED_LAST>>([0, WORD])
);

broken!(broken_task_woken_before_the_bits, DEADLOCK, || every_woken_slot_is_visited::<Plain<TASK_WOKEN_FIRST>>([
    0, WORD
]));

broken!(broken_relaxed_bits, RACE, || every_woken_slot_is_visited::<Plain<RELAXED_BITS>>([0, 1]));

// ---------------------------------------------------------------------------------------------------------------------
// The mailbox with its wake-up

#[derive(Clone, Copy)]
enum Poller {
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

fn receive_until(wakeups: &Wakeups, receiver: &Receiver<usize>, count: usize, poller: Poller) -> Vec<usize> {
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

// ---------------------------------------------------------------------------------------------------------------------
// A full mailbox: back-pressure and room

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

// ---------------------------------------------------------------------------------------------------------------------
// Shutdown: what was accepted is handed over, what was not is given back

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

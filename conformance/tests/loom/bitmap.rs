//! The wake-up bitmap.

use crate::{DEADLOCK, RACE, holds};
use brolly_core::driver::wakeups::Wakeups;
use loom::cell::UnsafeCell;
use loom::future::{AtomicWaker, block_on};
use loom::sync::Arc as Shared;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

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

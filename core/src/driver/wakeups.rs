//! Which slots of a driver want a visit: one bit per slot, and the task to poll when the first bit is set.
//!
//! A bitmap with summaries above it: a bit on level *n* + 1 says that a word on level *n* is not zero. Two rules make it
//! correct without a lock, and loom checks both (`conformance/tests/loom/`, with broken twins):
//!
//! * **Setting goes up**: first the slot's bit, then the summary above it, last the task. Only whoever made a word
//!   non-zero goes further up; whoever finds it non-zero relies on the one who did.
//! * **Taking goes down**: a summary is cleared *before* the words it stands for. A bit set in between is found in this
//!   round, or the summary is set again and the next round finds it. The other way round it would be lost.
//!
//! Both sides only ever read-modify-write a word, and those are totally ordered: of setting and taking, the later one sees
//! the earlier. So `AcqRel` suffices and no fence is needed. The same holds inside `AtomicWaker`, for the last step.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::fmt;
use core::task::Waker;

#[cfg(not(loom))]
use atomic_waker::AtomicWaker;
#[cfg(not(loom))]
use core::sync::atomic::{AtomicUsize, Ordering};
#[cfg(loom)]
use loom::future::AtomicWaker;
#[cfg(loom)]
use loom::sync::atomic::{AtomicUsize, Ordering};

/// Slots per word, and words per summary word.
const FANOUT: usize = usize::BITS as usize;

/// The slots of one driver that want a visit. Shared as an [`Arc`] between the driver and everything that wakes it.
///
/// The driver's `poll` must keep this order, or a wake-up is lost:
///
/// 1. [`register`](Self::register) the task's waker,
/// 2. [`take`](Self::take) the set slots,
/// 3. work on them; return `Pending` when done.
///
/// A slot that is woken after 2 wakes the task again, also from within 3. A slot that is woken many times before it is
/// visited is visited once.
///
/// ```
/// use brolly_core::driver::wakeups::Wakeups;
/// use std::{sync::Arc, task::Waker};
///
/// let wakeups = Arc::new(Wakeups::new(1000));
/// let socket = wakeups.waker(700);
/// socket.wake_by_ref();
/// wakeups.wake(3);
/// socket.wake_by_ref();
///
/// wakeups.register(Waker::noop()); // in a driver: `context.waker()`
/// let mut visited = Vec::new();
/// wakeups.take(|slot| visited.push(slot));
/// assert_eq!(visited, [3, 700]);
/// ```
pub struct Wakeups {
    /// `levels[0]` has a bit per slot, each further level a bit per word of the level below. The last is one word.
    levels: Vec<Box<[AtomicUsize]>>,
    slots: usize,
    task: AtomicWaker,
}

impl Wakeups {
    /// For the slots `0..slots`, all quiet. Allocates a bit per slot and a little: 130 KiB for a million slots.
    pub fn new(slots: usize) -> Self {
        let mut levels = Vec::new();
        let mut bits = slots;
        loop {
            let words = bits.div_ceil(FANOUT).max(1);
            levels.push((0..words).map(|_| AtomicUsize::new(0)).collect());
            if words == 1 {
                return Self { levels, slots, task: AtomicWaker::new() };
            }
            bits = words;
        }
    }

    /// How many slots there are. A larger slot number is never visited.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// A waker that wakes `slot`: one allocation, to be kept for the slot's lifetime and cloned from then on.
    pub fn waker(self: &Arc<Self>, slot: usize) -> Waker {
        Waker::from(Arc::new(SlotWaker { wakeups: Arc::clone(self), slot }))
    }

    /// Asks for a visit of `slot`, from any thread. Wakes the task if no visit was wanted before.
    ///
    /// What was written before is visible to the visit. A slot that does not exist is a bug of the caller, and ignored.
    pub fn wake(&self, slot: usize) {
        debug_assert!(slot < self.slots, "slot {slot} of {}", self.slots);
        let mut bit = slot;
        for words in &self.levels {
            let Some(word) = words.get(bit / FANOUT) else { return };
            // Release: the visit sees what was written before. Acquire, with the release of `take_word`: we wake the task that
            // was registered before it looked. (loom's `AtomicWaker` is a lock and would forgive us the second one.)
            if word.fetch_or(1 << (bit % FANOUT), Ordering::AcqRel) != 0 {
                return;
            }
            bit /= FANOUT;
        }
        self.task.wake();
    }

    /// Sets the task to wake when a slot wants a visit; replaces the one before. To be called before [`take`](Self::take).
    pub fn register(&self, task: &Waker) {
        #[cfg(not(loom))]
        self.task.register(task);
        #[cfg(loom)]
        self.task.register_by_ref(task);
    }

    /// Calls `visit` for every slot that wants a visit, in ascending order, and clears its wish just before. Costs as much as
    /// there are such slots, however many others there are. Slots woken meanwhile are visited now or at the next call, for
    /// which the task is woken. For one thread at a time: two would divide the slots between them.
    pub fn take(&self, mut visit: impl FnMut(usize)) {
        if let Some(top) = self.levels.len().checked_sub(1) {
            self.take_word(top, 0, &mut visit);
        }
    }

    fn take_word(&self, level: usize, index: usize, visit: &mut impl FnMut(usize)) {
        let Some(word) = self.levels.get(level).and_then(|words| words.get(index)) else { return };
        let mut bits = word.swap(0, Ordering::AcqRel);
        while bits != 0 {
            let child = index * FANOUT + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            match level.checked_sub(1) {
                Some(below) => self.take_word(below, child, visit),
                None => visit(child),
            }
        }
    }
}

impl fmt::Debug for Wakeups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakeups").field("slots", &self.slots).finish_non_exhaustive()
    }
}

struct SlotWaker {
    wakeups: Arc<Wakeups>,
    slot: usize,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakeups.wake(self.slot);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Task(AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn taken(wakeups: &Wakeups) -> Vec<usize> {
        let mut slots = Vec::new();
        wakeups.take(|slot| slots.push(slot));
        slots
    }

    #[test]
    fn every_slot_is_found_at_every_size() {
        for slots in [1, 2, 63, 64, 65, 4096, 4097, 262_144, 262_145, 1_000_000] {
            let wakeups = Wakeups::new(slots);
            let some = [0, 1, 62, 63, 64, 4095, 4096, 262_143, 262_144, slots - 1];
            let mut expected: Vec<usize> = some.into_iter().filter(|slot| *slot < slots).collect();
            expected.iter().rev().for_each(|slot| wakeups.wake(*slot));
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(taken(&wakeups), expected, "{slots} slots");
            assert!(taken(&wakeups).is_empty(), "{slots} slots, again");
        }
    }

    #[test]
    fn the_task_is_woken_once_per_round() {
        let task = Arc::new(Task::default());
        let wakeups = Wakeups::new(5000);
        for round in 1..4 {
            wakeups.register(&Waker::from(Arc::clone(&task)));
            [7, 4999, 7, 8].into_iter().for_each(|slot| wakeups.wake(slot));
            assert_eq!(task.0.load(Ordering::Relaxed), round);
            assert_eq!(taken(&wakeups), [7, 8, 4999]);
        }
    }

    #[test]
    fn a_slot_woken_during_its_visit_is_visited_again() {
        let task = Arc::new(Task::default());
        let wakeups = Wakeups::new(100);
        wakeups.wake(70);
        wakeups.register(&Waker::from(Arc::clone(&task)));
        let mut visits = 0;
        wakeups.take(|slot| {
            visits += 1;
            wakeups.wake(slot);
        });
        assert_eq!((visits, task.0.load(Ordering::Relaxed)), (1, 1));
        assert_eq!(taken(&wakeups), [70]);
    }

    #[test]
    fn no_slots_and_slots_that_do_not_exist() {
        let wakeups = Wakeups::new(0);
        assert_eq!((wakeups.slots(), taken(&wakeups)), (0, Vec::new()));
    }
}

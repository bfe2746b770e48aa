//! A hierarchical timer wheel: insert, look at the next deadline and pop what is due, each in constant (amortised) time.
//!
//! Time is cut into ticks of 2²⁰ ns (1.05 ms), and tick numbers are read as eight digits of six bits. An entry stands on
//! the level of the highest digit in which its tick differs from the wheel's, in the slot that this digit names:
//!
//! | level | one slot | its 64 slots |
//! |---|---|---|
//! | 0 | 1 tick, 1.05 ms | 67 ms |
//! | 1 | 67 ms | 4.3 s |
//! | 2 | 4.3 s | 4.6 min |
//! | 3 | 4.6 min | 4.9 h |
//! | 4 … 7 | 4.9 h … 146 years | 584 years: all that an [`Instant`] can say |
//!
//! So everything on a lower level is earlier than everything on a higher one, slots of a level are in order, and the next
//! slot is two `trailing_zeros` away, however many are empty before it. When the time of a slot above level 0 begins, its
//! entries are dealt to the levels below; that happens to an entry at most seven times.

use crate::time::Instant;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

/// Nanoseconds per tick, as a power of two.
const TICK_BITS: u32 = 20;
/// Bits per digit.
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Enough digits for 2⁶⁴ ns: nothing is beyond the last level.
const LEVELS: usize = 8;
/// No node.
const NIL: u32 = u32::MAX;
/// Storage for up to so many entries is kept although they are gone (entries, 24 bytes each for an 8-byte key).
const KEEP: usize = 256;

/// Deadlines with a key each. Entries of one tick fire in the order in which they were inserted.
///
/// An entry fires at the end of its tick: never before its instant, and at most one tick after it, if someone asks then.
/// An instant in the past fires at the next [`pop_due`](Self::pop_due). The wheel's time only goes forward: if `now` goes
/// back, nothing fires until it has caught up.
///
/// There is no removal. The owner of a deadline stores the true one beside its other state, and has (at least) one entry
/// here that is not later:
///
/// * a deadline that moves *later*, such as an idle timeout at every read, is only stored: two nanoseconds;
/// * one that moves *earlier* than the entry is stored and inserted again;
/// * when an entry fires, the owner compares its true deadline with `now`: if that is over, it acts; if it is still to come,
///   it inserts it again; if the owner is gone, the key is stale and nothing happens.
///
/// ```
/// use brolly_core::{shard::wheel::Wheel, time::Instant};
/// use core::time::Duration;
///
/// let (mut now, mut wheel) = (Instant::from_nanos(0), Wheel::new());
/// let mut deadline = now + Duration::from_secs(5);
/// wheel.insert(deadline, "connection");
/// deadline = now + Duration::from_secs(30); // it was active meanwhile
///
/// while let Some(wake) = wheel.poll_timeout() {
///     now = wake; // here a driver sleeps
///     while let Some((_, key)) = wheel.pop_due(now) {
///         if now < deadline {
///             wheel.insert(deadline, key);
///         }
///     }
/// }
/// assert!(now >= deadline && now.duration_since(deadline) < Duration::from_millis(2));
/// ```
#[derive(Clone)]
pub struct Wheel<T> {
    /// The tick up to which everything was popped. No entry's tick is smaller.
    tick: u64,
    /// Bit *s* of `occupied[l]`: slot *s* of level *l* is not empty.
    occupied: [u64; LEVELS],
    /// The last node of each slot, whose `next` is the first: a ring, so that both ends are at hand. `NIL` if empty.
    slots: [[u32; SLOTS]; LEVELS],
    nodes: Vec<Node<T>>,
    /// The first of the unused nodes, which are chained by `next`.
    free: u32,
    len: usize,
}

#[derive(Clone, Copy)]
struct Node<T> {
    at: Instant,
    key: T,
    next: u32,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel; allocates nothing.
    pub const fn new() -> Self {
        Self { tick: 0, occupied: [0; LEVELS], slots: [[NIL; SLOTS]; LEVELS], nodes: Vec::new(), free: NIL, len: 0 }
    }

    /// Fires `key` at `at`. The same key may be inserted more than once and fires as often.
    ///
    /// Memory is the only limit: the owners see to it that there are few entries for each of them.
    pub fn insert(&mut self, at: Instant, key: T) {
        let node = Node { at, key, next: NIL };
        let index = match self.nodes.get_mut(self.free as usize) {
            Some(unused) => {
                let index = core::mem::replace(&mut self.free, unused.next);
                *unused = node;
                index
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        self.len += 1;
        self.link(index, at);
    }

    /// When to call [`pop_due`](Self::pop_due) next: not later than the first entry fires. It may be earlier (at most seven
    /// times for an entry), and then nothing is due, but the next answer is later. `None`: there is no entry.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (.., begin) = self.next_slot()?;
        Some(Instant::from_nanos(begin.saturating_mul(1 << TICK_BITS)))
    }

    /// Takes out the earliest entry that is due at `now`, with the instant for which it was inserted. Call it until `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, T)> {
        let now = now.as_nanos() >> TICK_BITS;
        loop {
            let Some((level, slot, begin)) = self.next_slot().filter(|(.., begin)| *begin <= now) else {
                // Nothing is due. All slots begin after `now`, so the entries in them stay where they belong.
                self.tick = self.tick.max(now);
                return None;
            };
            self.tick = begin;
            if level == 0 {
                return self.pop(slot);
            }
            self.deal(level, slot);
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first slot that is not empty, and the tick with which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let (level, occupied) = self.occupied.iter().enumerate().find(|(_, occupied)| **occupied != 0)?;
        let slot = occupied.trailing_zeros();
        let shift = DIGIT_BITS * level as u32;
        let above = self.tick >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        Some((level, slot as usize, above | u64::from(slot) << shift))
    }

    /// Appends node `index` to the slot for `at`.
    fn link(&mut self, index: u32, at: Instant) {
        let tick = at.as_nanos().div_ceil(1 << TICK_BITS).max(self.tick);
        let level = (tick ^ self.tick).checked_ilog2().unwrap_or(0) / DIGIT_BITS;
        let slot = (tick >> (DIGIT_BITS * level)) as usize % SLOTS;
        let level = level as usize;
        let Some(last) = self.slots.get_mut(level).and_then(|slots| slots.get_mut(slot)) else { return };
        let previous = core::mem::replace(last, index);
        let first = match self.nodes.get_mut(previous as usize) {
            Some(previous) => core::mem::replace(&mut previous.next, index),
            None => index,
        };
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.next = first;
        }
        if let Some(occupied) = self.occupied.get_mut(level) {
            *occupied |= 1 << slot;
        }
    }

    /// Empties a slot; the last node of its ring.
    fn unlink(&mut self, level: usize, slot: usize) -> Option<u32> {
        *self.occupied.get_mut(level)? &= !(1 << slot);
        Some(core::mem::replace(self.slots.get_mut(level)?.get_mut(slot)?, NIL))
    }

    /// Deals the entries of a slot whose time has begun to the levels below, in order.
    fn deal(&mut self, level: usize, slot: usize) {
        let Some(last) = self.unlink(level, slot) else { return };
        let mut next = self.nodes.get(last as usize).map(|node| node.next);
        while let Some(index) = next
            && let Some(node) = self.nodes.get(index as usize)
        {
            next = (index != last).then_some(node.next);
            self.link(index, node.at);
        }
    }

    /// Takes the first entry out of a slot of level 0.
    fn pop(&mut self, slot: usize) -> Option<(Instant, T)> {
        let last = *self.slots.first()?.get(slot)?;
        let first = self.nodes.get(last as usize)?.next;
        let node = *self.nodes.get(first as usize)?;
        if first == last {
            self.unlink(0, slot);
        } else {
            self.nodes.get_mut(last as usize)?.next = node.next;
        }
        self.nodes.get_mut(first as usize)?.next = core::mem::replace(&mut self.free, first);
        self.len -= 1;
        if self.nodes.capacity() > KEEP && self.len < self.nodes.capacity() / 4 {
            self.shrink();
        }
        Some((node.at, node.key))
    }

    /// Moves the entries that are left to a smaller allocation. Each was preceded by at least as many pops.
    #[cold]
    fn shrink(&mut self) {
        let mut small = Self { tick: self.tick, ..Self::new() };
        small.nodes.reserve_exact(self.len * 2);
        self.for_each(|at, key| small.insert(at, key));
        *self = small;
    }
}

impl<T: Copy> Wheel<T> {
    /// All entries, slot by slot.
    fn for_each(&self, mut visit: impl FnMut(Instant, T)) {
        for last in self.slots.iter().flatten().filter(|last| **last != NIL) {
            let mut index = self.nodes.get(*last as usize).map(|node| node.next);
            while let Some(node) = index.and_then(|index| self.nodes.get(index as usize)) {
                visit(node.at, node.key);
                index = (index != Some(*last)).then_some(node.next);
            }
        }
    }

    fn entries(&self) -> Vec<(Instant, T)> {
        let mut entries = Vec::with_capacity(self.len);
        self.for_each(|at, key| entries.push((at, key)));
        entries
    }
}

impl<T: Copy> Default for Wheel<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Equal are wheels that will fire the same in the same order, wherever their storage has the entries.
impl<T: Copy + PartialEq> PartialEq for Wheel<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.tick, self.occupied) == (other.tick, other.occupied) && self.entries() == other.entries()
    }
}

impl<T: Copy + Eq> Eq for Wheel<T> {}

impl<T: Copy + Hash> Hash for Wheel<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tick.hash(state);
        self.len.hash(state);
        self.for_each(|at, key| (at, key).hash(state));
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("tick", &self.tick).field("entries", &self.entries()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const TICK: u64 = 1 << TICK_BITS;

    fn at(tick: u64) -> Instant {
        Instant::from_nanos(tick * TICK)
    }

    fn due<T: Copy>(wheel: &mut Wheel<T>, now: Instant) -> Vec<T> {
        core::iter::from_fn(|| wheel.pop_due(now)).map(|(_, key)| key).collect()
    }

    #[test]
    fn fires_in_order_of_ticks_then_of_insertion() {
        let mut wheel = Wheel::new();
        for (key, tick) in [5000, 64, 0, 64, 63, 5000, 4096, 65].into_iter().enumerate() {
            wheel.insert(at(tick), key);
        }
        assert_eq!(due(&mut wheel, at(64)), [2, 4, 1, 3]);
        wheel.insert(at(5000), 8);
        assert_eq!(due(&mut wheel, at(1 << 43)), [7, 6, 0, 5, 8]);
        assert_eq!((wheel.len(), wheel.poll_timeout()), (0, None));
    }

    #[test]
    fn never_early_and_at_most_a_tick_late() {
        let mut wheel = Wheel::new();
        wheel.insert(Instant::from_nanos(7 * TICK + 1), ());
        assert_eq!(wheel.poll_timeout(), Some(at(8)));
        assert_eq!(wheel.pop_due(Instant::from_nanos(8 * TICK - 1)), None);
        assert_eq!(wheel.pop_due(at(8)), Some((Instant::from_nanos(7 * TICK + 1), ())));
    }

    #[test]
    fn the_past_is_due_at_once_and_the_end_of_time_never() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.pop_due(at(1000)), None);
        wheel.insert(at(3), "past");
        wheel.insert(Instant::from_nanos(u64::MAX), "never");
        assert!(wheel.poll_timeout().is_some_and(|wake| wake <= at(1000)));
        assert_eq!(wheel.pop_due(at(999)), None, "now went back");
        assert_eq!(due(&mut wheel, at(1000)), ["past"]);
        assert_eq!(due(&mut wheel, Instant::from_nanos(u64::MAX)), [""; 0]);
        assert_eq!(wheel.len(), 1);
    }

    #[test]
    fn the_next_wake_moves_until_the_entry_fires() {
        let mut wheel = Wheel::new();
        let year = Instant::from_nanos(1) + Duration::from_secs(365 * 24 * 3600);
        wheel.insert(year, ());
        let mut wakes = 1;
        let mut now = Instant::default();
        while wheel.pop_due(now).is_none() {
            let wake = wheel.poll_timeout().unwrap();
            assert!(wake > now);
            (now, wakes) = (wake, wakes + 1);
        }
        assert!(now >= year && now.duration_since(year) <= Duration::from_nanos(TICK) && wakes <= 9, "{wakes}");
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut wheel = Wheel::new();
        wheel.insert(at(1 << 30), u64::MAX);
        (0..100_000).for_each(|key| wheel.insert(at(key % 5000), key));
        assert_eq!(due(&mut wheel, at(5000)).len(), 100_000);
        assert!(wheel.nodes.capacity() <= KEEP);
        assert_eq!(due(&mut wheel, at(1 << 30)), [u64::MAX]);
    }

    #[test]
    fn equality_ignores_where_the_storage_has_the_entries() {
        let (mut one, mut other) = (Wheel::new(), Wheel::new());
        one.insert(at(1), 1);
        one.insert(at(900), 2);
        other.insert(at(900), 2);
        assert_ne!(one, other);
        assert_eq!(due(&mut one, at(2)), [1]);
        assert_eq!(due(&mut other, at(2)), [0; 0]);
        assert_eq!(one, other);
    }
}

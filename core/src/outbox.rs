//! The send queue of a connection: copies what is small, shares what is large, lends its storage from a pool.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use core::mem;

/// Up to this many bytes are copied into the open tail; longer ones are shared (bytes). A copy of this size costs
/// about as much as the reference count, and makes the write contiguous.
const COPY_LIMIT: usize = 1024;
/// A tail that grew beyond this is not kept for reuse (bytes).
const KEEP_LIMIT: usize = 8 * 1024;

/// Bytes on their way to a peer, in order. An idle outbox is one null pointer.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Outbox(Option<Box<Storage>>);

/// What a non-empty [`Outbox`] holds.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Storage {
    segments: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// How much of `tail` was sent already; only while `segments` is empty.
    sent: usize,
    /// Unsent bytes in `segments`.
    shared: usize,
}

impl Outbox {
    /// An empty outbox.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Unsent bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |storage| storage.shared + storage.tail.len() - storage.sent)
    }

    /// Whether everything was sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a copy of `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        if bytes.len() > COPY_LIMIT {
            self.push(Bytes::copy_from_slice(bytes));
        } else {
            self.tail().extend_from_slice(bytes);
        }
    }

    /// Appends `bytes`, shared if they are long.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_LIMIT {
            return self.tail().extend_from_slice(&bytes);
        }
        let storage = self.storage();
        storage.seal();
        storage.shared += bytes.len();
        storage.segments.push_back(bytes);
    }

    /// Appends `bytes` that others hold too: copied if they are short, shared if they are long.
    pub fn share(&mut self, bytes: &Bytes) {
        if bytes.len() <= COPY_LIMIT {
            self.tail().extend_from_slice(bytes);
        } else {
            self.push(bytes.clone());
        }
    }

    /// The open end of the queue, to encode into. Only append.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        let storage = self.storage();
        if storage.sent > KEEP_LIMIT && storage.sent * 2 > storage.tail.len() {
            storage.tail.drain(..storage.sent);
            storage.sent = 0;
        }
        &mut storage.tail
    }

    /// Fills `slices` with the next unsent bytes; says how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [&'a [u8]]) -> usize {
        let Some(storage) = &self.0 else { return 0 };
        let tail = storage.tail.get(storage.sent..).unwrap_or_default();
        if let (true, [slot, ..]) = (storage.segments.is_empty(), &mut *slices) {
            *slot = tail;
            return usize::from(!tail.is_empty());
        }
        let unsent = storage.segments.iter().map(|segment| &segment[..]).chain((!tail.is_empty()).then_some(tail));
        slices.iter_mut().zip(unsent).map(|(slot, bytes)| *slot = bytes).count()
    }

    /// Forgets the first `bytes` unsent bytes: they were sent.
    pub fn advance(&mut self, mut bytes: usize) {
        let Some(storage) = &mut self.0 else { return };
        while bytes > 0
            && let Some(front) = storage.segments.front_mut()
        {
            let taken = bytes.min(front.len());
            front.advance(taken);
            storage.shared -= taken;
            bytes -= taken;
            if front.is_empty() {
                storage.segments.pop_front();
            }
        }
        storage.sent = (storage.sent + bytes).min(storage.tail.len());
        if storage.sent == storage.tail.len() {
            storage.tail.clear();
            storage.sent = 0;
        }
    }

    /// Drops everything unsent.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    fn storage(&mut self) -> &mut Storage {
        self.0.get_or_insert_default()
    }
}

impl Storage {
    /// Closes the tail, so that a shared segment can follow it.
    fn seal(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let mut tail = Bytes::from(mem::take(&mut self.tail));
        tail.advance(mem::take(&mut self.sent));
        self.shared += tail.len();
        self.segments.push_back(tail);
    }
}

/// Storage of outboxes that are empty now, for those that will not be: with it, sending allocates nothing.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Storages {
    #[expect(clippy::vec_box, reason = "the box itself moves into an outbox and back")]
    free: Vec<Box<Storage>>,
    limit: usize,
}

impl Storages {
    /// Keeps no more than `limit`.
    pub const fn new(limit: usize) -> Self {
        Self { free: Vec::new(), limit }
    }

    /// Gives an outbox without storage one that was used before, if there is one.
    pub fn lend(&mut self, outbox: &mut Outbox) {
        if outbox.0.is_none() {
            outbox.0 = self.free.pop();
        }
    }

    /// Takes the storage of an empty outbox back, unless it has grown too large or there are enough.
    pub fn reclaim(&mut self, outbox: &mut Outbox) {
        if outbox.is_empty()
            && let Some(storage) = outbox.0.take()
            && storage.tail.capacity() <= KEEP_LIMIT
            && self.free.len() < self.limit
        {
            self.free.push(storage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn unsent(outbox: &Outbox) -> Vec<u8> {
        let mut slices: [&[u8]; 64] = [&[]; 64];
        let filled = outbox.slices(&mut slices);
        slices[..filled].concat()
    }

    #[test]
    fn keeps_the_order_of_copied_and_shared_bytes_over_partial_writes() {
        let (mut outbox, mut expected) = (Outbox::new(), Vec::new());
        for (round, size) in [1, 2000, 3, 900, 5000, 1, 1024, 1025, 10].into_iter().enumerate() {
            let piece = vec![round as u8; size];
            outbox.extend(&piece);
            expected.extend(piece);
            outbox.advance(700);
            expected.drain(..700.min(expected.len()));
            assert_eq!(unsent(&outbox), expected);
            assert_eq!(outbox.len(), expected.len());
        }
        outbox.advance(expected.len());
        assert!(outbox.is_empty() && unsent(&outbox).is_empty());
        let mut storages = Storages::new(1);
        storages.reclaim(&mut outbox);
        storages.lend(&mut outbox);
        assert!(storages.free.is_empty() && outbox.0.is_some());
    }

    #[test]
    fn a_slow_tail_is_compacted() {
        let mut outbox = Outbox::new();
        for _ in 0..1000 {
            outbox.extend(&[7; 1000]);
            outbox.advance(990);
        }
        assert_eq!(outbox.len(), 10_000);
        assert!(outbox.tail().capacity() < 100_000);
    }
}

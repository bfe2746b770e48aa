//! The one operation: least upper bound.

use alloc::collections::BTreeMap;

/// A join-semilattice whose elements can be taken apart.
pub trait Join: Clone {
    /// Becomes the least upper bound of itself and `delta`, and reduces `delta` to what was new. Says whether anything was.
    /// `bytes` is kept up to date with what [`bytes`](Self::bytes) would say.
    ///
    /// Joining the reduced delta elsewhere has the same effect there as the whole one, if the states were equal before.
    fn join(&mut self, delta: &mut Self, bytes: &mut usize) -> bool;

    /// What it takes to keep it, in bytes, names included.
    fn bytes(&self) -> usize;

    /// Like [`join`](Self::join), for a delta that is of no further interest.
    fn absorb(&mut self, mut delta: Self) -> bool {
        self.join(&mut delta, &mut 0)
    }
}

/// Point by point; a key that was not there is new even if there is nothing in it.
impl<K: AsRef<str> + Clone + Ord, V: Join> Join for BTreeMap<K, V> {
    fn join(&mut self, delta: &mut Self, bytes: &mut usize) -> bool {
        delta.retain(|key, value| match self.get_mut(key) {
            Some(own) => own.join(value, bytes),
            None => {
                *bytes += key.as_ref().len() + value.bytes();
                self.insert(key.clone(), value.clone());
                true
            }
        });
        !delta.is_empty()
    }

    fn bytes(&self) -> usize {
        self.iter().map(|(key, value)| key.as_ref().len() + value.bytes()).sum()
    }
}

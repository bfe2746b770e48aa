//! Requests that wait for a connection: first come, first served.

use alloc::collections::VecDeque;

/// Who waits. Their deadlines are their own affair.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Queue<C>(VecDeque<C>);

impl<C> Default for Queue<C> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<C: Copy + Eq> Queue<C> {
    /// At the end.
    pub fn push(&mut self, who: C) {
        self.0.push_back(who);
    }

    /// Who has waited longest.
    pub fn pop(&mut self) -> Option<C> {
        self.0.pop_front()
    }

    /// It was not their turn yet.
    pub fn put_back(&mut self, who: C) {
        self.0.push_front(who);
    }

    /// Whoever does not want to wait any more leaves.
    pub fn remove(&mut self, who: C) {
        self.0.retain(|waiting| *waiting != who);
    }

    /// Who waits, longest first.
    pub fn iter(&self) -> impl Iterator<Item = C> {
        self.0.iter().copied()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

//! A queue from whose middle things can be taken: first in first out, everything O(1).

use crate::arena::{self, Arena};

/// Names what was put into a [`Queue`].
pub(super) type Ticket<T> = arena::Id<Node<T>>;

/// What a [`Queue`] holds, between its neighbours.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Node<T> {
    value: T,
    before: Option<Ticket<T>>,
    after: Option<Ticket<T>>,
}

/// Values in the order in which they came. Storage is reused; it never shrinks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Queue<T> {
    nodes: Arena<Node<T>>,
    front: Option<Ticket<T>>,
    back: Option<Ticket<T>>,
}

impl<T> Queue<T> {
    /// An empty queue; allocates nothing.
    pub(super) fn new() -> Self {
        Self { nodes: Arena::new(), front: None, back: None }
    }

    /// How many values wait.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Puts `value` at the end. The ticket is good until the value is taken, and must not be used after.
    pub(super) fn push(&mut self, value: T) -> Ticket<T> {
        let ticket = self.nodes.insert(Node { value, before: self.back, after: None });
        match self.back.and_then(|back| self.nodes.get_mut(back)) {
            Some(back) => back.after = Some(ticket),
            None => self.front = Some(ticket),
        }
        self.back = Some(ticket);
        ticket
    }

    /// The value that has waited longest.
    pub(super) fn front(&self) -> Option<&T> {
        self.get(self.front?)
    }

    /// The value that `ticket` names.
    pub(super) fn get(&self, ticket: Ticket<T>) -> Option<&T> {
        self.nodes.get(ticket).map(|node| &node.value)
    }

    /// Takes the value that has waited longest.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.remove(self.front?)
    }

    /// Takes the value that `ticket` names.
    pub(super) fn remove(&mut self, ticket: Ticket<T>) -> Option<T> {
        let Node { value, before, after } = self.nodes.remove(ticket)?;
        match before.and_then(|before| self.nodes.get_mut(before)) {
            Some(neighbour) => neighbour.after = after,
            None => self.front = after,
        }
        match after.and_then(|after| self.nodes.get_mut(after)) {
            Some(neighbour) => neighbour.before = before,
            None => self.back = before,
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn keeps_the_order_wherever_something_is_taken() {
        for taken in 0..5 {
            let mut queue = Queue::new();
            let tickets: Vec<_> = (0..5).map(|value| queue.push(value)).collect();
            assert_eq!(queue.remove(tickets[taken]), Some(taken));
            assert_eq!(queue.get(tickets[taken]), None);
            let last = queue.push(5);
            assert_eq!((queue.len(), queue.get(last)), (5, Some(&5)));
            let rest: Vec<_> = (0..6).filter(|value| *value != taken).collect();
            assert_eq!(queue.front(), rest.first());
            let popped: Vec<_> = core::iter::from_fn(|| queue.pop()).collect();
            assert_eq!(popped, rest);
            assert_eq!(queue.pop(), None);
            assert_eq!((queue.len(), queue.front()), (0, None));
        }
    }
}

//! The messages that a home remembers: one log of all, and the part of each topic in it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Message;
use super::queue::{Queue, Ticket};
use crate::time::Instant;

/// All retained messages in the order of their numbers, each with the topic `K` that it is from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Log<K> {
    records: Queue<Record<K>>,
    held: usize,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Record<K> {
    message: Arc<Message>,
    topic: K,
    expires: Instant,
}

/// The retained messages of one topic.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct History<K> {
    tickets: VecDeque<Ticket<Record<K>>>,
    held: usize,
    floor: u64,
}

impl<K: Copy> Log<K> {
    /// An empty log; allocates nothing.
    pub(super) fn new() -> Self {
        Self { records: Queue::new(), held: 0 }
    }

    /// How many messages are retained.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The memory of all retained messages (bytes).
    pub(super) const fn held_bytes(&self) -> usize {
        self.held
    }

    /// The topic of the oldest message, and when that expires.
    pub(super) fn oldest(&self) -> Option<(K, Instant)> {
        self.records.front().map(|record| (record.topic, record.expires))
    }

    /// Retains the newest message of all.
    pub(super) fn push(&mut self, topic: K, history: &mut History<K>, message: Arc<Message>, expires: Instant) {
        history.held += message.held_bytes();
        self.held += message.held_bytes();
        history.tickets.push_back(self.records.push(Record { message, topic, expires }));
    }

    /// Drops the oldest message of a topic: its floor rises.
    pub(super) fn drop_oldest_of(&mut self, history: &mut History<K>) {
        let Some(ticket) = history.tickets.pop_front() else { return };
        if history.tickets.is_empty() {
            history.tickets = VecDeque::new();
        }
        let Some(Record { message, .. }) = self.records.remove(ticket) else { return };
        history.floor = message.position.offset;
        history.held -= message.held_bytes();
        self.held -= message.held_bytes();
    }

    /// The retained messages of a topic after `offset`, in order.
    pub(super) fn after(&self, history: &History<K>, offset: u64) -> Vec<Arc<Message>> {
        let newest_first = history.tickets.iter().rev().filter_map(|ticket| self.records.get(*ticket));
        let mut messages: Vec<_> = newest_first
            .map(|record| &record.message)
            .take_while(|message| message.position.offset > offset)
            .cloned()
            .collect();
        messages.reverse();
        messages
    }
}

impl<K> History<K> {
    /// A history that is complete from `floor` on.
    pub(super) const fn new(floor: u64) -> Self {
        Self { tickets: VecDeque::new(), held: 0, floor }
    }

    /// How many messages are retained.
    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether no message is retained.
    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// The memory of the retained messages (bytes).
    pub(super) const fn held_bytes(&self) -> usize {
        self.held
    }

    /// All messages of the topic after this number are retained.
    pub(super) const fn floor(&self) -> u64 {
        self.floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::{Body, Epoch, Position, Topic};
    use bytes::Bytes;

    #[test]
    fn topics_share_the_log_and_each_has_its_part() {
        let (mut log, mut histories) = (Log::new(), [History::new(0), History::new(0)]);
        let topic = Topic::new("a").unwrap();
        for offset in 1..=6 {
            let position = Position { epoch: Epoch(0), offset };
            let message = Arc::new(Message::new(&topic, position, &Body::Text(Bytes::new())));
            let which = offset as usize % 2;
            log.push(which, &mut histories[which], message, Instant::from_nanos(offset));
        }
        let offsets = |messages: Vec<Arc<Message>>| messages.iter().map(|m| m.position.offset).collect::<Vec<_>>();
        log.drop_oldest_of(&mut histories[0]);
        assert_eq!(log.oldest(), Some((1, Instant::from_nanos(1))));
        assert_eq!((histories[0].floor(), histories[0].len(), log.len()), (2, 2, 5));
        assert_eq!(offsets(log.after(&histories[0], 0)), [4, 6]);
        assert_eq!(offsets(log.after(&histories[1], 3)), [5]);
        assert_eq!(log.held_bytes(), histories[0].held_bytes() + histories[1].held_bytes());
        for which in [0, 1] {
            (0..3).for_each(|_| log.drop_oldest_of(&mut histories[which]));
            assert!(histories[which].is_empty());
        }
        assert_eq!((log.len(), log.held_bytes(), log.oldest()), (0, 0, None));
    }
}

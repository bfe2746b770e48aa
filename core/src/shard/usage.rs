//! What a shard holds at the moment: for watching it, and for tests that nothing grows or stays behind.

use super::Shard;

/// What a shard holds. Counts, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Usage {
    /// Connections of both directions.
    pub connections: usize,
    /// Subscriptions of connections of this shard.
    pub subscriptions: usize,
    /// Topics that these subscriptions are in.
    pub followed_topics: usize,
    /// Topics at home here that are known.
    pub topics: usize,
    /// Messages of these topics that are remembered.
    pub messages: usize,
    /// Requests that wait for a connection to a backend.
    pub waiting: usize,
    /// Operations of the host that have not come back.
    pub operations: usize,
    /// Small files kept in memory (bytes).
    pub cached_bytes: usize,
    /// The longest queue of bytes to be written to one connection (bytes).
    pub longest_outbox: usize,
    /// The most bytes of one connection that were read and cannot be used yet (bytes).
    pub longest_leftover: usize,
}

impl Shard {
    /// What the shard holds now. Looks at every connection: O(n).
    pub fn usage(&self) -> Usage {
        let slots = || self.slots.ids().into_iter().filter_map(|conn| self.slots.get(conn));
        Usage {
            connections: self.slots.len(),
            subscriptions: self.subscribers.len(),
            followed_topics: self.subscribers.topics(),
            topics: self.home.topics(),
            messages: self.home.messages(),
            waiting: self.upstreams.iter().map(|upstream| upstream.queue.len()).sum(),
            operations: self.operations.len(),
            cached_bytes: self.cache.bytes(),
            longest_outbox: slots().map(|slot| slot.unsent().len()).max().unwrap_or(0),
            longest_leftover: slots().map(|slot| slot.leftover.len()).max().unwrap_or(0),
        }
    }
}

//! What a home should do, told with plain lists: slow, and short enough to be believed.

use std::collections::BTreeMap;

use brolly_core::pubsub::{Epoch, Limits, Position, Recovery};
use brolly_core::time::Instant;

pub(crate) struct Model {
    pub(crate) epoch: Epoch,
    pub(crate) limits: Limits,
    pub(crate) counter: u64,
    pub(crate) topics: BTreeMap<String, Known>,
    pub(crate) kept: Vec<Kept>,
    now: Instant,
    horizon: u64,
    touches: u64,
}

/// A topic that was not forgotten.
pub(crate) struct Known {
    pub(crate) audience: BTreeMap<u16, u32>,
    floor: u64,
    /// When it was last touched, and a number to order what happened at the same time.
    touched: (Instant, u64),
}

pub(crate) struct Kept {
    pub(crate) topic: String,
    pub(crate) offset: u64,
    pub(crate) held: usize,
    expires: Instant,
}

impl Model {
    pub(crate) fn new(epoch: Epoch, limits: Limits) -> Self {
        let (topics, kept) = (BTreeMap::new(), Vec::new());
        Self { epoch, limits, counter: 0, topics, kept, now: Instant::default(), horizon: 0, touches: 0 }
    }

    pub(crate) fn held(&self, topic: Option<&str>) -> usize {
        self.kept.iter().filter(|kept| topic.is_none_or(|topic| topic == kept.topic)).map(|kept| kept.held).sum()
    }

    pub(crate) fn has_room(&mut self, now: Instant, topic: &str) -> bool {
        self.now = self.now.max(now);
        if !self.topics.contains_key(topic) {
            if self.topics.len() >= self.limits.topics {
                self.forget(|_| true);
            }
            if self.topics.len() >= self.limits.topics {
                return false;
            }
            let known = Known { audience: BTreeMap::new(), floor: self.horizon, touched: (self.now, 0) };
            self.topics.insert(topic.to_owned(), known);
        }
        true
    }

    pub(crate) fn publish(&mut self, topic: &str, held: usize) {
        self.counter += 1;
        let expires = self.now + self.limits.history_age;
        self.kept.push(Kept { topic: topic.to_owned(), offset: self.counter, held, expires });
        while self.kept.iter().filter(|kept| kept.topic == topic).count() > self.limits.history_messages
            || self.held(Some(topic)) > self.limits.history_bytes.min(self.limits.total_bytes)
        {
            let oldest = self.kept.iter().position(|kept| kept.topic == topic).unwrap();
            self.drop_kept(oldest);
        }
        while self.held(None) > self.limits.total_bytes {
            self.drop_kept(0);
        }
        self.touch(topic);
    }

    pub(crate) fn join(&mut self, topic: &str, shard: u16, since: Option<Position>) -> (Option<Recovery>, Vec<u64>) {
        let known = self.topics.get_mut(topic).unwrap();
        *known.audience.entry(shard).or_default() += 1;
        let floor = known.floor;
        self.touch(topic);
        let Some(since) = since else { return (None, Vec::new()) };
        if since.epoch != self.epoch || since.offset > self.counter {
            return (Some(Recovery::Refused), Vec::new());
        }
        let missed = self.kept.iter().filter(|kept| kept.topic == topic && kept.offset > since.offset);
        let missed = missed.map(|kept| kept.offset).collect();
        if since.offset >= floor {
            return (Some(Recovery::Resumed), missed);
        }
        (Some(Recovery::Gap { from: since, to: Position { epoch: self.epoch, offset: floor } }), missed)
    }

    pub(crate) fn leave(&mut self, now: Instant, topic: &str, shard: u16) {
        self.now = self.now.max(now);
        let known = self.topics.get_mut(topic).unwrap();
        let count = known.audience.get_mut(&shard).unwrap();
        *count -= 1;
        if *count == 0 {
            known.audience.remove(&shard);
        }
        self.touch(topic);
    }

    pub(crate) fn pass_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while self.kept.first().is_some_and(|kept| kept.expires <= self.now) {
            self.drop_kept(0);
        }
        let (now, linger) = (self.now, self.limits.linger);
        while self.forget(|known| known.touched.0 + linger <= now) {}
    }

    fn drop_kept(&mut self, at: usize) {
        let Kept { topic, offset, .. } = self.kept.remove(at);
        self.topics.get_mut(&topic).unwrap().floor = offset;
        self.touch(&topic);
    }

    fn touch(&mut self, topic: &str) {
        self.touches += 1;
        self.topics.get_mut(topic).unwrap().touched = (self.now, self.touches);
    }

    /// Forgets the topic without subscribers and messages that was not touched for longest, if `when` says so.
    fn forget(&mut self, when: impl Fn(&Known) -> bool) -> bool {
        let is_kept = |name: &str| self.kept.iter().any(|kept| kept.topic == name);
        let idle = self.topics.iter().filter(|(name, known)| known.audience.is_empty() && !is_kept(name));
        let oldest = idle.min_by_key(|(_, known)| known.touched).filter(|(_, known)| when(known));
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return false };
        let forgotten = self.topics.remove(&name).unwrap();
        self.horizon = self.horizon.max(forgotten.floor);
        true
    }
}

//! The sequencer: numbers the messages of the topics that are at home here, and remembers the last of them.
//!
//! One counter numbers the messages of all topics. A topic's messages have rising numbers with holes, and a number says
//! when something happened relative to every other topic. So that a topic can be forgotten without forgetting that
//! something was forgotten, two numbers are kept:
//!
//! * `floor` of a topic: all its messages after this number are in its history. Rises when one is dropped.
//! * `horizon` of the home: the highest floor of a topic that was forgotten. The floor of a topic that is (again) new.
//!
//! A subscriber at position P of this epoch then resumes with everything after P if P ≥ floor, and otherwise misses
//! something at or below the floor: a gap.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use smallvec::SmallVec;

use super::history::{History, Log};
use super::queue::{Queue, Ticket};
use super::{Body, Epoch, JoinError, Joined, Limits, Message, Position, PublishError, Published, Recovery, Topic};
use crate::arena::{Arena, Id};
use crate::time::Instant;

/// How many messages and topics one [`Home::handle_timeout`] forgets: half a millisecond if there are a million topics
/// and none is in a cache, so that nothing else waits for long.
const FORGET_AT_ONCE: usize = 256;

/// The home of the topics whose [`Topic::home`] is this shard.
///
/// Every `now` should be at or after the one before; an earlier one counts as that.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Home {
    epoch: Epoch,
    limits: Limits,
    now: Instant,
    /// The number of the last message.
    counter: u64,
    horizon: u64,
    names: BTreeMap<Topic, Id<Channel>>,
    channels: Arena<Channel>,
    /// All retained messages, in the order of their numbers.
    log: Log<Id<Channel>>,
    /// Channels with neither subscribers nor messages, in the order in which they are to be forgotten.
    idle: Queue<Idle>,
}

/// A topic.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Channel {
    topic: Topic,
    history: History<Id<Self>>,
    /// How many subscribers each shard has, in the order of the shards; no zeros.
    audience: SmallVec<[(u16, u32); 2]>,
    /// Set exactly while it has neither subscribers nor messages.
    idle: Option<Ticket<Idle>>,
}

/// An idle channel, and when it expires.
type Idle = (Id<Channel>, Instant);

impl Home {
    /// A home where nothing happened yet. `epoch` must never have been used before: take a random one.
    pub fn new(epoch: Epoch, limits: Limits) -> Self {
        Self {
            epoch,
            limits,
            now: Instant::default(),
            counter: 0,
            horizon: 0,
            names: BTreeMap::new(),
            channels: Arena::new(),
            log: Log::new(),
            idle: Queue::new(),
        }
    }

    /// How much is remembered from now on, as far as topics get new messages.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Numbers and remembers a message.
    pub fn publish(&mut self, now: Instant, topic: &Topic, body: &Body) -> Result<Published, PublishError> {
        self.advance(now);
        let id = self.open(topic).ok_or(PublishError::TooManyTopics)?;
        self.counter += 1;
        let message = Arc::new(Message::new(topic, self.position(self.counter), body));
        self.retain(id, message.clone());
        let audience = self.channels.get(id).map(|channel| &channel.audience[..]).unwrap_or_default();
        let subscribers = audience.iter().fold(0, |sum: u32, (_, count)| sum.saturating_add(*count));
        Ok(Published { message, subscribers })
    }

    /// The shards that have subscribers of `topic`, in order.
    pub fn audience(&self, topic: &Topic) -> impl Iterator<Item = u16> + '_ {
        let channel = self.names.get(topic).and_then(|id| self.channels.get(*id));
        channel.into_iter().flat_map(|channel| &channel.audience).map(|(shard, _)| *shard)
    }

    /// Counts one more subscriber of `shard`, and looks up what it missed since it was there last.
    pub fn join(
        &mut self,
        now: Instant,
        topic: &Topic,
        shard: u16,
        since: Option<Position>,
    ) -> Result<Joined, JoinError> {
        self.advance(now);
        let id = self.open(topic).ok_or(JoinError::TooManyTopics)?;
        let (recovery, missed) = since.map(|since| self.recover(id, since)).unzip();
        if let Some(channel) = self.channels.get_mut(id) {
            match channel.audience.binary_search_by_key(&shard, |(of, _)| *of) {
                Ok(at) => {
                    if let Some((_, count)) = channel.audience.get_mut(at) {
                        *count = count.saturating_add(1);
                    }
                }
                Err(at) => channel.audience.insert(at, (shard, 1)),
            }
        }
        self.settle(id);
        Ok(Joined { position: self.position(self.counter), recovery, missed: missed.unwrap_or_default() })
    }

    /// Counts one subscriber of `shard` less. Ignored if there is none.
    pub fn leave(&mut self, now: Instant, topic: &Topic, shard: u16) {
        self.advance(now);
        let Some(id) = self.names.get(topic).copied() else { return };
        let Some(channel) = self.channels.get_mut(id) else { return };
        channel.audience.retain(|(of, count)| {
            *count -= u32::from(*of == shard);
            *count > 0
        });
        self.settle(id);
    }

    /// Forgets what is too old. Bounded: if there is more, [`poll_timeout`](Self::poll_timeout) stays due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        for _ in 0..FORGET_AT_ONCE {
            if self.log.oldest().is_some_and(|(_, expires)| expires <= self.now) {
                self.drop_oldest();
            } else if self.idle.front().is_some_and(|(_, expires)| *expires <= self.now) {
                self.forget_idlest();
            } else {
                break;
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. `None`: never, unless something happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let oldest = self.log.oldest().map(|(_, expires)| expires);
        let idle = self.idle.front().map(|(_, expires)| *expires);
        oldest.into_iter().chain(idle).min()
    }

    /// Topics known.
    pub fn topics(&self) -> usize {
        self.names.len()
    }

    /// Messages remembered.
    pub fn messages(&self) -> usize {
        self.log.len()
    }

    /// Memory of the messages remembered (bytes).
    pub const fn held_bytes(&self) -> usize {
        self.log.held_bytes()
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    const fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }

    /// The channel of `topic`, made if there is none. `None` if there is no room, even after forgetting an idle one.
    fn open(&mut self, topic: &Topic) -> Option<Id<Channel>> {
        if let Some(id) = self.names.get(topic) {
            return Some(*id);
        }
        if self.names.len() >= self.limits.topics {
            self.forget_idlest();
        }
        if self.names.len() >= self.limits.topics {
            return None;
        }
        let id = self.channels.insert(Channel {
            topic: topic.clone(),
            history: History::new(self.horizon),
            audience: SmallVec::new(),
            idle: None,
        });
        self.names.insert(topic.clone(), id);
        Some(id)
    }

    /// Puts the newest message into the history, and drops what does not fit any more.
    fn retain(&mut self, id: Id<Channel>, message: Arc<Message>) {
        let Some(Channel { history, .. }) = self.channels.get_mut(id) else { return };
        self.log.push(id, history, message, self.now + self.limits.history_age);
        // An oversized message takes only its own topic's history with it, not everybody's.
        let most = self.limits.history_bytes.min(self.limits.total_bytes);
        while history.len() > self.limits.history_messages || history.held_bytes() > most {
            self.log.drop_oldest_of(history);
        }
        while self.log.held_bytes() > self.limits.total_bytes && self.drop_oldest().is_some() {}
        self.settle(id);
    }

    /// What a subscriber at `since` can get.
    fn recover(&self, id: Id<Channel>, since: Position) -> (Recovery, Vec<Arc<Message>>) {
        let known = since.epoch == self.epoch && since.offset <= self.counter;
        let Some(Channel { history, .. }) = self.channels.get(id).filter(|_| known) else {
            return (Recovery::Refused, Vec::new());
        };
        let recovery = if since.offset < history.floor() {
            Recovery::Gap { from: since, to: self.position(history.floor()) }
        } else {
            Recovery::Resumed
        };
        (recovery, self.log.after(history, since.offset))
    }

    /// Drops the oldest of all messages. `None` if there is none.
    fn drop_oldest(&mut self) -> Option<()> {
        let (id, _) = self.log.oldest()?;
        self.log.drop_oldest_of(&mut self.channels.get_mut(id)?.history);
        self.settle(id);
        Some(())
    }

    /// After a change: a channel with neither subscribers nor messages starts to linger, any other does not.
    fn settle(&mut self, id: Id<Channel>) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        if let Some(ticket) = channel.idle.take() {
            self.idle.remove(ticket);
        }
        if channel.history.is_empty() && channel.audience.is_empty() {
            let expires = self.now + self.limits.linger;
            channel.idle = Some(self.idle.push((id, expires)));
        }
    }

    /// Forgets the channel that has been idle for longest, if there is one.
    fn forget_idlest(&mut self) {
        let Some((channel, _)) = self.idle.pop() else { return };
        let Some(channel) = self.channels.remove(channel) else { return };
        self.horizon = self.horizon.max(channel.history.floor());
        self.names.remove(&channel.topic);
        if self.names.is_empty() {
            // Nobody holds an id: the storage can go, too.
            self.channels = Arena::new();
            self.log = Log::new();
            self.idle = Queue::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use bytes::Bytes;
    use core::time::Duration;

    const EPOCH: Epoch = Epoch(7);

    fn home(limits: Limits) -> Home {
        Home::new(EPOCH, limits)
    }

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn publish(home: &mut Home, seconds: u64, name: &str) -> u64 {
        let body = Body::Text(Bytes::from_static(b"hello"));
        home.publish(at(seconds), &topic(name), &body).unwrap().message.position.offset
    }

    /// Joins and leaves again; says what was missed.
    fn resume(home: &mut Home, seconds: u64, name: &str, epoch: Epoch, offset: u64) -> (Recovery, Vec<u64>) {
        let joined = home.join(at(seconds), &topic(name), 0, Some(Position { epoch, offset })).unwrap();
        home.leave(at(seconds), &topic(name), 0);
        (joined.recovery.unwrap(), joined.missed.iter().map(|message| message.position.offset).collect())
    }

    fn gap(from: u64, to: u64) -> Recovery {
        let position = |offset| Position { epoch: EPOCH, offset };
        Recovery::Gap { from: position(from), to: position(to) }
    }

    #[test]
    fn a_position_is_resumed_or_a_gap_or_refused() {
        let mut home = home(Limits { history_messages: 2, ..Limits::default() });
        for name in ["a", "b", "a", "a", "b"] {
            publish(&mut home, 0, name);
        }
        assert_eq!(resume(&mut home, 0, "a", EPOCH, 0), (gap(0, 1), Vec::from([3, 4])));
        assert_eq!(resume(&mut home, 0, "a", EPOCH, 1), (Recovery::Resumed, Vec::from([3, 4])));
        assert_eq!(resume(&mut home, 0, "a", EPOCH, 3), (Recovery::Resumed, Vec::from([4])));
        assert_eq!(resume(&mut home, 0, "a", EPOCH, 5), (Recovery::Resumed, Vec::new()));
        assert_eq!(resume(&mut home, 0, "a", EPOCH, 6), (Recovery::Refused, Vec::new()));
        assert_eq!(resume(&mut home, 0, "a", Epoch(8), 3), (Recovery::Refused, Vec::new()));
        assert_eq!(resume(&mut home, 0, "new", EPOCH, 0), (Recovery::Resumed, Vec::new()));
        let joined = home.join(at(0), &topic("a"), 0, None).unwrap();
        assert_eq!((joined.recovery, joined.missed.len(), joined.position.offset), (None, 0, 5));
    }

    #[test]
    fn what_was_forgotten_is_a_gap_for_ever() {
        let limits =
            Limits { history_age: Duration::from_secs(10), linger: Duration::from_secs(5), ..Limits::default() };
        let mut home = home(limits);
        assert_eq!((publish(&mut home, 0, "a"), publish(&mut home, 3, "b")), (1, 2));
        assert_eq!(home.poll_timeout(), Some(at(10)));
        home.handle_timeout(at(10));
        assert_eq!((home.topics(), home.messages(), home.poll_timeout()), (2, 1, Some(at(13))));
        assert_eq!(resume(&mut home, 10, "a", EPOCH, 0), (gap(0, 1), Vec::new()));
        home.handle_timeout(at(17));
        assert_eq!((home.topics(), home.messages(), home.held_bytes()), (1, 0, 0));
        assert_eq!(resume(&mut home, 17, "a", EPOCH, 0), (gap(0, 1), Vec::new()));
        assert_eq!(resume(&mut home, 17, "a", EPOCH, 1), (Recovery::Resumed, Vec::new()));
        home.handle_timeout(at(30));
        assert_eq!((home.topics(), home.poll_timeout()), (0, None));
        assert_eq!(resume(&mut home, 30, "a", EPOCH, 1), (gap(1, 2), Vec::new()));
        assert_eq!(resume(&mut home, 30, "a", EPOCH, 2), (Recovery::Resumed, Vec::new()));
    }

    #[test]
    fn the_oldest_of_all_go_first() {
        let mut home = home(Limits::default());
        publish(&mut home, 0, "a");
        let held = home.held_bytes();
        home.limits.total_bytes = 3 * held;
        home.limits.history_bytes = 2 * held;
        for name in ["b", "a", "b", "a", "c"] {
            publish(&mut home, 0, name);
        }
        assert_eq!((home.messages(), home.held_bytes()), (3, 3 * held));
        assert_eq!(resume(&mut home, 0, "a", EPOCH, 0), (gap(0, 3), Vec::from([5])));
        assert_eq!(resume(&mut home, 0, "b", EPOCH, 2), (Recovery::Resumed, Vec::from([4])));
        let large = Body::Text(Bytes::from(alloc::vec![b'x'; 4 * held]));
        home.publish(at(0), &topic("b"), &large).unwrap();
        assert_eq!(resume(&mut home, 0, "b", EPOCH, 4), (gap(4, 7), Vec::new()));
        assert_eq!(resume(&mut home, 0, "a", EPOCH, 3), (Recovery::Resumed, Vec::from([5])));
    }

    #[test]
    fn the_audience_is_counted_by_shard() {
        let mut home = home(Limits::default());
        let audience = |home: &Home| home.audience(&topic("a")).collect::<Vec<_>>();
        for shard in [3, 1, 3, 2] {
            home.join(at(0), &topic("a"), shard, None).unwrap();
        }
        assert_eq!(audience(&home), [1, 2, 3]);
        assert_eq!(home.publish(at(0), &topic("a"), &Body::Text(Bytes::new())).unwrap().subscribers, 4);
        for (shard, left) in [(3, &[1, 2, 3][..]), (1, &[2, 3]), (1, &[2, 3]), (3, &[2]), (2, &[])] {
            home.leave(at(0), &topic("a"), shard);
            assert_eq!(audience(&home), left);
        }
        assert_eq!(home.audience(&topic("unknown")).count(), 0);
    }

    #[test]
    fn when_there_are_too_many_topics_the_idle_make_room() {
        let mut home = home(Limits { topics: 2, ..Limits::default() });
        publish(&mut home, 0, "a");
        resume(&mut home, 0, "b", EPOCH, 0);
        resume(&mut home, 0, "c", EPOCH, 0);
        home.join(at(0), &topic("c"), 0, None).unwrap();
        assert_eq!(home.join(at(0), &topic("b"), 0, None), Err(JoinError::TooManyTopics));
        let body = Body::Text(Bytes::new());
        assert_eq!(home.publish(at(0), &topic("b"), &body), Err(PublishError::TooManyTopics));
        assert_eq!((publish(&mut home, 0, "a"), home.topics()), (2, 2));
    }

    #[test]
    fn a_million_short_lived_names_leave_nothing() {
        let mut home = home(Limits { history_messages: 0, ..Limits::default() });
        let empty = home.clone();
        for number in 0..1_000_000 {
            let topic = topic(&format!("{number}"));
            home.join(at(0), &topic, 0, None).unwrap();
            home.leave(at(0), &topic, 0);
        }
        assert_eq!(home.topics(), 1_000_000);
        while home.poll_timeout().is_some() {
            let before = home.topics();
            home.handle_timeout(at(60));
            assert!((1..=FORGET_AT_ONCE).contains(&(before - home.topics())));
        }
        home.now = empty.now;
        assert_eq!(home, empty);
    }
}

//! The subscribers of one shard: a cursor for each, and the fan-out.
//!
//! The cursor decides alone who gets a message: those whose cursor is below its number. A subscriber is
//!
//! * *pending* from [`subscribe`](Subscribers::subscribe) until its home answered: its cursor is out of reach. What it
//!   missed is handed over now, [`catch_up`](Subscribers::catch_up) after each message, so that its token is right
//!   whenever the connection breaks;
//! * *live* from [`joined`](Subscribers::joined) on, at the home's position: what the home published before its answer
//!   is below the cursor even if it is still being fanned out here, and what it published after will arrive after.
//!
//! One fan-out is in progress at a time. It walks the topic's entries from 0; those before `next` are done:
//!
//! ```text
//!   done done HOLE done done│todo todo todo          an entry is removed that was done:
//!              ▲         │  │▲          │            the last done fills the hole, the last of all fills its place,
//!              └─────────┘  next        │            and next steps back, so that this one is still to do
//!                        ▲──────────────┘
//! ```

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::position::TokenWriter;
use super::{Epoch, Message, Position, Topic};
use crate::arena::{Arena, Id};

/// The cursor of a pending subscriber: no message is beyond it.
const PENDING: u64 = u64::MAX;

/// Names a subscription: one connection in one topic. Stale after it was unsubscribed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberId(u64);

/// The subscribers of one shard, on connections named by `C`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Subscribers<C> {
    names: BTreeMap<Topic, Id<Audience<C>>>,
    audiences: Arena<Audience<C>>,
    members: Arena<Member<C>>,
    /// Messages to be fanned out; the first one is in progress.
    queue: VecDeque<(Id<Audience<C>>, Arc<Message>)>,
    /// How many entries have been walked for the first message of the queue.
    next: usize,
}

/// The subscribers of one topic.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Audience<C> {
    topic: Topic,
    fingerprint: u32,
    epoch: Epoch,
    entries: Vec<Entry<C>>,
}

/// What the fan-out needs to know of a subscriber: dense in memory.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Entry<C> {
    conn: C,
    cursor: u64,
    member: MemberId,
}

/// What is known of a subscription besides its [`Entry`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Member<C> {
    audience: Id<Audience<C>>,
    /// Where its entry is in the audience.
    place: usize,
    /// Where a pending subscriber is.
    since: Option<Position>,
}

/// A message for one subscriber.
#[derive(Debug)]
pub struct Delivery<'a, C> {
    /// The connection that gets it.
    pub conn: C,
    /// Its subscription.
    pub member: MemberId,
    /// The message.
    pub message: &'a Arc<Message>,
    /// All subscribers, this delivery included: for the [`token`](Subscribers::token) of a connection with several topics.
    pub subscribers: &'a Subscribers<C>,
}

impl<C> Default for Subscribers<C> {
    fn default() -> Self {
        Self { names: BTreeMap::new(), audiences: Arena::new(), members: Arena::new(), queue: VecDeque::new(), next: 0 }
    }
}

impl<C: Copy + Eq> Subscribers<C> {
    /// Nobody; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pending subscriber, who was at `since` when last seen. The caller asks the home to let it join, and then
    /// calls [`joined`](Self::joined), or [`unsubscribe`](Self::unsubscribe) if the home refuses.
    pub fn subscribe(&mut self, conn: C, topic: &Topic, since: Option<Position>) -> MemberId {
        let audience = match self.names.get(topic) {
            Some(id) => *id,
            None => {
                let (topic, fingerprint) = (topic.clone(), topic.fingerprint());
                let entries = Vec::new();
                let id =
                    self.audiences.insert(Audience { topic: topic.clone(), fingerprint, epoch: Epoch(0), entries });
                self.names.insert(topic, id);
                id
            }
        };
        let entries = self.audiences.get_mut(audience).map(|audience| &mut audience.entries);
        let place = entries.as_ref().map_or(0, |entries| entries.len());
        let member = MemberId(self.members.insert(Member { audience, place, since }).to_u64());
        if let Some(entries) = entries {
            entries.push(Entry { conn, cursor: PENDING, member });
        }
        member
    }

    /// The subscriber has caught up, and is live from `position` on. Call it before the next mail of that home is looked
    /// at. `false` if the subscriber has gone meanwhile: then it must leave at the home.
    pub fn joined(&mut self, member: MemberId, position: Position) -> bool {
        let Some(Member { audience, place, since }) = self.members.get_mut(Id::from_u64(member.0)) else {
            return false;
        };
        if let Some(audience) = self.audiences.get_mut(*audience)
            && let Some(entry) = audience.entries.get_mut(*place)
            && entry.cursor == PENDING
        {
            entry.cursor = position.offset;
            audience.epoch = position.epoch;
            *since = None;
        }
        true
    }

    /// A message that the subscriber had missed was handed over to it, or it was told of a gap up to there.
    pub fn catch_up(&mut self, member: MemberId, offset: u64) {
        let Some(Member { audience, place, since }) = self.members.get_mut(Id::from_u64(member.0)) else { return };
        let entries = self.audiences.get_mut(*audience).map(|audience| &mut audience.entries);
        let Some(entry) = entries.and_then(|entries| entries.get_mut(*place)) else { return };
        if entry.cursor != PENDING {
            entry.cursor = entry.cursor.max(offset);
        } else if let Some(since) = since {
            since.offset = since.offset.max(offset);
        }
    }

    /// Removes a subscriber. If it was live its topic is returned, and it must leave at the home. If it was pending
    /// there is nothing to do until the home answers, and [`joined`](Self::joined) says so.
    pub fn unsubscribe(&mut self, member: MemberId) -> Option<Topic> {
        let Member { audience: id, mut place, .. } = self.members.remove(Id::from_u64(member.0))?;
        let audience = self.audiences.get_mut(id)?;
        if self.queue.front().is_some_and(|(of, _)| *of == id) && place < self.next {
            self.next -= 1;
            swap(&mut self.members, &mut audience.entries, place, self.next);
            place = self.next;
        }
        let last = audience.entries.len().checked_sub(1)?;
        swap(&mut self.members, &mut audience.entries, place, last);
        let entry = audience.entries.pop()?;
        let live_in = (entry.cursor != PENDING).then(|| audience.topic.clone());
        if audience.entries.is_empty()
            && let Some(audience) = self.audiences.remove(id)
        {
            self.names.remove(&audience.topic);
        }
        live_in
    }

    /// Queues a message from the topic's home, to be fanned out after those before it. What the queue holds is bounded
    /// by the mailbox that feeds it, if nothing is taken from there while [`is_pending`](Self::is_pending).
    pub fn deliver(&mut self, message: Arc<Message>) {
        if let Some(id) = self.names.get(&message.topic) {
            self.queue.push_back((*id, message));
        }
    }

    /// Hands messages to their subscribers: looks at no more than `budget` subscribers, and says at how many.
    pub fn fan_out(&mut self, budget: usize, mut hand_over: impl FnMut(Delivery<'_, C>)) -> usize {
        let mut looked_at = 0;
        while looked_at < budget && !self.queue.is_empty() {
            looked_at += 1;
            if let Some(Entry { conn, member, .. }) = self.step()
                && let Some((_, message)) = self.queue.front()
            {
                hand_over(Delivery { conn, member, message, subscribers: self });
            }
        }
        looked_at
    }

    /// Whether there is something to fan out.
    pub fn is_pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Appends a token that covers `members` to `out`: what was delivered to each, or what it came with while it is
    /// pending. Appends nothing if that is nothing. More than [`MAX_TOPICS`](super::MAX_TOPICS) make a token that will
    /// be refused.
    pub fn token(&self, members: &[MemberId], out: &mut Vec<u8>) {
        let mut writer = TokenWriter::new(out);
        for member in members {
            if let Some((audience, entry, since)) = self.find(*member)
                && let Some(position) = entry.position(audience.epoch, since)
            {
                writer.push(audience.fingerprint, position);
            }
        }
    }

    /// Where a subscriber is. `None`: gone, or pending without having been anywhere.
    pub fn position(&self, member: MemberId) -> Option<Position> {
        let (audience, entry, since) = self.find(member)?;
        entry.position(audience.epoch, since)
    }

    /// The connection of a subscriber, unless it has gone.
    pub fn conn(&self, member: MemberId) -> Option<C> {
        self.find(member).map(|(_, entry, _)| entry.conn)
    }

    /// The topic of a subscriber, unless it has gone.
    pub fn topic(&self, member: MemberId) -> Option<&Topic> {
        self.find(member).map(|(audience, _, _)| &audience.topic)
    }

    /// How many subscribers there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many topics they are in.
    pub fn topics(&self) -> usize {
        self.names.len()
    }

    /// Looks at the next subscriber of the message in progress; says if it gets it.
    fn step(&mut self) -> Option<Entry<C>> {
        let (id, message) = self.queue.front()?;
        let entries = self.audiences.get_mut(*id).map(|audience| &mut audience.entries);
        let Some(entry) = entries.and_then(|entries| entries.get_mut(self.next)) else {
            self.queue.pop_front();
            self.next = 0;
            return None;
        };
        self.next += 1;
        if entry.cursor >= message.position.offset {
            return None;
        }
        entry.cursor = message.position.offset;
        Some(*entry)
    }

    fn find(&self, member: MemberId) -> Option<(&Audience<C>, &Entry<C>, Option<Position>)> {
        let member = self.members.get(Id::from_u64(member.0))?;
        let audience = self.audiences.get(member.audience)?;
        Some((audience, audience.entries.get(member.place)?, member.since))
    }
}

impl<C> Entry<C> {
    fn position(&self, epoch: Epoch, since: Option<Position>) -> Option<Position> {
        if self.cursor == PENDING { since } else { Some(Position { epoch, offset: self.cursor }) }
    }
}

/// Swaps two entries, and tells their members where they are now.
fn swap<C>(members: &mut Arena<Member<C>>, entries: &mut [Entry<C>], one: usize, other: usize) {
    if one >= entries.len() || other >= entries.len() {
        return;
    }
    entries.swap(one, other);
    for place in [one, other] {
        if let Some(entry) = entries.get(place)
            && let Some(member) = members.get_mut(Id::from_u64(entry.member.0))
        {
            member.place = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::{Body, Positions};
    use bytes::Bytes;

    const EPOCH: Epoch = Epoch(7);

    fn at(offset: u64) -> Position {
        Position { epoch: EPOCH, offset }
    }

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn message(name: &str, offset: u64) -> Arc<Message> {
        Arc::new(Message::new(&topic(name), at(offset), &Body::Text(Bytes::new())))
    }

    fn fan_out(subscribers: &mut Subscribers<u32>, budget: usize) -> Vec<(u32, u64)> {
        let mut got = Vec::new();
        subscribers.fan_out(budget, |delivery| got.push((delivery.conn, delivery.message.position.offset)));
        got
    }

    #[test]
    fn removing_during_a_fan_out_loses_and_repeats_nothing() {
        // Every size, every moment, every pair of victims.
        for size in 1..6 {
            for (moment, one, other) in
                (0..=size).flat_map(|m| (0..size).flat_map(move |o| (0..size).map(move |p| (m, o, p))))
            {
                let mut subscribers = Subscribers::new();
                let members: Vec<_> = (0..size).map(|conn| subscribers.subscribe(conn, &topic("a"), None)).collect();
                assert!(members.iter().all(|member| subscribers.joined(*member, at(0))));
                subscribers.deliver(message("a", 1));
                subscribers.deliver(message("a", 2));
                let mut got = fan_out(&mut subscribers, moment as usize);
                for victim in [one, other] {
                    subscribers.unsubscribe(members[victim as usize]);
                    got.extend(fan_out(&mut subscribers, 1));
                }
                got.extend(fan_out(&mut subscribers, 100));
                assert!(!subscribers.is_pending());
                for conn in (0..size).filter(|conn| ![one, other].contains(conn)) {
                    let of_conn: Vec<_> = got.iter().filter(|(to, _)| *to == conn).map(|(_, offset)| *offset).collect();
                    assert_eq!(of_conn, [1, 2], "{conn} of {size} at {moment} without {one}, {other}");
                    assert_eq!(subscribers.conn(members[conn as usize]), Some(conn));
                }
                got.sort_unstable();
                got.dedup_by(|a, b| a == b && panic!("repeated"));
            }
        }
    }

    #[test]
    fn a_pending_subscriber_gets_nothing_and_keeps_its_place() {
        let mut subscribers = Subscribers::new();
        let member = subscribers.subscribe(1, &topic("a"), Some(at(3)));
        subscribers.deliver(message("a", 4));
        assert_eq!(fan_out(&mut subscribers, 10), []);
        assert_eq!(subscribers.position(member), Some(at(3)));
        subscribers.catch_up(member, 4);
        subscribers.catch_up(member, 2);
        assert_eq!(subscribers.position(member), Some(at(4)));
        subscribers.deliver(message("a", 5));
        assert!(subscribers.joined(member, at(5)));
        subscribers.deliver(message("a", 6));
        assert_eq!(fan_out(&mut subscribers, 10), [(1, 6)]);
        assert_eq!(subscribers.position(member), Some(at(6)));
    }

    #[test]
    fn who_goes_while_pending_leaves_when_the_home_has_answered() {
        let mut subscribers = Subscribers::new();
        let [pending, live] = [1, 2].map(|conn| subscribers.subscribe(conn, &topic("a"), None));
        assert!(subscribers.joined(live, at(0)));
        assert_eq!(subscribers.unsubscribe(pending), None);
        assert!(!subscribers.joined(pending, at(0)));
        assert_eq!(subscribers.unsubscribe(live), Some(topic("a")));
        assert_eq!(subscribers.unsubscribe(live), None);
        assert_eq!((subscribers.len(), subscribers.topics(), subscribers.topic(live)), (0, 0, None));
    }

    #[test]
    fn a_token_covers_several_topics_and_epochs() {
        let mut subscribers = Subscribers::new();
        let old = Position { epoch: Epoch(6), offset: 9 };
        let since = [None, Some(at(2)), Some(old), None];
        let members: Vec<_> = since
            .iter()
            .zip(["a", "b", "c", "d"])
            .map(|(since, name)| subscribers.subscribe(1, &topic(name), *since))
            .collect();
        subscribers.joined(members[0], at(4));
        subscribers.deliver(message("a", 5));
        let mut token = Vec::new();
        subscribers.fan_out(10, |delivery| delivery.subscribers.token(&members, &mut token));
        let positions = Positions::parse(&token).unwrap();
        let found: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| positions.lookup(&topic(name))).collect();
        assert_eq!(found, [Some(at(5)), Some(at(2)), Some(old), None]);
    }
}

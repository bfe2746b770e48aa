//! Some shards, late mail between them, and clients that write down what they get.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use brolly_core::pubsub::{
    Body, Epoch, Home, Joined, Limits, MemberId, Message, Position, Positions, Recovery, Subscribers, Topic,
};
use brolly_core::time::Instant;

use crate::model::Model;

pub(crate) const TOPICS: [&str; 5] = ["a", "b", "news/ä", "\"", "☂"];
pub(crate) const EPOCH: Epoch = Epoch(0xe);

pub(crate) struct World {
    pub(crate) now: Instant,
    shards: Vec<Shard>,
    /// Mail that is under way, by sender and receiver.
    to_home: BTreeMap<(u16, u16), VecDeque<ToHome>>,
    to_shard: BTreeMap<(u16, u16), VecDeque<ToShard>>,
    clients: BTreeMap<(u32, Topic), Client>,
    /// Every message ever published.
    published: BTreeMap<Topic, Vec<u64>>,
    weak: Vec<Weak<Message>>,
}

struct Shard {
    home: Home,
    model: Model,
    subscribers: Subscribers<u32>,
}

enum ToHome {
    Join { member: MemberId, client: u32, topic: Topic, since: Option<Position> },
    Leave { topic: Topic },
}

enum ToShard {
    Joined { member: MemberId, client: u32, topic: Topic, since: Option<Position>, joined: Joined },
    Message(Arc<Message>),
    TooManyTopics { member: MemberId, client: u32, topic: Topic },
}

/// A client's side of one topic, over all its connections.
struct Client {
    /// Ids are those of a shard.
    member: (u16, MemberId),
    /// It should have seen everything after this, up to its position, and nothing else.
    start: Option<u64>,
    seen: Vec<u64>,
    /// Breaks its connection after the first message of the next replay.
    breaks: bool,
}

impl World {
    pub(crate) fn new(shards: u16, limits: Limits) -> Self {
        let shard = |_| Shard {
            home: Home::new(EPOCH, limits),
            model: Model::new(EPOCH, limits),
            subscribers: Subscribers::new(),
        };
        Self {
            now: Instant::default(),
            shards: (0..shards).map(shard).collect(),
            to_home: BTreeMap::new(),
            to_shard: BTreeMap::new(),
            clients: BTreeMap::new(),
            published: BTreeMap::new(),
            weak: Vec::new(),
        }
    }

    pub(crate) fn counter(&self, topic: &Topic) -> u64 {
        self.shards[self.home_of(topic)].model.counter
    }

    pub(crate) fn subscribe(&mut self, client: u32, shard: u16, topic: &Topic, since: Option<Position>) {
        if !self.clients.contains_key(&(client, topic.clone())) {
            self.open(client, shard, topic, since, None, Vec::new());
        }
    }

    pub(crate) fn unsubscribe(&mut self, client: u32, topic: &Topic) {
        if let Some(Client { member: (shard, member), start, seen, .. }) = self.clients.remove(&(client, topic.clone()))
        {
            self.check_seen(topic, start, &seen);
            let left = self.shards[usize::from(shard)].subscribers.unsubscribe(member);
            if let Some(topic) = left {
                self.mail_home(shard, &topic.clone(), ToHome::Leave { topic });
            }
        }
    }

    /// The connection breaks, and the client comes back on another shard with its token.
    pub(crate) fn reconnect(&mut self, client: u32, to: u16) {
        for shard in 0..self.shards.len() as u16 {
            let mine = |of: &u32, held: &Client| *of == client && held.member.0 == shard;
            let held = self.clients.iter().filter(|((of, _), held)| mine(of, held));
            let (topics, members): (Vec<_>, Vec<_>) = held.map(|((_, topic), c)| (topic.clone(), c.member.1)).unzip();
            let mut token = Vec::new();
            self.shards[usize::from(shard)].subscribers.token(&members, &mut token);
            let positions = if token.is_empty() { Positions::new() } else { Positions::parse(&token).unwrap() };
            for topic in topics {
                let since = positions.lookup(&topic);
                let old = &self.clients[&(client, topic.clone())];
                let (start, seen) = (old.start, old.seen.clone());
                if let Some((start, since)) = start.zip(since).filter(|(_, since)| since.epoch == EPOCH) {
                    assert!(since.offset >= seen.last().copied().unwrap_or(start), "the token is behind");
                }
                self.unsubscribe(client, &topic);
                self.open(client, to, &topic, since, start, seen);
            }
        }
    }

    pub(crate) fn break_next_replay(&mut self, client: u32) {
        self.clients.iter_mut().filter(|((of, _), _)| *of == client).for_each(|(_, client)| client.breaks = true);
    }

    pub(crate) fn publish(&mut self, topic: &Topic, size: usize) {
        let (now, home) = (self.now, self.home_of(topic));
        let Shard { home: machine, model, .. } = &mut self.shards[home];
        let body = Body::from_content(Some(b"text/plain"), &vec![b'x'; size]).unwrap();
        let answer = machine.publish(now, topic, &body);
        assert_eq!(answer.is_ok(), model.has_room(now, topic.as_str()));
        let Ok(published) = answer else { return };
        model.publish(topic.as_str(), published.message.held_bytes());
        assert_eq!(published.message.position, Position { epoch: EPOCH, offset: model.counter });
        let audience = &model.topics[topic.as_str()].audience;
        assert_eq!(published.subscribers, audience.values().sum::<u32>());
        self.weak.push(Arc::downgrade(&published.message));
        self.published.entry(topic.clone()).or_default().push(model.counter);
        for shard in machine.audience(topic) {
            let mail = self.to_shard.entry((home as u16, shard)).or_default();
            mail.push_back(ToShard::Message(published.message.clone()));
        }
    }

    pub(crate) fn pass_time(&mut self) {
        for Shard { home, model, .. } in &mut self.shards {
            home.handle_timeout(self.now);
            model.pass_time(self.now);
        }
    }

    pub(crate) fn fan_out(&mut self, shard: u16, budget: usize) -> usize {
        let clients = &mut self.clients;
        self.shards[usize::from(shard)].subscribers.fan_out(budget, |delivery| {
            let client = clients.get_mut(&(delivery.conn, delivery.message.topic.clone()));
            let client =
                client.filter(|client| client.member == (shard, delivery.member)).expect("nobody was there any more");
            client.seen.push(delivery.message.position.offset);
            assert_eq!(delivery.subscribers.position(delivery.member), Some(delivery.message.position));
        })
    }

    pub(crate) fn carry_to_home(&mut self, from: u16, to: u16) -> bool {
        let Some(mail) = self.to_home.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return false };
        let Shard { home, model, .. } = &mut self.shards[usize::from(to)];
        let (ToHome::Join { ref topic, .. } | ToHome::Leave { ref topic }) = mail;
        let name = topic.as_str();
        let answer = match mail {
            ToHome::Leave { ref topic } => {
                home.leave(self.now, topic, from);
                return (model.leave(self.now, name, from), true).1;
            }
            ToHome::Join { member, client, ref topic, since } => match home.join(self.now, topic, from, since) {
                Ok(joined) => {
                    assert!(model.has_room(self.now, name));
                    let missed: Vec<_> = joined.missed.iter().map(|message| message.position.offset).collect();
                    assert_eq!((joined.recovery, missed), model.join(name, from, since));
                    assert_eq!(joined.position, Position { epoch: EPOCH, offset: model.counter });
                    ToShard::Joined { member, client, topic: topic.clone(), since, joined }
                }
                Err(_) => {
                    assert!(!model.has_room(self.now, name));
                    ToShard::TooManyTopics { member, client, topic: topic.clone() }
                }
            },
        };
        self.to_shard.entry((to, from)).or_default().push_back(answer);
        true
    }

    pub(crate) fn carry_to_shard(&mut self, from: u16, to: u16) -> bool {
        let Some(mail) = self.to_shard.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return false };
        match mail {
            ToShard::Joined { member, client, topic, since, joined } => {
                self.replay(to, member, client, &topic, since, &joined);
                if !self.shards[usize::from(to)].subscribers.joined(member, joined.position) {
                    self.mail_home(to, &topic.clone(), ToHome::Leave { topic });
                }
            }
            ToShard::Message(message) => self.shards[usize::from(to)].subscribers.deliver(message),
            ToShard::TooManyTopics { member, client, topic } => {
                let subscribers = &mut self.shards[usize::from(to)].subscribers;
                assert_eq!(subscribers.unsubscribe(member), None);
                self.clients.retain(|(of, on), held| *of != client || *on != topic || held.member != (to, member));
            }
        }
        true
    }

    /// Hands over what was missed, while the subscriber is still pending.
    fn replay(
        &mut self,
        shard: u16,
        member: MemberId,
        id: u32,
        topic: &Topic,
        since: Option<Position>,
        joined: &Joined,
    ) {
        let key = (id, topic.clone());
        let Some(client) = self.clients.get_mut(&key).filter(|client| client.member == (shard, member)) else { return };
        let subscribers = &mut self.shards[usize::from(shard)].subscribers;
        let restart = match joined.recovery {
            Some(Recovery::Resumed) => client.start.is_none().then(|| since.unwrap().offset),
            Some(Recovery::Gap { to, .. }) => {
                subscribers.catch_up(member, to.offset);
                Some(to.offset)
            }
            None | Some(Recovery::Refused) => Some(joined.position.offset),
        };
        if let Some(start) = restart {
            client.start = Some(start);
            client.seen.clear();
        }
        for message in &joined.missed {
            client.seen.push(message.position.offset);
            subscribers.catch_up(member, message.position.offset);
            assert_eq!(subscribers.position(member), Some(message.position));
            if std::mem::take(&mut client.breaks) {
                return self.reconnect(id, shard);
            }
        }
    }

    /// Carries and fans out until nothing is under way.
    pub(crate) fn drain(&mut self) {
        let shards = self.shards.len() as u16;
        let pairs: Vec<_> = (0..shards).flat_map(|from| (0..shards).map(move |to| (from, to))).collect();
        while pairs.iter().any(|&(from, to)| {
            self.carry_to_home(from, to) || self.carry_to_shard(from, to) || self.fan_out(to, usize::MAX) > 0
        }) {}
    }

    /// When nothing is under way, everybody has seen everything.
    pub(crate) fn check_complete(&self) {
        for ((_, topic), client) in &self.clients {
            let start = client.start.expect("joined");
            assert_eq!(client.seen, self.published_after(topic, start));
            let (shard, member) = client.member;
            let position = self.shards[usize::from(shard)].subscribers.position(member).unwrap();
            assert!(position.offset >= client.seen.last().copied().unwrap_or(start));
        }
    }

    pub(crate) fn check_limits(&self) {
        for Shard { home, model, .. } in &self.shards {
            assert_eq!(home.topics(), model.topics.len());
            assert_eq!((home.messages(), home.held_bytes()), (model.kept.len(), model.held(None)));
            assert!(home.topics() <= model.limits.topics && home.held_bytes() <= model.limits.total_bytes);
            for name in TOPICS {
                let audience = model.topics.get(name).map(|known| known.audience.keys().copied().collect::<Vec<_>>());
                let actual = home.audience(&Topic::new(name).unwrap()).collect::<Vec<_>>();
                assert_eq!(actual, audience.unwrap_or_default());
                assert!(model.held(Some(name)) <= model.limits.history_bytes);
            }
        }
    }

    /// Everybody leaves, time passes: nothing is left.
    pub(crate) fn check_end(mut self) {
        for (client, topic) in self.clients.keys().cloned().collect::<Vec<_>>() {
            self.unsubscribe(client, &topic);
        }
        self.drain();
        for _ in 0..2 {
            self.now = self.now + Duration::from_secs(10_000);
            self.pass_time();
        }
        for Shard { home, subscribers, .. } in &self.shards {
            assert_eq!((home.topics(), home.messages(), home.held_bytes(), home.poll_timeout()), (0, 0, 0, None));
            assert!(subscribers.is_empty() && subscribers.topics() == 0 && !subscribers.is_pending());
        }
        assert!(self.weak.iter().all(|message| message.strong_count() == 0));
    }

    fn open(
        &mut self,
        id: u32,
        shard: u16,
        topic: &Topic,
        since: Option<Position>,
        start: Option<u64>,
        seen: Vec<u64>,
    ) {
        let member = self.shards[usize::from(shard)].subscribers.subscribe(id, topic, since);
        self.clients.insert((id, topic.clone()), Client { member: (shard, member), start, seen, breaks: false });
        self.mail_home(shard, topic, ToHome::Join { member, client: id, topic: topic.clone(), since });
    }

    fn mail_home(&mut self, from: u16, topic: &Topic, mail: ToHome) {
        let home = self.home_of(topic) as u16;
        self.to_home.entry((from, home)).or_default().push_back(mail);
    }

    fn home_of(&self, topic: &Topic) -> usize {
        usize::from(topic.home(self.shards.len() as u16))
    }

    fn published_after(&self, topic: &Topic, start: u64) -> Vec<u64> {
        let published = self.published.get(topic).into_iter().flatten();
        published.copied().filter(|offset| *offset > start).collect()
    }

    /// What was seen has no hole, no repetition, and the right order.
    fn check_seen(&self, topic: &Topic, start: Option<u64>, seen: &[u64]) {
        match start {
            Some(start) => assert!(self.published_after(topic, start).starts_with(seen)),
            None => assert!(seen.is_empty()),
        }
    }
}

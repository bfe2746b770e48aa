//! What is done to a connection, on the shard that has it. What comes before its user is known waits until then, but for topics: they are
//! followed at once, and what is published is held.

use super::super::calls::SocketKind;
use super::super::follow::Members;
use super::super::slot::{Exchange, Role, Slot};
use super::super::{ConnId, HIGH_WATER, Shard};
use super::forward::authorization;
use super::{Held, Order, Outcome, Place, Reply};
use crate::config::Dialect;
use crate::handler::follow::Since;
use crate::lattice::{Delta, Join, Name, State};
use crate::outbox::Outbox;
use crate::pubsub::{Joined, MemberId, Topic};
use crate::session::User;
use crate::time::Now;
use crate::ws::deflate::SharedFrame;
use crate::ws::{self, CloseCode, Opcode};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::mem;
use uuid::Uuid;

/// An open WebSocket whose user is known.
#[derive(Debug)]
pub(in crate::shard) struct Talk {
    pub(in crate::shard) pool: usize,
    /// Index into the handlers.
    pub(super) handler: usize,
    pub(super) user: User,
    /// `X-Barium` of the opening handshake, and of all calls.
    pub(super) id: Uuid,
    /// How backends are told who it is.
    pub(super) authorization: Arc<str>,
    /// Calls under way.
    pub(super) errands: Vec<ConnId>,
    lattices: BTreeSet<Name>,
    /// What is new in lattices, for a reader who is slow: joined, not queued.
    pending: BTreeMap<Name, State>,
}

impl Talk {
    pub(super) fn new(pool: usize, handler: usize, user: User, id: Uuid, dialect: Option<Dialect>) -> Self {
        let authorization = authorization(dialect.unwrap_or_default().scheme(), &user).into();
        let (errands, lattices, pending) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        Self { pool, handler, user, id, authorization, errands, lattices, pending }
    }
}

impl Shard {
    /// An order for one of this shard's connections.
    pub(super) fn handle_order(&mut self, now: Now, pool: usize, reply: Option<Reply>, order: Order) {
        // To a pool, connections of others are not there, nor are those that have gone.
        if order.connection().is_some_and(|conn| self.pool_of(conn) != Some(pool)) {
            return match order {
                // The update holds all the same.
                Order::Attach(_, name, delta) => self.apply(pool, name, delta, reply),
                Order::Subscriptions(_) => self.reply(reply, Outcome::Topics(Vec::new())),
                _ => self.reply(reply, Outcome::Done),
            };
        }
        match order {
            Order::Subscribe(conn, topic) => return self.subscribe(conn, &topic, reply),
            Order::Unsubscribe(conn, topic) => self.unsubscribe(conn, &topic),
            Order::Subscriptions(conn) => {
                let topics = self.topics_of(conn);
                return self.reply(reply, Outcome::Topics(topics));
            }
            // These need to know the user: later.
            Order::Attach(conn, ..)
            | Order::Detach(conn, _)
            | Order::Watch(conn, _)
            | Order::Unwatch(conn)
            | Order::Close(conn, ..)
                if self.greeting(conn).is_some() =>
            {
                let limit = self.config.limits.calls;
                let Some(greeting) = self.greeting(conn) else { return };
                if greeting.orders.len() < limit {
                    // An update is for others too: it does not wait.
                    let (order, update) = match order {
                        Order::Attach(conn, name, delta) => {
                            (Order::Attach(conn, name.clone(), Delta::default()), Some((name, delta)))
                        }
                        other => (other, None),
                    };
                    greeting.orders.push((order, None));
                    return match update {
                        Some((name, delta)) => self.apply(pool, name, delta, reply),
                        None => self.reply(reply, Outcome::Done),
                    };
                }
                let reason = format!("no more than {limit} requests about a connection that is not open yet");
                return self.reply(reply, Outcome::Refused(503, reason));
            }
            Order::Attach(conn, name, delta) => return self.attach(conn, pool, name, delta, reply),
            Order::Detach(conn, name) => {
                if let Some(talk) = self.talk(conn)
                    && talk.lattices.remove(&name)
                {
                    talk.pending.remove(&name);
                    let (user, place) = (Arc::clone(&talk.user), Place { shard: self.number, conn });
                    return self.order(self.home_of(&user), pool, reply, Order::DetachOf(user, place, name));
                }
            }
            Order::Watch(conn, users) => {
                if let Some(user) = self.talk(conn).map(|talk| Arc::clone(&talk.user)) {
                    let (home, place) = (self.home_of(&user), Place { shard: self.number, conn });
                    return self.order(home, pool, reply, Order::WatchOf(user, Some(place), users));
                }
            }
            Order::Unwatch(conn) => {
                if let Some(user) = self.talk(conn).map(|talk| Arc::clone(&talk.user)) {
                    let (home, place) = (self.home_of(&user), Place { shard: self.number, conn });
                    return self.order(home, pool, reply, Order::UnwatchOf(user, place));
                }
            }
            Order::Send(conn, frame) => {
                let (count, bytes) = (self.config.limits.poll_messages, self.config.limits.outbox_bytes);
                match self.greeting(conn) {
                    Some(greeting) => greeting.hold(Held::Frame(frame), count, bytes),
                    None => self.push_frame(now, conn, &frame),
                }
            }
            Order::Close(conn, code, reason) => self.close_session(now, conn, code, &reason),
            Order::Tell(conns, name, state) => self.tell(now, &conns, &name, &state),
            Order::Done(conn, tag, outcome) => return self.handle_outcome(now, conn, tag, outcome),
            // For homes.
            _ => {}
        }
        self.reply(reply, Outcome::Done);
    }

    fn subscribe(&mut self, conn: ConnId, topic: &Topic, reply: Option<Reply>) {
        let limit = self.config.limits.subscriptions;
        let members = match self.members(conn) {
            Some(members) => members.clone(),
            None => return self.reply(reply, Outcome::Done),
        };
        if let Some(member) = members.iter().find(|member| self.subscribers.topic(**member) == Some(topic)) {
            // It may be about to hold: then this one waits too.
            let limit = self.config.limits.calls;
            let outcome = match (reply, self.joining.get_mut(member)) {
                (Some(reply), Some(waiting)) if waiting.len() < limit => return waiting.push(reply),
                (Some(_), Some(_)) => {
                    Outcome::Refused(503, format!("no more than {limit} requests for one subscription"))
                }
                _ => Outcome::Done,
            };
            return self.reply(reply, outcome);
        }
        if members.len() >= limit {
            return self.reply(reply, Outcome::Refused(400, format!("no more than {limit} topics at a time")));
        }
        let joined = self.follow(conn, core::slice::from_ref(topic), &Since::Now);
        if let Some(members) = self.members(conn) {
            members.extend_from_slice(&joined);
        }
        if let Some(member) = joined.first() {
            self.joining.insert(*member, reply.into_iter().collect());
        }
    }

    /// A topic's home has let a connection in, or has no room. Whether it was one of a session pool.
    pub(in crate::shard) fn joined_session(&mut self, conn: ConnId, member: MemberId, joined: Option<&Joined>) -> bool {
        let Some(members) = self.members(conn) else { return false };
        if joined.is_none() {
            members.retain(|of| *of != member);
        }
        let outcome = match joined {
            Some(joined) => {
                self.subscribers.joined(member, joined.position);
                Outcome::Done
            }
            None => {
                self.subscribers.unsubscribe(member);
                Outcome::Refused(503, "there are too many topics".into())
            }
        };
        self.end_joining(member, &outcome);
        true
    }

    /// Whoever waits for a subscription waits no longer.
    pub(in crate::shard) fn end_joining(&mut self, member: MemberId, outcome: &Outcome) {
        for reply in self.joining.remove(&member).into_iter().flatten() {
            self.reply(Some(reply), outcome.clone());
        }
    }

    fn unsubscribe(&mut self, conn: ConnId, topic: &Topic) {
        let Some(members) = self.members(conn).cloned() else { return };
        let Some(member) = members.into_iter().find(|member| self.subscribers.topic(*member) == Some(topic)) else {
            return;
        };
        if let Some(members) = self.members(conn) {
            members.retain(|of| *of != member);
        }
        if let Some(greeting) = self.greeting(conn) {
            greeting.held.retain(|held| !matches!(held, Held::Message(message) if message.topic == *topic));
        }
        self.leave(&[member]);
        self.end_joining(member, &Outcome::Done);
    }

    fn topics_of(&mut self, conn: ConnId) -> Vec<String> {
        let members = self.members(conn).cloned().unwrap_or_default();
        let topics = members.iter().filter_map(|member| self.subscribers.topic(*member));
        topics.map(|topic| topic.label().0.to_string()).collect()
    }

    fn attach(&mut self, conn: ConnId, pool: usize, name: Name, delta: Delta, reply: Option<Reply>) {
        let Some(talk) = self.talk(conn) else { return };
        talk.lattices.insert(name.clone());
        let user = Arc::clone(&talk.user);
        let place = Place { shard: self.number, conn };
        self.order(self.home_of(&user), pool, reply, Order::AttachOf(user, place, name, delta));
    }

    /// An update by itself.
    fn apply(&mut self, pool: usize, name: Name, delta: Delta, reply: Option<Reply>) {
        self.order(self.home_of(name.as_str()), pool, reply, Order::Apply(name, delta));
    }

    /// What is new in a namespace: one frame for all, and for whoever is slow, joined to what is pending already.
    fn tell(&mut self, now: Now, conns: &[ConnId], name: &Name, state: &State) {
        let mut frame = lattice_frame(name, state);
        for conn in conns {
            self.lend(*conn);
            let cap = self.config.limits.outbox_bytes.min(HIGH_WATER);
            let Self { slots, timeouts, codec, .. } = self;
            let Some(Slot { role: Role::WebSocket(socket), .. }) = slots.get_mut(*conn) else { continue };
            let unsent = socket.conn.unsent().len();
            let SocketKind::Session(talk) = &mut socket.kind else { continue };
            if talk.pending.contains_key(name) || unsent > 0 && unsent + frame.plain().len() > cap {
                talk.pending.entry(name.clone()).or_default().absorb(state.clone());
            } else {
                socket.conn.send_shared(now, timeouts, codec, &mut frame);
            }
            self.settle(now, *conn);
        }
    }

    /// There is room again: what is pending in lattices goes out.
    pub(in crate::shard) fn send_pending(&mut self, now: Now, conn: ConnId) {
        let Self { slots, timeouts, codec, .. } = self;
        let Some(Slot { role: Role::WebSocket(socket), .. }) = slots.get_mut(conn) else { return };
        let SocketKind::Session(talk) = &mut socket.kind else { return };
        for (name, state) in mem::take(&mut talk.pending) {
            socket.conn.send_shared(now, timeouts, codec, &mut lattice_frame(&name, &state));
        }
    }

    pub(super) fn push_frame(&mut self, now: Now, conn: ConnId, frame: &Bytes) {
        if self.talk(conn).is_none() {
            return;
        }
        self.lend(conn);
        let is_slow = self.is_slow(conn, frame.len());
        let Self { slots, timeouts, rng, codec, .. } = self;
        if let Some(Slot { role: Role::WebSocket(socket), .. }) = slots.get_mut(conn) {
            if is_slow {
                socket.conn.close(now, timeouts, CloseCode::TRY_AGAIN_LATER, "too slow", || rng.next_key());
            } else {
                socket.conn.send_shared(now, timeouts, codec, &mut SharedFrame::new(frame.clone()));
            }
        }
        self.settle(now, conn);
    }

    fn close_session(&mut self, now: Now, conn: ConnId, code: u16, reason: &str) {
        self.lend(conn);
        let Self { slots, timeouts, rng, .. } = self;
        if let Some(Slot { role: Role::WebSocket(socket), .. }) = slots.get_mut(conn) {
            socket.conn.close(now, timeouts, CloseCode::new(code), reason, || rng.next_key());
        }
        self.settle(now, conn);
    }

    /// The connection ends: everybody who knows of it is told. Once.
    pub(in crate::shard) fn end_talk(&mut self, now: Now, conn: ConnId, talk: Talk) {
        for errand in talk.errands {
            self.drop_errand(now, errand);
        }
        let (home, place) = (self.home_of(&talk.user), Place { shard: self.number, conn });
        self.order(home, talk.pool, None, Order::Disconnected(talk.user, place, talk.lattices));
    }

    /// What is known about the user of a connection.
    pub(in crate::shard) fn talk(&mut self, conn: ConnId) -> Option<&mut Talk> {
        match &mut self.slots.get_mut(conn)?.role {
            Role::WebSocket(socket) => match &mut socket.kind {
                SocketKind::Session(talk) => Some(talk),
                SocketKind::Calls | SocketKind::Echo | SocketKind::Refused | SocketKind::Relay(_) => None,
            },
            Role::Client(_) | Role::Errand(_) | Role::Server(_) | Role::Tunnel(_) => None,
        }
    }

    /// Which session pool a connection is of, also before its user is known.
    fn pool_of(&mut self, conn: ConnId) -> Option<usize> {
        self.talk(conn).map(|talk| talk.pool).or_else(|| self.greeting(conn).map(|greeting| greeting.pool))
    }

    /// The subscriptions of a connection of a session pool.
    fn members(&mut self, conn: ConnId) -> Option<&mut Members> {
        match &mut self.slots.get_mut(conn)?.role {
            Role::WebSocket(socket) if matches!(socket.kind, SocketKind::Session(_)) => Some(&mut socket.members),
            Role::Server(server) => match &mut server.exchange {
                Exchange::Greeting(greeting) => Some(&mut greeting.members),
                _ => None,
            },
            Role::Client(_) | Role::Errand(_) | Role::Tunnel(_) | Role::WebSocket(_) => None,
        }
    }
}

/// `["lattice",{"namespace":…},…]`, framed.
fn lattice_frame(name: &Name, state: &State) -> SharedFrame {
    SharedFrame::new(text_frame(&format!("[\"lattice\",{{\"namespace\":\"{name}\"}},{state}]")))
}

/// A whole text frame for any client.
pub(super) fn text_frame(text: &str) -> Bytes {
    let mut out = Outbox::new();
    ws::encode(Opcode::Text, text.as_bytes(), None, &mut out);
    let mut slices: [&[u8]; 2] = [&[]; 2];
    let filled = out.slices(&mut slices);
    Bytes::from(slices.iter().take(filled).copied().collect::<Vec<_>>().concat())
}

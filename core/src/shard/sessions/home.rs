//! What happens at the homes of users and namespaces.

use super::super::{Mail, Shard};
use super::{Order, Outcome, Place, Reply, SessionMail, TELLINGS};
use crate::lattice::{Full, Name, Register, Stamp, State, Update, Value};
use crate::session::{Event, Seen, Status, User, home};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The namespace in which clients are told what others do.
const PRESENCE: &str = "swindon.user";

impl Shard {
    /// Gives an order to whoever it concerns.
    pub(super) fn order(&mut self, shard: u16, pool: usize, reply: Option<Reply>, order: Order) {
        let mail = SessionMail { pool: pool as u16, reply, order };
        self.send(shard, Mail::Session(Box::new(mail)));
    }

    /// Tells whoever waits for it.
    pub(super) fn reply(&mut self, reply: Option<Reply>, outcome: Outcome) {
        if let Some(Reply { to, tag }) = reply {
            self.order(to.shard, 0, None, Order::Done(to.conn, tag, outcome));
        }
    }

    pub(super) fn home_of(&self, name: &str) -> u16 {
        home(name, self.shards)
    }

    pub(in crate::shard) fn handle_session_mail(&mut self, now: Now, mail: SessionMail) {
        let SessionMail { pool, reply, order } = mail;
        let index = usize::from(pool);
        let Some(pool) = self.pools.get_mut(index) else { return };
        match order {
            Order::Apply(name, delta) => {
                let updates = pool.lattices.apply(now.instant, &name, delta);
                self.end_update(index, reply, &name, updates);
                return self.handle_session_events(now, index);
            }
            Order::AttachTo(name, delta, place, user) => {
                let attached = pool.lattices.attach(now.instant, &name, delta, place, &user);
                let updates = attached.map(|(mut updates, state)| {
                    updates.push(Update { to: [place].into(), state });
                    updates
                });
                self.end_update(index, reply, &name, updates);
                return self.handle_session_events(now, index);
            }
            Order::DetachFrom(name, place, user) => pool.lattices.detach(&name, place, &user),
            Order::Closed(name, place, user) => pool.lattices.close(&name, place, &user),
            Order::Ended(name, user) => pool.lattices.end_session(now.instant, &name, &user),
            Order::Found(name, user, has_session) => pool.lattices.find(&name, &user, has_session),
            Order::Find(user, name) => {
                let has_session = pool.sessions.attach(&user, &name.as_str().into());
                let home = self.home_of(name.as_str());
                return self.order(home, index, None, Order::Found(name, user, has_session));
            }
            Order::AttachOf(user, place, name, delta) => {
                let home = home(name.as_str(), self.shards);
                // Of a connection that has gone, only the update is left.
                let order = match pool.sessions.is_connected(&user, place) {
                    true => {
                        pool.sessions.attach(&user, &name.as_str().into());
                        Order::AttachTo(name, delta, place, user)
                    }
                    false => Order::Apply(name, delta),
                };
                return self.order(home, index, reply, order);
            }
            Order::DetachOf(user, place, name) => {
                let home = self.home_of(name.as_str());
                return self.order(home, index, reply, Order::DetachFrom(name, place, user));
            }
            Order::Connected(user, place) => pool.sessions.connect(now, place, &user),
            Order::Disconnected(user, place, lattices) => {
                pool.sessions.disconnect(place, &user);
                for name in lattices {
                    let order = Order::Closed(name.clone(), place, Arc::clone(&user));
                    self.order(self.home_of(name.as_str()), index, None, order);
                }
            }
            Order::Active(user, duration) => pool.sessions.activate(now, &user, duration),
            Order::CloseUser(user, code, reason) => {
                let places: Vec<Place> = pool.sessions.connections(&user).collect();
                for place in places {
                    self.order(place.shard, index, None, Order::Close(place.conn, code, reason.clone()));
                }
            }
            Order::SendUser(user, frame) => {
                let places: Vec<Place> = pool.sessions.connections(&user).collect();
                for place in places {
                    self.order(place.shard, index, None, Order::Send(place.conn, frame.clone()));
                }
            }
            Order::WatchOf(user, place, listed) => self.watch(index, &user, place, listed),
            Order::UnwatchOf(user, place) => {
                let watched = pool.sessions.unwatch(&user, place);
                self.unobserve(index, watched, &user);
            }
            Order::Observe(users, watcher, place) => {
                let seen = users.iter().map(|user| {
                    pool.presence.watch(user, &watcher);
                    let status = pool.sessions.status(user);
                    (Arc::clone(user), pool.presence.stamp(now.unix, user, status))
                });
                let seen = seen.collect();
                self.order(self.home_of(&watcher), index, None, Order::Observed(watcher, seen, place));
            }
            Order::Unobserve(users, watcher) => {
                users.iter().for_each(|user| pool.presence.unwatch(user, &watcher));
            }
            Order::Observed(watcher, seen, place) => {
                let places: Vec<Place> = match place {
                    Some(place) => [place].into(),
                    None => pool.sessions.watching(&watcher).collect(),
                };
                self.tell_presence(index, &places, &seen);
            }
            Order::Status(users) => {
                let seen = |user: &User| {
                    (Arc::clone(user), Seen { status: pool.sessions.status(user), stamp: now.unix.as_millis() })
                };
                let statuses = users.iter().map(seen).collect();
                return self.reply(reply, Outcome::Statuses(statuses));
            }
            Order::StatusOfAll(limit) if pool.sessions.len() > limit => {
                let reason = format!("more than {limit} users have a session: name those you want to know about");
                return self.reply(reply, Outcome::Refused(400, reason));
            }
            Order::StatusOfAll(_) => {
                let users = pool.sessions.users().cloned().collect();
                return self
                    .handle_session_mail(now, SessionMail { pool: index as u16, reply, order: Order::Status(users) });
            }
            order => return self.handle_order(now, index, reply, order),
        }
        self.reply(reply, Outcome::Done);
        self.handle_session_events(now, index);
    }

    /// Deadlines of users and namespaces may have passed.
    pub(in crate::shard) fn handle_pools_timeout(&mut self, now: Now) {
        for index in 0..self.pools.len() {
            let Some(pool) = self.pools.get_mut(index) else { continue };
            if pool.poll_timeout(self.tellings < TELLINGS).is_none_or(|at| at > now.instant) {
                continue;
            }
            pool.sessions.handle_timeout(now);
            pool.lattices.handle_timeout(now.instant);
            self.handle_session_events(now, index);
            self.tell_inactive(now, index);
        }
    }

    fn handle_session_events(&mut self, now: Now, index: usize) {
        while let Some(pool) = self.pools.get_mut(index)
            && let Some(event) = pool.sessions.poll_event()
        {
            match event {
                Event::Changed { user, status } => {
                    if status == Status::Active {
                        pool.untold.cancel(&user);
                    }
                    let seen = pool.presence.stamp(now.unix, &user, status);
                    let watchers: Vec<User> = pool.presence.watchers(&user).cloned().collect();
                    for watcher in watchers {
                        let seen = [(Arc::clone(&user), seen)].into();
                        self.order(self.home_of(&watcher), index, None, Order::Observed(watcher, seen, None));
                    }
                }
                Event::Inactive { user } => self.note_inactive(now, index, &user),
                Event::Ended { user, lattices, watched } => {
                    for name in lattices.iter().filter_map(|name| Name::new(name)) {
                        let order = Order::Ended(name.clone(), Arc::clone(&user));
                        self.order(self.home_of(name.as_str()), index, None, order);
                    }
                    self.unobserve(index, watched, &user);
                }
            }
        }
        while let Some((name, user)) = self.pools.get_mut(index).and_then(|pool| pool.lattices.poll_unknown()) {
            self.order(self.home_of(&user), index, None, Order::Find(user, name));
        }
    }

    fn end_update(
        &mut self,
        pool: usize,
        reply: Option<Reply>,
        name: &Name,
        updates: Result<Vec<Update<Place>>, Full>,
    ) {
        let outcome = match updates {
            Ok(updates) => {
                for Update { to, state } in updates {
                    self.tell_places(pool, &to, name, state);
                }
                Outcome::Done
            }
            Err(full) => Outcome::Refused(full.status(), full.to_string()),
        };
        self.reply(reply, outcome);
    }

    /// One message to each shard.
    fn tell_places(&mut self, pool: usize, places: &[Place], name: &Name, state: State) {
        let state = Arc::new(state);
        let mut shards: BTreeMap<u16, Vec<_>> = BTreeMap::new();
        for place in places {
            shards.entry(place.shard).or_default().push(place.conn);
        }
        for (shard, conns) in shards {
            self.order(shard, pool, None, Order::Tell(conns, name.clone(), Arc::clone(&state)));
        }
    }

    /// Users are watched by another from now on. The connection is told about all that are listed; whoever is told already,
    /// about their later changes.
    fn watch(&mut self, index: usize, user: &User, place: Option<Place>, listed: Vec<User>) {
        let Some(pool) = self.pools.get_mut(index) else { return };
        let mut new: BTreeSet<User> = listed.iter().cloned().collect();
        let is_told = match place {
            Some(place) => pool.sessions.watch(user, place, &mut new),
            None => pool.sessions.watch_more(user, &mut new),
        };
        if !is_told {
            return;
        }
        if listed.is_empty() {
            let places = place.map_or_else(|| pool.sessions.watching(user).collect(), |place| Vec::from([place]));
            return self.tell_presence(index, &places, &[]);
        }
        for (home, users) in self.by_home(listed) {
            self.order(home, index, None, Order::Observe(users, Arc::clone(user), place));
        }
    }

    fn unobserve(&mut self, index: usize, watched: BTreeSet<User>, watcher: &User) {
        for (home, users) in self.by_home(watched) {
            self.order(home, index, None, Order::Unobserve(users, Arc::clone(watcher)));
        }
    }

    pub(super) fn by_home(&self, users: impl IntoIterator<Item = User>) -> BTreeMap<u16, Vec<User>> {
        let mut homes: BTreeMap<u16, Vec<User>> = BTreeMap::new();
        for user in users {
            homes.entry(self.home_of(&user)).or_default().push(user);
        }
        homes
    }

    fn tell_presence(&mut self, pool: usize, places: &[Place], seen: &[(User, Seen)]) {
        let mut state = State::new();
        for (user, Seen { status, stamp }) in seen {
            let Some(stamp) = Stamp::new(*stamp as f64) else { continue };
            let value = format!("\"{}\"", status.as_str()).into();
            let variable = ("status_register".into(), Value::Register(Register { stamp, value }));
            state.0.insert(Arc::clone(user), [variable].into());
        }
        if let Some(name) = Name::new(PRESENCE) {
            self.tell_places(pool, places, &name, state);
        }
    }
}

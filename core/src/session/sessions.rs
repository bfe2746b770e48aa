//! The users who are at home on one shard.

use super::{Status, User};
use crate::time::{Instant, Now};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::mem;
use core::time::Duration;

/// How long users count as active.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Timeouts {
    /// After a connection was opened. Default 60 s.
    pub connected: Duration,
    /// The shortest that a call may ask for. Default 1 s.
    pub shortest: Duration,
    /// The longest that a call may ask for. Default 2 h.
    pub longest: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connected: seconds(60), shortest: seconds(1), longest: seconds(7200) }
    }
}

/// What the owner has to do something about.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Event {
    /// Those who watch the user are to be told.
    Changed {
        /// Who.
        user: User,
        /// What of.
        status: Status,
    },
    /// The user was active and is not any more: backends are to be told, once.
    Inactive {
        /// Who.
        user: User,
    },
    /// The session is over.
    Ended {
        /// Whose.
        user: User,
        /// The lattices that the user was attached to.
        lattices: BTreeSet<Arc<str>>,
        /// The users that the user watched.
        watched: BTreeSet<User>,
    },
}

/// Sessions, by user. `C` names a connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Sessions<C> {
    timeouts: Timeouts,
    sessions: BTreeMap<User, Session<C>>,
    /// Of active users.
    deadlines: BTreeSet<(Instant, User)>,
    events: VecDeque<Event>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Session<C> {
    /// `None`: inactive.
    active_until: Option<Instant>,
    conns: BTreeSet<C>,
    lattices: BTreeSet<Arc<str>>,
    /// Whom the user watches, and the connections that are told.
    watched: BTreeSet<User>,
    watching: BTreeSet<C>,
}

impl<C> Default for Session<C> {
    fn default() -> Self {
        let (conns, watching) = (BTreeSet::new(), BTreeSet::new());
        Self { active_until: None, conns, lattices: BTreeSet::new(), watched: BTreeSet::new(), watching }
    }
}

impl<C: Copy + Ord> Sessions<C> {
    /// Nobody yet.
    pub const fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, sessions: BTreeMap::new(), deadlines: BTreeSet::new(), events: VecDeque::new() }
    }

    /// For how long users count as active from now on.
    pub const fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    /// A connection of the user was opened: the user is active.
    pub fn connect(&mut self, now: Now, conn: C, user: &User) {
        self.sessions.entry(Arc::clone(user)).or_default().conns.insert(conn);
        self.keep_active(now, user, self.timeouts.connected);
    }

    /// The user does something, and counts as active so long. It only extends. Nothing without a session.
    pub fn activate(&mut self, now: Now, user: &User, duration: Duration) {
        self.keep_active(now, user, duration.clamp(self.timeouts.shortest, self.timeouts.longest));
    }

    fn keep_active(&mut self, now: Now, user: &User, duration: Duration) {
        let Some(session) = self.sessions.get_mut(user) else { return };
        let until = now.instant + duration;
        if session.active_until.is_some_and(|before| before >= until) {
            return;
        }
        match session.active_until.replace(until) {
            Some(before) => {
                self.deadlines.remove(&(before, Arc::clone(user)));
            }
            None => self.events.push_back(Event::Changed { user: Arc::clone(user), status: Status::Active }),
        }
        self.deadlines.insert((until, Arc::clone(user)));
    }

    /// A connection has closed. Of an active user nothing is told before the deadline: they may be back soon.
    pub fn disconnect(&mut self, conn: C, user: &User) {
        let Some(session) = self.sessions.get_mut(user) else { return };
        session.conns.remove(&conn);
        session.watching.remove(&conn);
        if session.conns.is_empty() && session.active_until.is_none() {
            self.end(user);
        }
    }

    /// A lattice has to be told when the session ends. `false`: there is no session.
    pub fn attach(&mut self, user: &User, lattice: &Arc<str>) -> bool {
        let Some(session) = self.sessions.get_mut(user) else { return false };
        session.lattices.insert(Arc::clone(lattice));
        true
    }

    /// A connection of the user is told about `users` from now on, and about whom the user watched before. Those who were
    /// not watched before are kept in `users`. `false`: the connection is not one of the user's.
    pub fn watch(&mut self, user: &User, conn: C, users: &mut BTreeSet<User>) -> bool {
        let Some(session) = self.sessions.get_mut(user).filter(|session| session.conns.contains(&conn)) else {
            return false;
        };
        session.watching.insert(conn);
        users.retain(|user| session.watched.insert(Arc::clone(user)));
        true
    }

    /// The user watches `users` too; those who were not watched before are kept in `users`. `false`: none of the user's connections
    /// is told about anyone.
    pub fn watch_more(&mut self, user: &User, users: &mut BTreeSet<User>) -> bool {
        let Some(session) = self.sessions.get_mut(user).filter(|session| !session.watching.is_empty()) else {
            return false;
        };
        users.retain(|user| session.watched.insert(Arc::clone(user)));
        true
    }

    /// A connection is told no longer, and the user watches nobody any more: those who were watched.
    pub fn unwatch(&mut self, user: &User, conn: C) -> BTreeSet<User> {
        let Some(session) = self.sessions.get_mut(user) else { return BTreeSet::new() };
        session.watching.remove(&conn);
        mem::take(&mut session.watched)
    }

    /// The connections of a user that are told about others.
    pub fn watching(&self, user: &str) -> impl Iterator<Item = C> {
        self.sessions.get(user).into_iter().flat_map(|session| session.watching.iter().copied())
    }

    /// All connections of a user.
    pub fn connections(&self, user: &str) -> impl Iterator<Item = C> {
        self.sessions.get(user).into_iter().flat_map(|session| session.conns.iter().copied())
    }

    /// Whether a connection is one of the user's.
    pub fn is_connected(&self, user: &str, conn: C) -> bool {
        self.sessions.get(user).is_some_and(|session| session.conns.contains(&conn))
    }

    /// What a user does.
    pub fn status(&self, user: &str) -> Status {
        match self.sessions.get(user) {
            Some(Session { active_until: Some(_), .. }) => Status::Active,
            Some(Session { active_until: None, .. }) => Status::Inactive,
            None => Status::Offline,
        }
    }

    /// Deadlines may have passed. Work in proportion to those that have.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((at, _)) = self.deadlines.first()
            && *at <= now.instant
            && let Some((_, user)) = self.deadlines.pop_first()
        {
            let Some(session) = self.sessions.get_mut(&user) else { continue };
            session.active_until = None;
            let is_connected = !session.conns.is_empty();
            self.events.push_back(Event::Inactive { user: Arc::clone(&user) });
            if is_connected {
                self.events.push_back(Event::Changed { user, status: Status::Inactive });
            } else {
                self.end(&user);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// What to do something about, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All who have a session.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.sessions.keys()
    }

    /// How many users have a session.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether nobody has a session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn end(&mut self, user: &User) {
        let Some(session) = self.sessions.remove(user) else { return };
        let (user, lattices, watched) = (Arc::clone(user), session.lattices, session.watched);
        self.events.push_back(Event::Changed { user: Arc::clone(&user), status: Status::Offline });
        self.events.push_back(Event::Ended { user, lattices, watched });
    }
}

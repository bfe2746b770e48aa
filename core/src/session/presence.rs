//! Who wants to know about whom.

use super::User;
use crate::time::UnixTime;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

/// What a user does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Status {
    /// Something, lately.
    Active,
    /// Nothing, but is connected.
    Inactive,
    /// There is no session.
    Offline,
}

impl Status {
    /// As clients read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Offline => "offline",
        }
    }
}

/// A status, and since when at the latest: of two, the one with the larger stamp is right.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Seen {
    /// What the user does.
    pub status: Status,
    /// Milliseconds since 1970; larger than all before for this user while anyone watches.
    pub stamp: u64,
}

/// Which users are watched, by which others. Users who are at home on one shard; watchers may be at home anywhere.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Presence(BTreeMap<User, Watched>);

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Watched {
    watchers: BTreeSet<User>,
    stamp: u64,
}

impl Presence {
    /// `watcher` wants to know about `user` from now on.
    pub fn watch(&mut self, user: &User, watcher: &User) {
        self.0.entry(Arc::clone(user)).or_default().watchers.insert(Arc::clone(watcher));
    }

    /// No longer.
    pub fn unwatch(&mut self, user: &User, watcher: &User) {
        if let Some(watched) = self.0.get_mut(user) {
            watched.watchers.remove(watcher);
            if watched.watchers.is_empty() {
                self.0.remove(user);
            }
        }
    }

    /// Stamps a status that is about to be told.
    pub fn stamp(&mut self, now: UnixTime, user: &User, status: Status) -> Seen {
        let stamp = match self.0.get_mut(user) {
            Some(watched) => {
                // A clock that stands or jumps back must not make an old status win.
                watched.stamp = now.as_millis().max(watched.stamp + 1);
                watched.stamp
            }
            None => now.as_millis(),
        };
        Seen { status, stamp }
    }

    /// Who wants to know about a user.
    pub fn watchers(&self, user: &str) -> impl Iterator<Item = &User> {
        self.0.get(user).into_iter().flat_map(|watched| &watched.watchers)
    }
}

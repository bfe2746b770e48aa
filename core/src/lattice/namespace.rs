//! One dictionary, and who sees what of it.

use super::{Delta, Full, Join, Key, Keys, Limits, Private, State, User};
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// One dictionary. `C` names a connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Namespace<C> {
    shared: State,
    users: BTreeMap<User, Owner<C>>,
    /// Who sees which key. The shared part of a key goes with the last of them.
    seen_by: BTreeMap<Key, BTreeSet<User>>,
    /// When the private entries of absent users go.
    expiries: BTreeSet<(Instant, User, Key)>,
    /// Users of whom it has to be found out whether they have a session.
    unknown: BTreeSet<User>,
    bytes: usize,
}

/// A user with a private part, or with connections that wait for one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Owner<C> {
    private: State,
    expires_in: BTreeMap<Key, Duration>,
    /// Of entries that are kept for an absent user.
    expires: BTreeMap<Key, Instant>,
    /// Entries whose time is over, unless the user has a session again.
    overdue: BTreeSet<Key>,
    conns: BTreeSet<C>,
    /// Whether the user has a session, as far as is known here: its end will be told.
    is_present: bool,
}

/// What connections have to be told.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Update<C> {
    /// Whom: attached connections, at least one.
    pub to: Vec<C>,
    /// What is new to them.
    pub state: State,
}

impl<C> Default for Namespace<C> {
    fn default() -> Self {
        let (users, seen_by, expiries) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { shared: State::new(), users, seen_by, expiries, unknown: BTreeSet::new(), bytes: 0 }
    }
}

impl<C> Default for Owner<C> {
    fn default() -> Self {
        let (expires_in, expires, conns) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { private: State::new(), expires_in, expires, overdue: BTreeSet::new(), conns, is_present: false }
    }
}

impl<C: Copy + Ord> Namespace<C> {
    /// An empty dictionary.
    pub fn new() -> Self {
        Self::default()
    }

    /// Joins an update. Each user who is named in the private part is told, even if nothing is new; others only what is
    /// new in keys that they see.
    ///
    /// # Errors
    /// There might be no room for all of it; then nothing is applied.
    pub fn apply(&mut self, now: Instant, delta: Delta, limits: &Limits) -> Result<Vec<Update<C>>, Full> {
        if self.bytes.saturating_add(delta.bytes()) > limits.namespace_bytes {
            return Err(Full::Namespace);
        }
        let Delta { mut shared, private } = delta;
        self.shared.join(&mut shared, &mut self.bytes);
        // To whoever sees a key already, an empty entry says nothing.
        shared.0.retain(|_, variables| !variables.is_empty());
        let mut updates = Vec::new();
        let mut told = BTreeSet::new();
        for (user, part) in private {
            let state = self.apply_private(now, &user, part, &shared, limits);
            let to = self.connections(&user);
            if !to.is_empty() {
                updates.push(Update { to, state });
            }
            told.insert(user);
        }
        self.tell_others(&shared.0, &told, &mut updates);
        Ok(updates)
    }

    /// Joins one user's part; what that user has to be told.
    fn apply_private(&mut self, now: Instant, user: &User, part: Private, shared: &State, limits: &Limits) -> State {
        let Private { mut state, expires_in } = part;
        let owner = self.users.entry(Arc::clone(user)).or_default();
        if !owner.is_present {
            self.unknown.insert(Arc::clone(user));
        }
        let keys: Vec<Key> = state.0.keys().cloned().collect();
        let fresh: Vec<bool> = keys.iter().map(|key| !owner.private.0.contains_key(key)).collect();
        owner.expires_in.extend(expires_in);
        owner.private.join(&mut state, &mut self.bytes);
        for (key, is_fresh) in keys.iter().zip(fresh) {
            if is_fresh {
                self.seen_by.entry(Arc::clone(key)).or_default().insert(Arc::clone(user));
                state.merge_entry(key, self.shared.0.get(key).unwrap_or(&BTreeMap::new()));
            }
            if !owner.is_present {
                let keep = owner.expires_in.get(key).copied().unwrap_or(limits.absent);
                expire(&mut self.expiries, owner, user, key, now + keep);
            }
        }
        for (key, variables) in shared.0.iter().filter(|(key, _)| owner.private.0.contains_key(*key)) {
            state.merge_entry(key, variables);
        }
        // An empty part of somebody who is not here leaves nothing that could ever expire.
        if owner.private.0.is_empty() && owner.conns.is_empty() && !owner.is_present {
            self.users.remove(user);
            self.unknown.remove(user);
        }
        state
    }

    /// Tells users who were not named what is new in the keys that they see: each set of keys once, for all who see it.
    fn tell_others(&self, shared: &Keys, told: &BTreeSet<User>, updates: &mut Vec<Update<C>>) {
        let mut seen: BTreeMap<&User, Vec<&Key>> = BTreeMap::new();
        for key in shared.keys() {
            for user in self.seen_by.get(key).into_iter().flatten().filter(|user| !told.contains(*user)) {
                seen.entry(user).or_default().push(key);
            }
        }
        let mut groups: BTreeMap<Vec<&Key>, Vec<C>> = BTreeMap::new();
        for (user, keys) in seen {
            let conns = self.users.get(user).into_iter().flat_map(|owner| &owner.conns);
            groups.entry(keys).or_default().extend(conns);
        }
        for (keys, to) in groups.into_iter().filter(|(_, to)| !to.is_empty()) {
            let entry = |key: &Key| shared.get(key).map(|variables| (Arc::clone(key), variables.clone()));
            updates.push(Update { to, state: State(keys.into_iter().filter_map(entry).collect()) });
        }
    }

    /// Attaches a connection of a user; all that the user sees. As often as wanted.
    pub fn attach(&mut self, conn: C, user: &User) -> State {
        let owner = self.users.entry(Arc::clone(user)).or_default();
        owner.conns.insert(conn);
        self.find(user, true);
        self.unknown.remove(user);
        self.visible(user)
    }

    /// Whether a user has a session: the answer to [`poll_unknown`](Self::poll_unknown). If so, its end has to be told here, and nothing
    /// expires before; if not, what is overdue goes.
    pub fn find(&mut self, user: &User, has_session: bool) {
        let Some(owner) = self.users.get_mut(user) else { return };
        let overdue = core::mem::take(&mut owner.overdue);
        if !has_session {
            overdue.iter().for_each(|key| self.drop_entry(user, key));
            return;
        }
        owner.is_present = true;
        for (key, at) in core::mem::take(&mut owner.expires) {
            self.expiries.remove(&(at, Arc::clone(user), key));
        }
    }

    /// A user of whom it has to be found out whether there is a session: once. The answer goes to [`find`](Self::find).
    pub fn poll_unknown(&mut self) -> Option<User> {
        self.unknown.pop_first()
    }

    /// All that a user sees.
    pub fn visible(&self, user: &str) -> State {
        let Some(owner) = self.users.get(user) else { return State::new() };
        let mut state = owner.private.clone();
        for (key, variables) in &mut state.0 {
            variables.absorb(self.shared.0.get(key).cloned().unwrap_or_default());
        }
        state
    }

    /// Detaches a connection because the backend says so, or because it closed while its user was inactive. With the
    /// user's last one the user's private part goes.
    pub fn detach(&mut self, conn: C, user: &User) {
        if self.close(conn, user) {
            self.forget(user);
        }
    }

    /// A connection has closed; its user may come back within the session. Says whether it was the user's last one here.
    pub fn close(&mut self, conn: C, user: &User) -> bool {
        self.users.get_mut(user).is_some_and(|owner| owner.conns.remove(&conn) && owner.conns.is_empty())
    }

    /// A user's session has ended: what does not say `expires_in` goes now, the rest in time.
    pub fn end_session(&mut self, now: Instant, user: &User) {
        let Some(owner) = self.users.get_mut(user) else { return };
        owner.is_present = false;
        owner.conns.clear();
        owner.overdue.clear();
        let keys: Vec<Key> = owner.private.0.keys().cloned().collect();
        if keys.is_empty() {
            self.users.remove(user);
        }
        for key in keys {
            let Some(owner) = self.users.get_mut(user) else { return };
            match owner.expires_in.get(&key).copied().filter(|keep| !keep.is_zero()) {
                Some(keep) => expire(&mut self.expiries, owner, user, &key, now + keep),
                None => self.drop_entry(user, &key),
            }
        }
    }

    /// What has expired goes, unless its user has come meanwhile: that is asked first.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, ..)) = self.expiries.first()
            && *at <= now
            && let Some((_, user, key)) = self.expiries.pop_first()
        {
            let Some(owner) = self.users.get_mut(&user) else { continue };
            owner.expires.remove(&key);
            owner.overdue.insert(key);
            self.unknown.insert(user);
        }
    }

    fn drop_entry(&mut self, user: &User, key: &Key) {
        let Some(owner) = self.users.get_mut(user) else { return };
        if let Some(at) = owner.expires.remove(key) {
            self.expiries.remove(&(at, Arc::clone(user), Arc::clone(key)));
        }
        owner.expires_in.remove(key);
        if let Some(variables) = owner.private.0.remove(key) {
            self.bytes = self.bytes.saturating_sub(key.len() + variables.bytes());
        }
        if owner.private.0.is_empty() && owner.conns.is_empty() && !owner.is_present {
            self.users.remove(user);
        }
        self.unsee(user, key);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.expiries.first().map(|(at, ..)| *at)
    }

    /// Whether nothing is kept and nobody is attached.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.shared.0.is_empty()
    }

    /// What is kept, in bytes: names, values, 64 for each value.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn connections(&self, user: &str) -> Vec<C> {
        self.users.get(user).map(|owner| owner.conns.iter().copied().collect()).unwrap_or_default()
    }

    fn forget(&mut self, user: &User) {
        let Some(owner) = self.users.remove(user) else { return };
        self.bytes = self.bytes.saturating_sub(owner.private.bytes());
        for (key, at) in owner.expires {
            self.expiries.remove(&(at, Arc::clone(user), key));
        }
        for key in owner.private.0.keys() {
            self.unsee(user, key);
        }
    }

    /// A user sees a key no longer. What nobody sees is not kept.
    fn unsee(&mut self, user: &User, key: &Key) {
        let Some(users) = self.seen_by.get_mut(key) else { return };
        users.remove(user);
        if users.is_empty() {
            self.seen_by.remove(key);
            if let Some(variables) = self.shared.0.remove(key) {
                self.bytes = self.bytes.saturating_sub(key.len() + variables.bytes());
            }
        }
    }
}

fn expire<C>(expiries: &mut BTreeSet<(Instant, User, Key)>, owner: &mut Owner<C>, user: &User, key: &Key, at: Instant) {
    // It is written anew, whatever is found out about its user.
    owner.overdue.remove(key);
    if let Some(before) = owner.expires.insert(Arc::clone(key), at) {
        expiries.remove(&(before, Arc::clone(user), Arc::clone(key)));
    }
    expiries.insert((at, Arc::clone(user), Arc::clone(key)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While it is being found out whether the user of what has expired is back, the backend writes it anew.
    #[test]
    fn what_is_written_anew_does_not_go_with_what_has_expired() {
        let (ann, limits) = (User::from("ann"), Limits::default());
        let mut namespace: Namespace<u8> = Namespace::new();
        let update = |count: u8| {
            let json = alloc::format!(r#"{{"private": {{"ann": {{"room": {{"unread_counter": {count}}}}}}}}}"#);
            Delta::parse(json.as_bytes()).unwrap()
        };
        namespace.apply(Instant::default(), update(1), &limits).unwrap();
        assert_eq!(namespace.poll_unknown(), Some(ann.clone()));
        namespace.find(&ann, false);
        let expired = namespace.poll_timeout().unwrap();
        namespace.handle_timeout(expired);
        assert_eq!(namespace.poll_unknown(), Some(ann.clone()));
        namespace.apply(expired, update(2), &limits).unwrap();
        namespace.find(&ann, false);
        assert!(!namespace.visible(&ann).0.is_empty());
        assert_eq!(namespace.poll_timeout(), Some(expired + limits.absent));
    }
}

//! All dictionaries of a session pool that are at home on one shard.

use super::state::is_name;
use super::{Delta, Full, Limits, Namespace, State, Update, User};
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;

/// The name of a namespace: one or more of `[A-Za-z0-9_.-]`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(Arc<str>);

impl Name {
    /// `None` if it is no name.
    pub fn new(name: &str) -> Option<Self> {
        (is_name(name) && !name.contains(':')).then(|| Self(name.into()))
    }

    /// Whether it is brolly's own (`swindon.user`, …), which backends cannot write.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("swindon.")
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Dictionaries by name. An empty one to which nobody is attached is not kept.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Namespaces<C> {
    limits: Limits,
    namespaces: BTreeMap<Name, Namespace<C>>,
    /// Those in which something expires, by when.
    timeouts: BTreeSet<(Instant, Name)>,
    /// Whose sessions have to be looked for, see [`Namespace::poll_unknown`].
    unknown: VecDeque<(Name, User)>,
}

impl<C: Copy + Ord> Namespaces<C> {
    /// None yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, namespaces: BTreeMap::new(), timeouts: BTreeSet::new(), unknown: VecDeque::new() }
    }

    /// How much there may be from now on. What is more stays.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Joins an update, see [`Namespace::apply`].
    ///
    /// # Errors
    /// There is no room for it; nothing is applied.
    pub fn apply(&mut self, now: Instant, name: &Name, delta: Delta) -> Result<Vec<Update<C>>, Full> {
        let limits = self.limits;
        self.with(name, |namespace| namespace.apply(now, delta, &limits)).unwrap_or(Err(Full::Namespaces))
    }

    /// Joins an update and attaches a connection, see [`Namespace::attach`]. Who was attached before is told what is new;
    /// then the connection gets everything.
    ///
    /// # Errors
    /// There is no room; nothing is applied, and the connection is not attached.
    pub fn attach(
        &mut self,
        now: Instant,
        name: &Name,
        delta: Delta,
        conn: C,
        user: &User,
    ) -> Result<(Vec<Update<C>>, State), Full> {
        let limits = self.limits;
        let attach = |namespace: &mut Namespace<C>| {
            let updates = namespace.apply(now, delta, &limits)?;
            Ok((updates, namespace.attach(conn, user)))
        };
        self.with(name, attach).unwrap_or(Err(Full::Namespaces))
    }

    /// See [`Namespace::detach`].
    pub fn detach(&mut self, name: &Name, conn: C, user: &User) {
        self.with_known(name, |namespace| namespace.detach(conn, user));
    }

    /// See [`Namespace::close`].
    pub fn close(&mut self, name: &Name, conn: C, user: &User) {
        self.with_known(name, |namespace| namespace.close(conn, user));
    }

    /// See [`Namespace::end_session`].
    pub fn end_session(&mut self, now: Instant, name: &Name, user: &User) {
        self.with_known(name, |namespace| namespace.end_session(now, user));
    }

    /// See [`Namespace::find`].
    pub fn find(&mut self, name: &Name, user: &User, has_session: bool) {
        self.with_known(name, |namespace| namespace.find(user, has_session));
    }

    /// See [`Namespace::poll_unknown`].
    pub fn poll_unknown(&mut self) -> Option<(Name, User)> {
        self.unknown.pop_front()
    }

    /// See [`Namespace::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, name)) = self.timeouts.first().cloned()
            && at <= now
        {
            self.with_known(&name, |namespace| namespace.handle_timeout(now));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeouts.first().map(|(at, _)| *at)
    }

    /// The dictionary of this name, if there is anything in it.
    pub fn get(&self, name: &str) -> Option<&Namespace<C>> {
        self.namespaces.get(name)
    }

    fn with<T>(&mut self, name: &Name, change: impl FnOnce(&mut Namespace<C>) -> T) -> Option<T> {
        if !self.namespaces.contains_key(name) {
            if self.namespaces.len() >= self.limits.namespaces {
                return None;
            }
            self.namespaces.insert(name.clone(), Namespace::new());
        }
        self.with_known(name, change)
    }

    fn with_known<T>(&mut self, name: &Name, change: impl FnOnce(&mut Namespace<C>) -> T) -> Option<T> {
        let namespace = self.namespaces.get_mut(name)?;
        let before = namespace.poll_timeout();
        let result = change(namespace);
        self.unknown.extend(core::iter::from_fn(|| namespace.poll_unknown()).map(|user| (name.clone(), user)));
        let (after, is_empty) = (namespace.poll_timeout(), namespace.is_empty());
        if let Some(at) = before {
            self.timeouts.remove(&(at, name.clone()));
        }
        if let Some(at) = after {
            self.timeouts.insert((at, name.clone()));
        }
        if is_empty {
            self.namespaces.remove(name);
        }
        Some(result)
    }
}

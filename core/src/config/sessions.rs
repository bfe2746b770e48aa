//! Session pools, and the WebSockets whose calls go to backends.

use crate::{lattice, session};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// An isolated set of users, topics and lattices.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SessionPool {
    /// What the configuration calls it.
    pub name: Box<str>,
    /// How long users count as active.
    pub timeouts: session::Timeouts,
    /// Who is told that a user has become inactive: all of them.
    pub inactivity: Vec<Backend>,
    /// How much its lattices may hold, on each shard.
    pub lattices: lattice::Limits,
    /// How its backends are spoken to.
    pub dialect: Dialect,
    /// Of these, one must be shown by whoever uses the backends' interface (`Authorization: Bearer`, RFC 6750 §2.1). Empty: nobody is asked.
    pub keys: Vec<Box<str>>,
    /// It was there in an earlier configuration only: its connections end.
    pub is_stopped: bool,
}

/// Where calls of a kind go: a backend, and what comes before the name of the method in the path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backend {
    /// Index into [`Config::upstreams`](super::Config::upstreams).
    pub upstream: usize,
    /// Begins with a slash; empty for none.
    pub path: Box<str>,
}

/// How backends are spoken to.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Dialect {
    /// `/swindon/…`, `Authorization: Swindon+json`, content types are checked.
    #[default]
    Swindon,
    /// Before version 0.7: `/tangle/…`, `Authorization: Tangle`, content types are not looked at.
    Tangle,
}

impl Dialect {
    /// The first part of the paths of our own calls.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Swindon => "swindon",
            Self::Tangle => "tangle",
        }
    }

    /// The scheme under which a user is named.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Swindon => "Swindon+json",
            Self::Tangle => "Tangle",
        }
    }

    /// Whether content must say that it is JSON.
    pub const fn is_strict(self) -> bool {
        matches!(self, Self::Swindon)
    }
}

/// A WebSocket of a session pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sessions {
    /// Index into [`Config::pools`](super::Config::pools).
    pub pool: usize,
    /// Whether a client that names no subprotocol is let in.
    pub takes_any_protocol: bool,
    /// Whether and how messages are compressed, if the client wants it (RFC 7692).
    pub compression: Option<crate::ws::deflate::Settings>,
    /// Where calls go by method: exact names and `prefix.*`, the most specific first.
    pub calls: Vec<(Box<str>, Backend)>,
    /// Where all others go.
    pub others: Backend,
}

impl Sessions {
    /// Who gets the calls of a method.
    pub fn backend(&self, method: &str) -> &Backend {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => method.len() > prefix.len() && method.starts_with(prefix),
            None => method == pattern,
        };
        self.calls.iter().find(|(pattern, _)| matches(pattern)).map_or(&self.others, |(_, backend)| backend)
    }
}

impl Backend {
    /// The path of a call.
    pub fn path(&self, method: &str) -> alloc::string::String {
        [&self.path, "/", &method.replace('.', "/")].concat()
    }
}

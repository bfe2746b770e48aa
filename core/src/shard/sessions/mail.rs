//! What shards say to each other about a session pool.

use super::super::ConnId;
use crate::lattice::{Delta, Name, State};
use crate::pubsub::Topic;
use crate::session::{Seen, User};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// A connection, wherever it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The shard that has it.
    pub shard: u16,
    /// What it is called there.
    pub conn: ConnId,
}

/// Who waits for an answer: a request on that connection, told apart by its tag.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Reply {
    /// Where.
    pub to: Place,
    /// Which request.
    pub tag: u64,
}

/// A message about one pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionMail {
    /// Index into the pools of the configuration.
    pub pool: u16,
    /// Who wants to know that it is done.
    pub reply: Option<Reply>,
    /// What to do.
    pub order: Order,
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// To a namespace: an update.
    Apply(Name, Delta),
    /// To a connection: update this namespace, and be attached to it.
    Attach(ConnId, Name, Delta),
    /// To a user: a connection is attached to this namespace, after an update. What users do to namespaces goes by their home, so
    /// that it comes there in the order in which it happened.
    AttachOf(User, Place, Name, Delta),
    /// To a namespace: attach a connection of a user, after an update.
    AttachTo(Name, Delta, Place, User),
    /// To a connection: end, with this code and reason.
    Close(ConnId, u16, Box<str>),
    /// To a namespace: a connection of a user is gone.
    Closed(Name, Place, User),
    /// To a user: close all connections.
    CloseUser(User, u16, Box<str>),
    /// To a user: has this connection.
    Connected(User, Place),
    /// To a connection: leave this namespace.
    Detach(ConnId, Name),
    /// To a namespace: a connection of a user leaves.
    DetachFrom(Name, Place, User),
    /// To a user: a connection leaves this namespace.
    DetachOf(User, Place, Name),
    /// To a user: had this connection, which was attached to these namespaces.
    Disconnected(User, Place, BTreeSet<Name>),
    /// To a request that waits: one of the things it waits for is done.
    Done(ConnId, u64, Outcome),
    /// To a namespace: the session of a user is over.
    Ended(Name, User),
    /// To a namespace: whether a user has a session, whose end will be told.
    Found(Name, User, bool),
    /// To a user: a namespace holds something, and asks whether the user has a session.
    Find(User, Name),
    /// To a user: does something, and counts as active so long.
    Active(User, Duration),
    /// To users: this one watches them. Their statuses go back: to that connection, or to all that are told.
    Observe(Vec<User>, User, Option<Place>),
    /// To a user who watches: what others do. To that connection, or to all that are told.
    Observed(User, Vec<(User, Seen)>, Option<Place>),
    /// To connections: what is new in a namespace.
    Tell(Vec<ConnId>, Name, Arc<State>),
    /// To a connection: a message on a topic, subscribed or not.
    Send(ConnId, Bytes),
    /// To a user: a message to all connections.
    SendUser(User, Bytes),
    /// To users: what they do is asked.
    Status(Vec<User>),
    /// To a shard: what all do who are at home there and have a session, if they are no more than so many.
    StatusOfAll(usize),
    /// To a connection: follow this topic.
    Subscribe(ConnId, Topic),
    /// To a connection: which topics it follows.
    Subscriptions(ConnId),
    /// To users: this one watches them no longer.
    Unobserve(Vec<User>, User),
    /// To a connection: no longer follow this topic.
    Unsubscribe(ConnId, Topic),
    /// To a connection: be told about nobody any more.
    Unwatch(ConnId),
    /// To a user: this connection is told about nobody, and the user watches nobody.
    UnwatchOf(User, Place),
    /// To a connection: be told what these do.
    Watch(ConnId, Vec<User>),
    /// To a user: this connection is told what these do; `None`: those that are told already.
    WatchOf(User, Option<Place>, Vec<User>),
}

impl Order {
    /// The connection that a backend has named.
    pub(super) const fn connection(&self) -> Option<ConnId> {
        match self {
            Self::Attach(conn, ..)
            | Self::Close(conn, ..)
            | Self::Detach(conn, _)
            | Self::Send(conn, _)
            | Self::Subscribe(conn, _)
            | Self::Subscriptions(conn)
            | Self::Unsubscribe(conn, _)
            | Self::Unwatch(conn)
            | Self::Watch(conn, _) => Some(*conn),
            _ => None,
        }
    }
}

/// How something ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Well.
    Done,
    /// With this status and reason.
    Refused(u16, String),
    /// What users do.
    Statuses(Vec<(User, Seen)>),
    /// The topics of a connection.
    Topics(Vec<String>),
}

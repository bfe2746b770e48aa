//! What shards say to each other. Between two shards the order is kept.

use super::{Change, ConnId, Counts, SessionMail};
use crate::config::Config;
use crate::http1::StatusCode;
use crate::pubsub::{Body, Joined, MemberId, Message, Position, Topic};
use crate::throttle::ClientKey;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

/// A message from one shard to another, or from the host.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mail {
    /// To an event stream's shard: change its topics.
    Change(Box<Change>),
    /// The answer to `Change`.
    Changed {
        /// Who asked.
        conn: ConnId,
        /// As asked.
        tag: u64,
        /// The topics that the stream has now, or why it was not changed.
        changed: Box<Result<String, (StatusCode, String)>>,
    },
    /// From the host: another configuration, made with [`Config::succeeded_by`].
    Configure(Arc<Config>),
    /// To every shard: the sender has the configuration of this generation, and understands mail about what is new in it.
    Configured(u64),
    /// To every shard: say what you hold.
    Count {
        /// The shard to answer.
        from: u16,
        /// Whose request.
        conn: ConnId,
        /// Tells the requests of a connection apart.
        tag: u64,
    },
    /// The answer to `Count`.
    Counted {
        /// As asked.
        conn: ConnId,
        /// As asked.
        tag: u64,
        /// What the shard holds.
        counts: Box<Counts>,
    },
    /// To a subscriber's shard: a topic's home has numbered a message.
    Deliver(Arc<Message>),
    /// To every shard: the sender has no connections left and is shutting down.
    Drained,
    /// To the home of a client: it begins a request, if it may.
    Enter {
        /// The shard to answer.
        from: u16,
        /// Whose request.
        conn: ConnId,
        /// Tells the requests of a connection apart.
        tag: u64,
        /// Which client, of which policy.
        client: ClientKey,
    },
    /// The answer to `Enter`.
    Entered {
        /// As asked.
        conn: ConnId,
        /// As asked.
        tag: u64,
        /// As asked.
        client: ClientKey,
        /// Whether it may; if not, how long until it may, as far as that is known.
        entered: Result<(), Option<Duration>>,
    },
    /// To the home of a client: it has ended a request.
    Exit(ClientKey),
    /// To a topic's home: let a connection of `from` follow it.
    Join {
        /// The shard to answer.
        from: u16,
        /// Whose subscription.
        conn: ConnId,
        /// Which subscription.
        member: MemberId,
        /// Which topic.
        topic: Topic,
        /// Where the subscriber was.
        since: Option<Position>,
    },
    /// The answer to `Join`; `None` if there is no room for another topic.
    Joined {
        /// As asked.
        conn: ConnId,
        /// As asked.
        member: MemberId,
        /// As asked.
        topic: Topic,
        /// What the home says.
        joined: Option<Joined>,
    },
    /// To a topic's home: a subscriber of `from` has gone.
    Leave {
        /// The shard that had it.
        from: u16,
        /// Which topic.
        topic: Topic,
    },
    /// To a topic's home: publish.
    Publish {
        /// The shard to answer.
        from: u16,
        /// The publisher.
        conn: ConnId,
        /// Tells the publisher's requests apart.
        tag: u64,
        /// Which topic.
        topic: Topic,
        /// What.
        body: Body,
    },
    /// The answer to `Publish`.
    Published {
        /// As asked.
        conn: ConnId,
        /// As asked.
        tag: u64,
        /// As asked.
        topic: Topic,
        /// What became of it.
        receipt: Result<Receipt, Busy>,
    },
    /// To the home of a client: bytes are to be written to it.
    Take {
        /// The shard to answer.
        from: u16,
        /// Over which connection.
        conn: ConnId,
        /// Which client, of which policy.
        client: ClientKey,
        /// How many.
        bytes: u64,
    },
    /// The answer to `Take`.
    Taken {
        /// As asked.
        conn: ConnId,
        /// As asked.
        client: ClientKey,
        /// They may be, or it is to be asked again at this time.
        taken: Result<(), Instant>,
    },
    /// About a session pool.
    Session(Box<SessionMail>),
    /// From the host: stop accepting, finish what is under way, be done after this long at the latest.
    Shutdown(Duration),
}

/// A message was numbered and is on its way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Receipt {
    /// Its number.
    pub position: Position,
    /// How many subscribers the topic had.
    pub subscribers: u32,
}

/// Too much on its way, or too many topics: try again later.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Busy;

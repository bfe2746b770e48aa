//! All connections, topics and timers of one thread: one state machine, composed of small ones.
//!
//! Four kinds of methods, in any order. `handle_*` tells what happened; it never fails, bad input becomes a response or a
//! close. `poll_*` takes one thing to do. `interest` and `outgoing` say what to do with a socket, at any time. `is_*` are
//! free. One call does work in proportion to the bytes given; a fan-out to many continues with
//! [`handle_timeout`](Shard::handle_timeout), for which [`poll_timeout`](Shard::poll_timeout) then asks at once.
//!
//! The shard routes between its parts and holds no protocol state itself:
//!
//! | file | part |
//! |---|---|
//! | `accept.rs` | new connections |
//! | `input.rs` | sockets: bytes in, bytes out, ends, deadlines |
//! | `request.rs` | a request head to its handler |
//! | `general.rs` | what is answered alike on all routes |
//! | `answer.rs` | answers: errors, redirects, the log |
//! | `shape.rs` | what its route changes about messages |
//! | `admit.rs`, `authorize.rs`, `grant.rs` | what its route asks for before that, and what it then may have |
//! | `files/` | files: opening, sending, the cache |
//! | `proxy/`, `tunnel.rs`, `relay.rs` | requests to backends, upgraded connections as bytes, WebSockets as messages |
//! | `follow.rs` | subscriptions: joining, fan-out, leaving |
//! | `stream.rs`, `poll.rs`, `calls.rs` | subscribers by event stream, long-poll, WebSocket |
//! | `gzip.rs` | event streams, compressed |
//! | `publish.rs` | publishers |
//! | `sessions/` | session pools: calls to backends, users, lattices |
//! | `reload.rs` | another configuration |
//! | `mail.rs`, `post.rs` | what shards say to each other, and what they do about it |
//! | `slot.rs` | what is known about a connection |
//! | `effect.rs` | what the host is asked for |
//! | `wheel.rs` | timers |
//! | `usage.rs` | what is held at the moment |
//! | `count.rs` | the same of all shards, for whoever asks over HTTP |

mod accept;
mod admit;
mod answer;
mod authorize;
mod calls;
mod changes;
mod count;
mod effect;
mod files;
mod follow;
mod general;
mod grant;
mod gzip;
mod input;
mod mail;
mod poll;
mod post;
mod proxy;
mod publish;
mod relay;
mod reload;
mod request;
mod sessions;
mod shape;
mod slot;
mod stream;
mod tunnel;
mod usage;
pub mod wheel;

pub use accept::{Accepted, Introduction};
pub use changes::{Change, StreamId};
pub use count::Counts;
pub use effect::{
    Access, Address, Completion, ConnId, Effect, FileId, FileRange, FileRequest, IoError, Notice, OpId, Opened, Secret,
};
pub use mail::{Busy, Mail, Receipt};
pub use sessions::{Order, Outcome, Place, Reply, SessionMail};
pub use slot::Slot;
pub use usage::Usage;

use crate::arena::Arena;
use crate::config::Config;
use crate::conn::{Interest, Timeouts};
use crate::http1::Limits;
use crate::outbox::{Outbox, Storages};
use crate::pubsub::{Epoch, Home, MemberId, Message, Subscribers};
use crate::rng::{Rng, Seed};
use crate::text::date;
use crate::throttle::Throttle;
use crate::time::{Instant, Now};
use crate::upstream::Upstream;
use crate::ws::deflate::{Codec, SharedFrame};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use reload::Next;
use wheel::Wheel;

/// How many subscribers are looked at before the sockets get their turn, and how much storage for send queues is kept.
const FAN_OUT: usize = 1024;
/// A source (file, backend, request content) is not read while more than this is queued for its sink (bytes).
const HIGH_WATER: usize = 256 * 1024;
/// It is read again when less than this is queued (bytes).
const LOW_WATER: usize = 64 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub struct Shard {
    config: Arc<Config>,
    /// The one that takes its place when all shards have it.
    next: Next,
    timeouts: Timeouts,
    http: Limits,
    number: u16,
    shards: u16,
    rng: Rng,
    epoch: Epoch,

    slots: Arena<Slot>,
    agenda: Agenda,
    /// Connections whose left-over bytes can be used again.
    resumed: VecDeque<ConnId>,
    /// Connections to backends whose exchange is over.
    released: VecDeque<ConnId>,
    effects: VecDeque<Effect>,
    /// Mail to this shard itself.
    loopback: VecDeque<Mail>,
    /// Who waits for which operation of the host.
    operations: BTreeMap<OpId, Operation>,
    next_number: u64,
    /// How many of them are passwords.
    verifying: usize,
    /// How much clients had lately.
    throttle: Throttle,

    home: Home,
    subscribers: Subscribers<ConnId>,
    /// By session pool, what is at home here.
    pools: Vec<sessions::Pool>,
    /// How many backends are being told that a user is inactive.
    tellings: usize,
    /// Subscriptions by backends that are about to hold, and who waits for that.
    joining: BTreeMap<MemberId, Vec<Reply>>,
    upstreams: Vec<Upstream<ConnId, Address>>,
    /// When an upstream wants something that no connection waits for.
    upkeep: Option<Instant>,
    /// Where heads of requests are written before it is known who gets them. Empty.
    scratch: Outbox,
    cache: files::Cache,
    /// Send-queue storage for the next connection that has something to send.
    storage: Storages,
    /// Compresses and inflates messages of WebSockets.
    codec: Codec,
    /// The message that is being fanned out, framed, and compressed for whoever wants it so.
    framed: Option<(Arc<Message>, SharedFrame)>,
    /// The same as an event, compressed.
    gzipped: gzip::Shared,
    date: ([u8; 29], u64),
    /// The decoded path of the request at hand: reused.
    path: String,
    /// Mail to other shards is piling up: publish nothing more.
    is_congested: bool,
    shutdown: Option<Instant>,
    /// How many shards, this one included, have said that they are drained.
    drained: u16,
    has_said_drained: bool,
}

/// Which connections the host should look at, and when.
#[derive(Debug, Default)]
struct Agenda {
    wheel: Wheel<ConnId>,
    changed: VecDeque<ConnId>,
}

impl Agenda {
    /// Marks a connection for the host, and arms its timer. An entry that is too early finds out when it fires.
    fn settle(&mut self, conn: ConnId, slot: &mut Slot) {
        if let Some(at) = slot.deadline()
            && slot.armed.is_none_or(|armed| at < armed)
        {
            slot.armed = Some(at);
            self.wheel.insert(at, conn);
        }
        if !slot.is_changed && !matches!(slot.role, slot::Role::Errand(_)) {
            slot.is_changed = true;
            self.changed.push_back(conn);
        }
    }
}

/// Who waits for an operation of the host.
#[derive(Clone, Copy, Debug)]
enum Operation {
    File(ConnId),
    /// Of an upstream, a server.
    Resolve(usize, usize),
    Verify(ConnId),
}

impl Shard {
    /// Shard `number` of `shards`, without connections. All shards of a process get the same `seed`.
    pub fn new(config: Arc<Config>, number: u16, shards: u16, seed: Seed) -> Self {
        let epoch = Epoch(Rng::new(seed, u64::MAX).next_u64());
        Self {
            timeouts: config.limits.timeouts(),
            http: config.limits.http,
            number,
            shards: shards.max(1),
            rng: Rng::new(seed, u64::from(number)),
            epoch,
            slots: Arena::new(),
            agenda: Agenda::default(),
            resumed: VecDeque::new(),
            released: VecDeque::new(),
            effects: VecDeque::new(),
            loopback: VecDeque::new(),
            operations: BTreeMap::new(),
            next_number: 0,
            verifying: 0,
            throttle: Throttle::default(),
            home: Home::new(epoch, config.limits.pubsub),
            subscribers: Subscribers::new(),
            pools: config.pools.iter().map(sessions::Pool::new).collect(),
            tellings: 0,
            joining: BTreeMap::new(),
            upstreams: config.upstreams.iter().map(proxy::state).collect(),
            upkeep: config.upstreams.iter().any(|of| of.health.is_some()).then(Instant::default),
            scratch: Outbox::new(),
            cache: files::Cache::default(),
            next: Next::default(),
            storage: Storages::new(FAN_OUT),
            codec: Codec::new(),
            framed: None,
            gzipped: gzip::Shared::default(),
            date: (date::format(0), 0),
            path: String::new(),
            is_congested: false,
            shutdown: None,
            drained: 0,
            has_said_drained: false,
            config,
        }
    }

    /// What to do with a connection's socket. [`close`](Interest::close) for an unknown one.
    #[inline]
    pub fn interest(&self, conn: ConnId) -> Interest {
        let Some(slot) = self.slots.get(conn) else { return Interest { close: true, ..Interest::default() } };
        let mut interest = slot.interest();
        interest.read = interest.read && self.has_room(slot);
        interest.write = interest.write && slot.paused_until().is_none();
        interest
    }

    /// Whether there is room for more of a connection's bytes, and for the answers to them.
    #[inline]
    fn has_room(&self, slot: &Slot) -> bool {
        let is_answered = matches!(slot.role, slot::Role::Server(_) | slot::Role::WebSocket(_));
        let unsent = slot.unsent().len();
        if is_answered && unsent >= HIGH_WATER && unsent >= slot.answers_cap(self.config.limits.websocket.message_bytes)
        {
            return false;
        }
        // A head or trailer section that is not complete has to fit, whatever follows it.
        let unfinished = self.http.head_bytes.max(self.http.trailer_bytes);
        slot.leftover.is_empty() || slot.leftover.len() < self.config.limits.pipelined_bytes.max(unfinished)
    }

    /// Fills `slices` with the next bytes to be written to a connection; says how many it filled.
    pub fn outgoing<'a>(&'a self, conn: ConnId, slices: &mut [&'a [u8]]) -> usize {
        let Some(slot) = self.slots.get(conn) else { return 0 };
        let filled = slot.unsent().slices(slices);
        slot.cut(slices, filled)
    }

    /// The piece of a file that is to be written to a connection next, when [`outgoing`](Self::outgoing) gives nothing: it is in memory.
    /// Only if [`Config::sends_files`] says that the host can.
    pub fn outgoing_file(&self, conn: ConnId) -> Option<FileRange> {
        match &self.slots.get(conn)?.role {
            slot::Role::Server(slot::Server { exchange: slot::Exchange::Sending(sending), .. }) => sending.window(),
            _ => None,
        }
    }

    /// A connection whose [`interest`](Self::interest) may have changed.
    pub fn poll_changed(&mut self) -> Option<ConnId> {
        while let Some(conn) = self.agenda.changed.pop_front() {
            if self.slots.get_mut(conn).is_some_and(|slot| mem::take(&mut slot.is_changed)) {
                return Some(conn);
            }
        }
        None
    }

    /// The host did all that a connection wanted, as far as its socket went along: until something else happens there is
    /// no need to look at it again.
    pub fn handle_visited(&mut self, conn: ConnId) {
        if let Some(slot) = self.slots.get_mut(conn) {
            slot.is_changed = false;
        }
    }

    /// Work for the host.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether messages wait to be handed out: [`handle_timeout`](Self::handle_timeout) goes on with it.
    pub fn has_backlog(&self) -> bool {
        self.subscribers.is_pending()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; in the past if there is work left over. O(1).
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.has_backlog() {
            return Some(Instant::default());
        }
        let timers = crate::conn::earlier(self.agenda.wheel.poll_timeout(), self.home.poll_timeout());
        let can_tell = self.tellings < sessions::TELLINGS;
        let pools = self.pools.iter().filter_map(|pool| pool.poll_timeout(can_tell)).min();
        let timers = crate::conn::earlier(timers, pools);
        let upkeep = self.upkeep.filter(|_| self.shutdown.is_none());
        let timers = crate::conn::earlier(timers, upkeep);
        crate::conn::earlier(timers, self.shutdown.filter(|_| !self.slots.is_empty()))
    }

    /// Whether another connection has room. If not, leave the listeners alone.
    pub fn is_accepting(&self) -> bool {
        self.shutdown.is_none() && self.slots.len() < self.config.limits.connections
    }

    /// Whether the shard was told to shut down, so that the listeners can be closed.
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.is_some()
    }

    /// Whether all shards have finished: drop this one.
    pub fn is_drained(&self) -> bool {
        self.drained >= self.shards
    }

    /// The host cannot get rid of the mail for other shards (or can again): refuse to publish meanwhile.
    pub fn handle_congestion(&mut self, is_congested: bool) {
        self.is_congested = is_congested;
    }

    /// How many connections there are, of both directions.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// Everything that touches a connection ends here.
    fn settle(&mut self, _now: Now, conn: ConnId) {
        if let Some(slot) = self.slots.get_mut(conn) {
            self.agenda.settle(conn, slot);
        }
    }

    /// Lets left-over bytes be used once the current work is done.
    fn resume(&mut self, conn: ConnId) {
        self.resumed.push_back(conn);
    }

    fn next_op(&mut self, operation: Operation) -> OpId {
        self.next_number += 1;
        let op = OpId(self.next_number);
        self.operations.insert(op, operation);
        op
    }
}

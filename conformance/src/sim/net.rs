//! What all parts of a world share: clocks, alarms, listeners, sockets.

use super::knobs::Knobs;
use super::random::Random;
use brolly_core::shard::{Accepted, Address};
use brolly_core::time::{Instant, Now, UnixTime};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

/// 2026-11-21 in milliseconds since 1970.
const TODAY: u64 = 1_795_219_200_000;

/// Who is to be told at some time.
#[derive(Debug)]
pub(crate) enum Alarm {
    Peer(usize),
    Task(Waker),
}

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) knobs: Knobs,
    /// Nanoseconds since the world began.
    pub(crate) now: Cell<u64>,
    /// By how much the calendar is off (milliseconds).
    pub(crate) skew: Cell<u64>,
    /// Troublemaking is over.
    pub(crate) is_calm: Cell<bool>,
    pub(crate) random: RefCell<Random>,
    pub(crate) alarms: RefCell<BTreeMap<(u64, u64), Alarm>>,
    /// Peers with something to look at.
    pub(crate) runnable: RefCell<BTreeSet<usize>>,
    pub(crate) listeners: RefCell<Vec<Listener>>,
    pub(crate) timers: RefCell<Vec<Option<(u64, Waker)>>>,
    /// Connections to backends that wait for a peer.
    pub(crate) arrivals: RefCell<VecDeque<(Address, Shared)>>,
    /// Open files: what they hold.
    pub(crate) files: RefCell<BTreeMap<u64, Rc<[u8]>>>,
    pub(crate) trace: Cell<u64>,
    /// How much was moved over sockets.
    pub(crate) moved: Cell<u64>,
    pub(crate) logged: Cell<u64>,
    /// How often a driver was polled or asked its runtime for something.
    pub(crate) looks: Cell<u64>,
    /// The fault that is planted to see that it is found.
    pub(crate) canary: Cell<Option<Canary>>,
    number: Cell<u64>,
    is_traced: bool,
}

/// A planted fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Canary {
    /// One byte that was written to a client is lost.
    LostByte,
    /// A client's bytes are read twice.
    RepeatedRead,
    /// A socket that became readable says nothing.
    LostWakeUp,
    /// A file is never closed.
    LeakedFile,
}

/// Where a shard's clients come in.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    pub(crate) backlog: VecDeque<(Accepted, Shared)>,
    pub(crate) waker: Option<Waker>,
    pub(crate) is_closed: bool,
}

/// A connection. One end is a shard's, the other a peer's.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) number: u64,
    /// To the shard.
    pub(crate) up: Pipe,
    /// To the peer.
    pub(crate) down: Pipe,
    pub(crate) is_reset: bool,
    pub(crate) shard_gone: bool,
    pub(crate) peer_gone: bool,
    pub(crate) peer: Option<usize>,
    /// After so many more moves of single bytes, they become larger: worlds have to end.
    pub(crate) patience: u32,
}

pub(crate) type Shared = Rc<RefCell<Link>>;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) bytes: VecDeque<u8>,
    pub(crate) fin: bool,
    /// The shard's end waits for bytes, or for room.
    pub(crate) waker: Option<Waker>,
}

impl Pipe {
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Net {
    pub(crate) fn new(knobs: Knobs, random: &mut Random) -> Rc<Self> {
        let shards = usize::from(knobs.shards);
        Rc::new(Self {
            now: Cell::new(1),
            skew: Cell::new(0),
            is_calm: Cell::new(false),
            random: RefCell::new(random.fork()),
            alarms: RefCell::default(),
            runnable: RefCell::default(),
            listeners: RefCell::new((0..shards).map(|_| Listener::default()).collect()),
            timers: RefCell::new((0..shards).map(|_| None).collect()),
            arrivals: RefCell::default(),
            files: RefCell::default(),
            trace: Cell::new(0xcbf2_9ce4_8422_2325),
            moved: Cell::new(0),
            logged: Cell::new(0),
            looks: Cell::new(0),
            canary: Cell::new(None),
            number: Cell::new(0),
            is_traced: std::env::var_os("SIMULATE_TRACE").is_some(),
            knobs,
        })
    }

    pub(crate) fn clocks(&self) -> Now {
        let unix = TODAY + self.now.get() / 1_000_000 + self.skew.get();
        Now { instant: Instant::from_nanos(self.now.get()), unix: UnixTime::from_millis(unix) }
    }

    pub(crate) fn count_look(&self) {
        self.looks.set(self.looks.get() + 1);
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    pub(crate) fn alarm(&self, at: u64, alarm: Alarm) {
        let number = self.next_number();
        self.alarms.borrow_mut().insert((at, number), alarm);
    }

    pub(crate) fn chance(&self, percent: u64) -> bool {
        percent > 0 && !self.is_calm.get() && self.random.borrow_mut().chance(percent)
    }

    /// Something happened that two runs of one seed must agree on. `SIMULATE_TRACE=1` shows it.
    pub(crate) fn note(&self, what: u64, bytes: impl IntoIterator<Item = u8> + Clone) {
        if self.is_traced {
            let kinds =
                ["read the end", "read", "wrote", "shut down", "dropped", "was cut off", "accepted", "connected"];
            let bytes: Vec<u8> = bytes.clone().into_iter().take(400).collect();
            let kind = kinds.get((what & 7) as usize).copied().unwrap_or_default();
            eprintln!("{:>15} #{} {kind} {:?}", self.now.get(), what >> 3, String::from_utf8_lossy(&bytes));
        }
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let hash = self.now.get().to_le_bytes().into_iter().chain(what.to_le_bytes()).fold(self.trace.get(), step);
        self.trace.set(bytes.into_iter().fold(hash, step));
    }

    pub(crate) fn link(&self, peer: Option<usize>) -> Shared {
        Rc::new(RefCell::new(Link {
            number: self.next_number(),
            up: Pipe::default(),
            down: Pipe::default(),
            is_reset: false,
            shard_gone: false,
            peer_gone: false,
            peer,
            patience: 800,
        }))
    }

    /// A client of some shard; `None` if nobody listens any more.
    pub(crate) fn connect(&self, peer: usize) -> Option<Shared> {
        self.connect_to(0, peer)
    }

    /// A client of some shard by this listener.
    pub(crate) fn connect_to(&self, number: u16, peer: usize) -> Option<Shared> {
        let mut listeners = self.listeners.borrow_mut();
        let at = self.random.borrow_mut().index(listeners.len());
        let listener = &mut listeners[at];
        if listener.is_closed {
            return None;
        }
        let link = self.link(Some(peer));
        self.note(link.borrow().number << 3 | 6, format!("peer {peer} by shard {at}").into_bytes());
        let address = SocketAddr::from(([10, 0, 0, 1], 1024 + (link.borrow().number % 60_000) as u16));
        let accepted = Accepted { listener: number, ..address.into() };
        listener.backlog.push_back((accepted, Rc::clone(&link)));
        if let Some(waker) = listener.waker.take() {
            waker.wake();
        }
        Some(link)
    }

    pub(crate) fn wake_peer(&self, link: &Link) {
        if let Some(peer) = link.peer {
            self.runnable.borrow_mut().insert(peer);
        }
    }
}

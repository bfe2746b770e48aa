//! A host that does what it is told, at the wrong time if it is told so. What a driver never does, it does not do either:
//! it reads and writes only what the shard is interested in.

use super::backend::Backend;
use super::client::Client;
use super::dictionary;
use super::operation::{How, Operation, Piece};
use brolly_core::config::{Coding, Config};
use brolly_core::handler::files::listing::{Entry, Listing};
use brolly_core::handler::files::{Codings, Stamp};
use brolly_core::rng::Seed;
use brolly_core::shard::{Completion, ConnId, Effect, FileId, IoError, Opened, Shard, Usage};
use brolly_core::time::{Instant, Now, UnixTime};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// As much as a driver reads at a time, in bytes.
const READ: usize = 16 * 1024;
/// More turns than anything takes that comes to an end.
const TURNS: usize = 2000;
/// In nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/shard.toml");
    Arc::new(brolly_host::config::load(&path).unwrap_or_else(|failure| panic!("{failure}")).config)
});

#[derive(Debug)]
pub(super) struct Host {
    shard: Shard,
    now: u64,
    peers: BTreeMap<ConnId, Peer>,
    effects: Vec<Effect>,
    files: BTreeSet<FileId>,
    next: u64,
    /// Tags of requests that have reached the shard.
    accepted: BTreeSet<String>,
    /// Tags of those to which a backend may say anything.
    garbled: BTreeSet<String>,
}

#[derive(Debug)]
struct Peer {
    side: Side,
    unsaid: Vec<u8>,
    has_ended: bool,
}

#[derive(Debug)]
enum Side {
    Client(Box<Client>),
    Backend(Box<Backend>),
}

impl Host {
    pub(super) fn new() -> Self {
        Self {
            shard: Shard::new(Arc::clone(&CONFIG), 0, 1, Seed([1; 32])),
            now: 1,
            peers: BTreeMap::new(),
            effects: Vec::new(),
            files: BTreeSet::new(),
            next: 0,
            accepted: BTreeSet::new(),
            garbled: BTreeSet::new(),
        }
    }

    fn clocks(&self) -> Now {
        Now { instant: Instant::from_nanos(self.now), unix: UnixTime::from_millis(self.now / 1_000_000) }
    }

    pub(super) fn perform(&mut self, operation: Operation<'_>) {
        match operation {
            Operation::Accept => self.accept(),
            Operation::Mean(which, piece) => self.with(which, |host, conn| host.mean(conn, piece)),
            Operation::Say(which, share) => self.with(which, |host, conn| _ = host.say(conn, share)),
            Operation::End(which) => self.with(which, Self::end_of),
            Operation::Break(which) => self.with(which, |host, conn| {
                let error = (which > 100).then_some(IoError::ConnectionReset);
                host.gone(conn, error);
            }),
            Operation::Take(which, share) => self.with(which, |host, conn| _ = host.take(conn, share)),
            Operation::Wait(power) => self.wait(1 << (power % 38)),
            Operation::Finish(which, how) => _ = self.finish(which, how),
            Operation::Visit => self.visit(),
            Operation::Settle => self.settle(),
            Operation::Congest(is_congested) => self.shard.handle_congestion(is_congested),
            Operation::Stop(power) => {
                let now = self.clocks();
                self.shard.handle_shutdown(now, Duration::from_nanos(1 << (power % 38)));
            }
        }
        self.look();
    }

    fn with(&mut self, which: u8, act: impl FnOnce(&mut Self, ConnId)) {
        let at = usize::from(which) % self.peers.len().max(1);
        if let Some(conn) = self.peers.keys().nth(at).copied() {
            act(self, conn);
        }
    }

    fn accept(&mut self) {
        let peer = SocketAddr::from(([10, 0, 0, 1], 99));
        if let Some(conn) = self.shard.handle_accept(self.clocks(), peer.into()) {
            self.add(conn, Side::Client(Box::new(Client::new(CONFIG.limits.http))));
        }
    }

    fn add(&mut self, conn: ConnId, side: Side) {
        let known = self.peers.insert(conn, Peer { side, unsaid: Vec::new(), has_ended: false });
        assert!(known.is_none(), "an id was used twice");
    }

    fn mean(&mut self, conn: ConnId, piece: Piece<'_>) {
        let Some(peer) = self.peers.get_mut(&conn).filter(|peer| peer.unsaid.len() < 100_000) else { return };
        match (piece, &mut peer.side) {
            (Piece::Raw(raw), side) => {
                peer.unsaid.extend_from_slice(raw);
                if let Side::Backend(backend) = side {
                    self.garbled.extend(backend.last().map(String::from));
                }
            }
            (Piece::Known(which), Side::Client(_)) => {
                self.next += 1;
                peer.unsaid.extend(dictionary::request(which, &dictionary::tag(self.next)));
            }
            (Piece::Known(which), Side::Backend(backend)) => {
                if let Some((tag, is_head)) = backend.question(dictionary::is_interim(which)) {
                    peer.unsaid.extend(dictionary::response(which, &tag, is_head));
                }
            }
        }
    }

    /// Whether anything was said.
    fn say(&mut self, conn: ConnId, share: u8) -> bool {
        let (now, interest) = (self.clocks(), self.shard.interest(conn));
        let Some(peer) = self.peers.get_mut(&conn) else { return false };
        if !interest.read || peer.unsaid.is_empty() || peer.has_ended {
            return false;
        }
        let len = (1 + (peer.unsaid.len() - 1) * usize::from(share) / 255).min(READ);
        let mut bytes: Vec<u8> = peer.unsaid.drain(..len).collect();
        match &mut peer.side {
            Side::Client(client) => client.sent(&bytes, |tag| _ = self.accepted.insert(tag.into())),
            Side::Backend(backend) => backend.said(&bytes),
        }
        self.shard.handle_read(now, conn, &mut bytes);
        true
    }

    fn end_of(&mut self, conn: ConnId) {
        let (now, interest) = (self.clocks(), self.shard.interest(conn));
        let Some(peer) = self.peers.get_mut(&conn).filter(|peer| interest.read && !peer.has_ended) else { return };
        peer.has_ended = true;
        self.shard.handle_eof(now, conn);
    }

    fn gone(&mut self, conn: ConnId, error: Option<IoError>) {
        self.peers.remove(&conn);
        self.shard.handle_closed(self.clocks(), conn, error);
        assert!(self.shard.interest(conn).close && self.shard.outgoing(conn, &mut [&[]]) == 0, "it is still there");
    }

    /// Whether anything was taken.
    fn take(&mut self, conn: ConnId, share: u8) -> bool {
        let (now, interest) = (self.clocks(), self.shard.interest(conn));
        let Some(peer) = self.peers.get_mut(&conn) else { return false };
        let mut slices: [&[u8]; 8] = [&[]; 8];
        let filled = self.shard.outgoing(conn, &mut slices);
        let mut bytes = slices[..filled].concat();
        if interest.write && !interest.close {
            assert!(!bytes.is_empty(), "there is nothing to be written");
            bytes.truncate(1 + (bytes.len() - 1) * usize::from(share) / 255);
            match &mut peer.side {
                Side::Client(client) => client.took(&bytes, &self.garbled),
                Side::Backend(backend) => backend.took(&bytes, &self.accepted),
            }
            self.shard.handle_write(now, conn, bytes.len());
        } else if interest.shutdown && !interest.close {
            self.shard.handle_shutdown_done(now, conn);
        } else {
            return false;
        }
        true
    }

    /// Lets time pass. The shard may ask to be called again at once, but not for ever.
    fn wait(&mut self, nanos: u64) {
        self.now += nanos;
        let now = self.clocks();
        for _ in 0..TURNS {
            self.shard.handle_timeout(now);
            self.visit();
            if self.shard.poll_timeout().is_none_or(|at| at > now.instant) {
                return;
            }
        }
        panic!("the shard wants to be called again and again");
    }

    /// Closes what is to be closed; of each such connection the host was told.
    fn visit(&mut self) {
        while let Some(conn) = self.shard.poll_changed() {
            if self.shard.interest(conn).close {
                self.gone(conn, None);
            }
        }
        for conn in self.peers.keys() {
            assert!(!self.shard.interest(*conn).close, "nobody was told that {conn:?} is to be closed");
        }
    }

    /// Everything goes on, as long as anything does.
    fn settle(&mut self) {
        for _ in 0..TURNS {
            let mut is_busy = false;
            while self.finish(0, How::Well(0)) {
                is_busy = true;
            }
            for conn in self.peers.keys().copied().collect::<Vec<_>>() {
                if let Some(Peer { side: Side::Backend(backend), unsaid, .. }) = self.peers.get(&conn)
                    && backend.is_asked()
                    && unsaid.is_empty()
                {
                    self.mean(conn, Piece::Known(0));
                }
                is_busy |= self.say(conn, 255) | self.take(conn, 255);
            }
            self.visit();
            self.look();
            if !is_busy {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Whether there was anything to finish.
    fn finish(&mut self, which: u8, how: How) -> bool {
        while let Some(effect) = self.shard.poll_effect() {
            match effect {
                Effect::CloseFile(file) => assert!(self.files.remove(&file), "a file was closed twice"),
                Effect::Log(_) => {}
                effect => self.effects.push(effect),
            }
        }
        if self.effects.is_empty() {
            return false;
        }
        let effect = self.effects.swap_remove(usize::from(which) % self.effects.len());
        let now = self.clocks();
        let result = match how {
            How::Badly => Err(IoError::Other),
            How::Well(size) | How::Twice(size) => Ok(size),
        };
        match (&effect, result) {
            (Effect::Connect { conn, .. }, Err(_)) => self.gone(*conn, Some(IoError::ConnectionRefused)),
            // It may have been given up meanwhile.
            (Effect::Connect { conn, .. }, Ok(_)) if self.shard.interest(*conn).close => self.gone(*conn, None),
            (Effect::Connect { conn, .. }, Ok(_)) => {
                self.add(*conn, Side::Backend(Box::new(Backend::new())));
                self.shard.handle_connected(now, *conn);
            }
            (
                Effect::ListDirectory { op, .. }
                | Effect::OpenFile { op, .. }
                | Effect::ReadFile { op, .. }
                | Effect::Resolve { op, .. },
                result,
            ) => {
                let result = result.map(|size| self.completion(&effect, size));
                for _ in 0..if matches!(how, How::Twice(_)) { 2 } else { 1 } {
                    self.shard.handle_completion(now, *op, result.clone());
                }
            }
            _ => {}
        }
        true
    }

    fn completion(&mut self, effect: &Effect, size: u8) -> Completion {
        match effect {
            Effect::ListDirectory { .. } => {
                let entries = vec![Entry { is_file: size < 16, name: "<".into(), len: 1 }];
                Completion::Listed(Listing { entries, is_cut: size % 4 < 2 })
            }
            Effect::OpenFile { .. } if size % 8 == 7 => Completion::Directory,
            Effect::OpenFile { .. } => {
                let mut available = Codings::default();
                available.insert(Coding::Gzip);
                if size % 8 == 6 {
                    return Completion::Unchanged { available };
                }
                self.next += 1;
                let file = (size % 2 == 1).then_some(FileId(self.next));
                self.files.extend(file);
                let len = if file.is_some() { 70_000 } else { 1000 };
                let stamp = Stamp { len, modified: UnixTime::from_millis(5), identity: [0; 3] };
                let first = Bytes::from(vec![b'x'; 1000]);
                Completion::Opened(Opened { available, is_made: size % 8 > 3, ..Opened::new(file, stamp, first) })
            }
            Effect::ReadFile { len, .. } => {
                // Sometimes it has shrunk.
                let len = if size % 8 == 7 { *len / 2 } else { *len };
                Completion::Read(Bytes::from(vec![b'y'; len as usize]))
            }
            Effect::Resolve { port, .. } => Completion::Resolved(vec![SocketAddr::from(([10, 0, 0, 2], *port))]),
            other => unreachable!("{other:?} is not an operation"),
        }
    }

    fn look(&self) {
        let (usage, limits) = (self.shard.usage(), &CONFIG.limits);
        assert!(usage.connections <= limits.connections, "{usage:?}");
        assert!(usage.topics <= limits.pubsub.topics, "{usage:?}");
        assert!(usage.messages <= limits.pubsub.topics * limits.pubsub.history_messages, "{usage:?}");
        assert!(usage.longest_leftover <= limits.pipelined_bytes + READ, "{usage:?}");
        assert!(usage.longest_outbox <= 1 << 20, "{usage:?}");
    }

    /// Somebody who is not gone, and does not listen to a stream.
    fn hanging(&self) -> Option<(&ConnId, &Peer)> {
        self.peers.iter().find(|(_, peer)| !matches!(&peer.side, Side::Client(client) if client.is_stream()))
    }

    /// Nothing hangs: when everything goes on and time passes, only streams are left. Then everybody goes, and the shard
    /// is told to shut down: nothing is left.
    pub(super) fn end(&mut self) {
        self.shard.handle_congestion(false);
        // Long-polls that were asked for one after the other take a turn each.
        for _ in 0..TURNS {
            self.settle();
            self.wait(HOUR / 8);
            if self.hanging().is_none() {
                break;
            }
        }
        assert!(self.hanging().is_none(), "{:?} hangs", self.hanging());
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            self.gone(conn, None);
        }
        self.shard.handle_shutdown(self.clocks(), Duration::ZERO);
        // First the messages are too old, then the topics have been idle for too long.
        for _ in 0..3 {
            self.wait(HOUR);
            self.settle();
        }
        let usage = Usage { cached_bytes: 0, ..self.shard.usage() };
        assert_eq!(usage, Usage::default());
        assert!(self.shard.is_drained() && self.files.is_empty(), "open files: {:?}", self.files);
    }
}

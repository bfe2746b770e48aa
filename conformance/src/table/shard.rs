//! A row held with a whole shard: no sockets, and time that passes when nothing else happens.

use super::conversation::{Received, Wire};
use crate::sim::random::Random;
use brolly_core::config::Config;
use brolly_core::rng::Seed;
use brolly_core::shard::{ConnId, Effect, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use brolly_host::files::Files;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How what is sent arrives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cuts {
    /// As it is sent.
    Whole,
    /// Each byte alone.
    Bytes,
    /// In pieces of random length.
    Random(u64),
}

/// A connection to a shard of its own.
#[derive(Debug)]
pub struct ShardWire {
    shard: Shard,
    conn: ConnId,
    cuts: Cuts,
    random: Random,
    files: Files,
    /// On its way to the shard.
    pieces: VecDeque<Vec<u8>>,
    is_half_closed: bool,
    /// On its way from the shard.
    out: Vec<u8>,
    is_ended: bool,
    now: Duration,
}

impl ShardWire {
    /// A new shard with this configuration, and a connection to it.
    pub fn new(config: Arc<Config>, cuts: Cuts) -> Self {
        let mut shard = Shard::new(config, 0, 1, Seed([5; 32]));
        let conn = shard.handle_accept(time(Duration::ZERO), SocketAddr::from(([10, 0, 0, 1], 1024)).into());
        let seed = if let Cuts::Random(seed) = cuts { seed } else { 0 };
        Self {
            conn: conn.expect("a new shard has room"),
            shard,
            cuts,
            random: Random::new(seed),
            files: Files::default(),
            pieces: VecDeque::new(),
            is_half_closed: false,
            out: Vec::new(),
            is_ended: false,
            now: Duration::ZERO,
        }
    }

    /// Does what a driver does, until nothing is left to do.
    fn drive(&mut self) {
        let (now, conn) = (time(self.now), self.conn);
        while !self.is_ended {
            while let Some(effect) = self.shard.poll_effect() {
                self.perform(now, effect);
            }
            while self.shard.poll_changed().is_some() {}
            let interest = self.shard.interest(conn);
            if interest.close {
                self.shard.handle_closed(now, conn, None);
                self.is_ended = true;
            } else if interest.write {
                let mut slices: [&[u8]; 8] = [&[]; 8];
                let filled = self.shard.outgoing(conn, &mut slices);
                let bytes = slices[..filled].concat();
                self.shard.handle_write(now, conn, bytes.len());
                self.out.extend(bytes);
            } else if interest.shutdown {
                self.shard.handle_shutdown_done(now, conn);
                // The client sees the end, and has nothing more to say.
                self.is_ended = true;
            } else if interest.read
                && let Some(mut piece) = self.pieces.pop_front()
            {
                self.shard.handle_read(now, conn, &mut piece);
            } else if interest.read && self.is_half_closed {
                self.is_half_closed = false;
                self.shard.handle_eof(now, conn);
            } else {
                break;
            }
        }
    }
}

impl ShardWire {
    /// Files are real; nothing else of the site needs the host.
    fn perform(&mut self, now: Now, effect: Effect) {
        match effect {
            Effect::OpenFile { op, file } => self.shard.handle_completion(now, op, self.files.open(&file)),
            Effect::ReadFile { op, file, offset, len } => {
                self.shard.handle_completion(now, op, self.files.read(file, offset, len));
            }
            Effect::CloseFile(file) => self.files.close(file),
            _ => {}
        }
    }
}

impl Wire for ShardWire {
    fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = match self.cuts {
                Cuts::Whole => rest.len(),
                Cuts::Bytes => 1,
                Cuts::Random(_) => self.random.between(1, rest.len().min(64) as u64) as usize,
            };
            let (piece, after) = rest.split_at(length);
            self.pieces.push_back(piece.into());
            rest = after;
        }
        self.drive();
    }

    fn pause(&mut self) {
        self.now += Duration::from_millis(30);
        self.drive();
    }

    fn half_close(&mut self) {
        self.is_half_closed = true;
        self.drive();
    }

    fn receive(&mut self, bytes: &mut Vec<u8>, patience: Duration) -> Received {
        let until = self.now + patience;
        loop {
            self.drive();
            if !self.out.is_empty() {
                bytes.append(&mut self.out);
                return Received::Bytes;
            }
            if self.is_ended {
                return Received::End;
            }
            let due = self.shard.poll_timeout().map(|at| Duration::from_nanos(at.as_nanos()));
            match due.filter(|due| *due <= until) {
                Some(due) => {
                    self.now = due.max(self.now);
                    self.shard.handle_timeout(time(self.now));
                }
                None => {
                    self.now = until;
                    return Received::Nothing;
                }
            }
        }
    }
}

fn time(now: Duration) -> Now {
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    Now { instant: Instant::from_nanos(nanos), unix: UnixTime::from_millis(1_700_000_000_000 + nanos / 1_000_000) }
}

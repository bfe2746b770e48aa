//! Whole shards without sockets; time stands still until somebody waits.

use super::row::Row;
use super::world::{Door, End, Route, World};
use brolly_core::config::Config;
use brolly_core::rng::Seed;
use brolly_core::shard::{Accepted, Address, ConnId, Effect, IoError, Mail, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The ports of the upstreams, in the order of [`super::row::UPSTREAMS`].
const PORTS: [u16; 3] = [1001, 1002, 1003];

/// Shards, and the other ends of their connections.
#[derive(Debug)]
pub struct Memory {
    shards: Vec<Shard>,
    pipes: Vec<Pipe>,
    /// From whom, to whom.
    mail: VecDeque<(usize, usize, Mail)>,
    held: Option<Route>,
    now: Duration,
}

#[derive(Debug, Default)]
struct Pipe {
    shard: usize,
    conn: Option<ConnId>,
    /// Of a connection to a backend that nobody has accepted yet.
    port: Option<u16>,
    to_shard: Vec<u8>,
    from_shard: Vec<u8>,
    is_closed_by_us: bool,
    is_over: bool,
}

impl Memory {
    /// So many shards with the configuration of a row, for which a file is written to `directory`.
    ///
    /// # Panics
    /// The configuration is not understood.
    pub fn new(row: &Row, shards: u16, directory: &Path) -> Self {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let [app, other, dead] = PORTS.map(address);
        let config = row.load(shards, &[address(1), address(2), app, other, dead], directory);
        let mut world = Self::with_config(&Arc::new(config), shards);
        world.now = Duration::from_secs(1);
        world
    }

    /// So many shards.
    pub fn with_config(config: &Arc<Config>, shards: u16) -> Self {
        let shards = (0..shards).map(|number| Shard::new(Arc::clone(config), number, shards, Seed([9; 32]))).collect();
        Self { shards, pipes: Vec::new(), mail: VecDeque::new(), held: None, now: Duration::ZERO }
    }

    fn time(&self) -> Now {
        let nanos = u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX);
        Now { instant: Instant::from_nanos(nanos), unix: UnixTime::from_millis(1_700_000_000_000 + nanos / 1_000_000) }
    }

    /// Does what drivers do, until nothing is left to do.
    fn drive(&mut self) {
        while self.step() {}
    }

    /// Whether anything happened.
    fn step(&mut self) -> bool {
        let now = self.time();
        let mut has_worked = false;
        for number in 0..self.shards.len() {
            while let Some(effect) = self.shards[number].poll_effect() {
                has_worked = true;
                self.perform(now, number, effect);
            }
            while self.shards[number].poll_changed().is_some() {}
            if self.shards[number].poll_timeout().is_some_and(|at| at <= now.instant) {
                self.shards[number].handle_timeout(now);
                has_worked = true;
            }
        }
        for (from, to, mail) in std::mem::take(&mut self.mail) {
            let is_held = |(only_from, only_to): Route| {
                only_from.is_none_or(|of| of == from) && only_to.is_none_or(|of| of == to)
            };
            if self.held.is_some_and(is_held) {
                self.mail.push_back((from, to, mail));
            } else {
                self.shards[to].handle_mail(now, mail);
                has_worked = true;
            }
        }
        for at in 0..self.pipes.len() {
            has_worked |= self.serve(now, at);
        }
        has_worked
    }

    fn perform(&mut self, now: Now, shard: usize, effect: Effect) {
        match effect {
            Effect::Send { to, mail } => self.mail.push_back((shard, to.into(), mail)),
            Effect::Connect { conn, to: Address::Tcp(to), .. } if to.port() == PORTS[2] => {
                self.shards[shard].handle_closed(now, conn, Some(IoError::ConnectionRefused));
            }
            Effect::Connect { conn, to: Address::Tcp(to), .. } => {
                self.pipes.push(Pipe { shard, conn: Some(conn), port: Some(to.port()), ..Pipe::default() });
                self.shards[shard].handle_connected(now, conn);
            }
            _ => {}
        }
    }

    /// One thing that a socket is ready for.
    fn serve(&mut self, now: Now, at: usize) -> bool {
        let Self { shards, pipes, .. } = self;
        let pipe = &mut pipes[at];
        let shard = &mut shards[pipe.shard];
        let Some(conn) = pipe.conn else { return false };
        let interest = shard.interest(conn);
        if interest.close {
            shard.handle_closed(now, conn, None);
            (pipe.conn, pipe.is_over) = (None, true);
        } else if pipe.is_closed_by_us && interest.write {
            shard.handle_closed(now, conn, Some(IoError::ConnectionReset));
            (pipe.conn, pipe.is_over) = (None, true);
        } else if interest.write {
            let mut slices: [&[u8]; 8] = [&[]; 8];
            let filled = shard.outgoing(conn, &mut slices);
            let bytes = slices[..filled].concat();
            shard.handle_write(now, conn, bytes.len());
            pipe.from_shard.extend(bytes);
        } else if interest.shutdown {
            shard.handle_shutdown_done(now, conn);
            pipe.is_over = true;
        } else if interest.read && !pipe.to_shard.is_empty() {
            let mut bytes = std::mem::take(&mut pipe.to_shard);
            shard.handle_read(now, conn, &mut bytes);
        } else if interest.read && pipe.is_closed_by_us {
            shard.handle_eof(now, conn);
            if !shard.interest(conn).close && !shard.interest(conn).write {
                // Both directions are gone.
                shard.handle_closed(now, conn, None);
                (pipe.conn, pipe.is_over) = (None, true);
            }
        } else {
            return false;
        }
        true
    }
}

impl World for Memory {
    fn open(&mut self, door: Door) -> Result<End, String> {
        let (number, now) = (self.pipes.len(), self.time());
        let shard = number % self.shards.len();
        let peer = SocketAddr::from(([10, 0, 0, 1], 1024 + number as u16));
        let accepted = Accepted { listener: u16::from(door == Door::Api), peer: Some(peer), local: None };
        let conn = self.shards[shard].handle_accept(now, accepted).ok_or("the shard takes no connections")?;
        self.pipes.push(Pipe { shard, conn: Some(conn), ..Pipe::default() });
        Ok(End(number))
    }

    fn accept(&mut self, upstream: &str) -> Option<End> {
        self.drive();
        let port = PORTS[super::row::UPSTREAMS.iter().position(|name| *name == upstream)?];
        let at = self.pipes.iter().position(|pipe| pipe.port == Some(port))?;
        self.pipes[at].port = None;
        Some(End(at))
    }

    fn write(&mut self, end: End, bytes: &[u8]) {
        self.pipes[end.0].to_shard.extend_from_slice(bytes);
    }

    fn read(&mut self, end: End, into: &mut Vec<u8>) -> bool {
        self.drive();
        let pipe = &mut self.pipes[end.0];
        into.append(&mut pipe.from_shard);
        !pipe.is_over
    }

    fn close(&mut self, end: End) {
        self.drive();
        self.pipes[end.0].is_closed_by_us = true;
        self.drive();
    }

    fn rest(&mut self) -> bool {
        false
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.drive();
            let due = self.shards.iter().filter_map(Shard::poll_timeout).min();
            let due = due.map(|at| Duration::from_nanos(at.as_nanos())).filter(|due| *due <= until);
            self.now = due.map_or(until, |due| due.max(self.now));
            if due.is_none() {
                return self.drive();
            }
        }
    }

    fn shut_down(&mut self) {
        let now = self.time();
        for shard in &mut self.shards {
            shard.handle_mail(now, Mail::Shutdown(Duration::from_secs(10)));
        }
        self.drive();
    }

    fn hold(&mut self, held: Option<Route>) -> bool {
        self.drive();
        self.held = held;
        self.drive();
        true
    }
}

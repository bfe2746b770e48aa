//! One address of a server, and the connections to it.

use super::balance::hash;
use super::health::{Health, State};
use crate::arena::Id;
use crate::rng::Rng;
use crate::time::Instant;
use alloc::collections::VecDeque;
use core::hash::Hash;
use core::time::Duration;

/// Names an endpoint of an [`Upstream`](super::Upstream).
pub type EndpointId<C, A> = Id<Endpoint<C, A>>;

/// One address of a server. A name may have several.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint<C, A> {
    server: usize,
    address: A,
    hash: u64,
    /// Its name does not lead here any more.
    is_retired: bool,
    /// Open, clean, without a request, and since when; the latest used is last.
    idle: VecDeque<(C, Instant)>,
    /// Connections that are being opened, in use, or idle.
    open: usize,
    probe_at: Option<Instant>,
    is_probing: bool,
    /// Whether it is up.
    pub health: Health,
}

impl<C: Copy + Eq, A: Hash> Endpoint<C, A> {
    pub(super) fn new(server: usize, address: A) -> Self {
        let hash = hash(&address);
        let (idle, health) = (VecDeque::new(), Health::default());
        Self { server, address, hash, is_retired: false, idle, open: 0, probe_at: None, is_probing: false, health }
    }

    /// Which server this is an address of; fallbacks are counted behind the others.
    pub fn server(&self) -> usize {
        self.server
    }

    /// Where it is.
    pub fn address(&self) -> &A {
        &self.address
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Connections that are open or being opened.
    pub fn connections(&self) -> usize {
        self.open
    }

    /// Requests under way.
    pub fn outstanding(&self) -> usize {
        self.open - self.idle.len().min(self.open)
    }

    /// What is known of it.
    pub fn state(&self, now: Instant) -> State {
        if self.is_retired { State::Leaving } else { self.health.state(now) }
    }

    pub(super) fn has_room(&self, limit: usize) -> bool {
        self.outstanding() < limit
    }

    /// The idle connection that was used last, the likeliest to be alive, unless even that is idle for longer than `limit`.
    pub(super) fn take_idle(&mut self, now: Instant, limit: Duration) -> Option<C> {
        let &(conn, since) = self.idle.back()?;
        if now.duration_since(since) > limit {
            return None;
        }
        self.idle.pop_back();
        Some(conn)
    }

    /// Counts a new connection; returns the idle one that has to go for it, if there are `limit` already.
    pub(super) fn open(&mut self, limit: usize) -> Option<C> {
        self.open += 1;
        if self.open > limit { self.idle.pop_front().map(|(conn, _)| conn) } else { None }
    }

    pub(super) fn keep(&mut self, now: Instant, conn: C, limit: usize) -> Option<C> {
        self.idle.push_back((conn, now));
        if self.idle.len() > limit { self.idle.pop_front().map(|(conn, _)| conn) } else { None }
    }

    /// All idle connections, to be closed: one as old as they are has turned out to be dead.
    pub fn drain_idle(&mut self) -> impl Iterator<Item = C> + use<C, A> {
        core::mem::take(&mut self.idle).into_iter().map(|(conn, _)| conn)
    }

    pub(super) fn closed(&mut self, conn: C) {
        self.open = self.open.saturating_sub(1);
        self.idle.retain(|(idle, _)| *idle != conn);
    }

    pub(super) fn is_unused(&self) -> bool {
        self.open == 0
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired
    }

    pub(super) fn revive(&mut self) {
        self.is_retired = false;
    }

    pub(super) fn retire(&mut self) -> impl Iterator<Item = C> + use<C, A> {
        self.is_retired = true;
        self.drain_idle()
    }

    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.probe_at.filter(|_| !self.is_probing)
    }

    /// Whether a probe has to begin; from then on one is under way.
    pub(super) fn is_probe_due(&mut self, now: Instant, interval: Duration, rng: &mut Rng) -> bool {
        let Some(at) = self.probe_at else {
            let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
            self.probe_at = Some(now + Duration::from_nanos(rng.next_u64() % nanos));
            return false;
        };
        let is_due = at <= now && !self.is_probing;
        if is_due {
            self.is_probing = true;
            self.probe_at = Some(now + interval);
        }
        is_due
    }

    /// The probe that was under way is over.
    pub fn end_probe(&mut self) {
        self.is_probing = false;
    }
}

//! Whether a server is up: what its answers say (passive ejection), and what probes say.

use super::rules::{Eject, Rules};
use crate::time::Instant;
use core::time::Duration;

/// The health of one endpoint. It is taken to be up until something else is known.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Health {
    /// In a row.
    failures: u32,
    rests_until: Option<Instant>,
    is_down: bool,
    /// Probes in a row that contradict `is_down`.
    contradictions: u32,
    /// When it came back.
    up_since: Option<Instant>,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// It gets requests.
    Up,
    /// It has failed too often and rests.
    Resting,
    /// Its probes fail.
    Down,
    /// Its name has other addresses now; what it is doing, it may finish.
    Leaving,
}

/// A full share of requests.
pub(super) const WHOLE: u64 = 256;
/// The share that slow start begins with.
const LEAST: u64 = 16;

impl Health {
    /// Whether it gets requests as long as others do.
    pub fn is_up(&self, now: Instant) -> bool {
        self.state(now) == State::Up
    }

    /// What is known.
    pub fn state(&self, now: Instant) -> State {
        match self.rests_until {
            _ if self.is_down => State::Down,
            Some(until) if until > now => State::Resting,
            Some(_) | None => State::Up,
        }
    }

    /// It gave an answer.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It could not be reached, or gave no proper answer. Says whether it rests from now on.
    pub fn failed(&mut self, now: Instant, eject: Option<Eject>) -> bool {
        self.failures = self.failures.saturating_add(1);
        let Some(eject) = eject.filter(|eject| self.failures >= eject.failures) else { return false };
        // Requests that were under way when it began to rest tell nothing new.
        if self.rests_until.is_some_and(|until| until > now) {
            return false;
        }
        let until = now + eject.period;
        self.rests_until = Some(until);
        self.up_since = Some(until);
        true
    }

    /// A probe was answered, well or not. Says whether the server is up or down from now on, if that has changed.
    pub fn probed(&mut self, now: Instant, is_good: bool, rules: &Rules) -> Option<State> {
        if is_good != self.is_down {
            self.contradictions = 0;
            return None;
        }
        self.contradictions += 1;
        let needed = if is_good { rules.probing.healthy } else { rules.probing.unhealthy };
        if self.contradictions < needed {
            return None;
        }
        self.contradictions = 0;
        self.is_down = !is_good;
        if is_good {
            self.failures = 0;
            self.rests_until = None;
            self.up_since = Some(now);
        }
        Some(self.state(now))
    }

    /// The share of requests that it should get, of [`WHOLE`].
    pub(super) fn share(&self, now: Instant, slow_start: Duration) -> u64 {
        let (Some(since), false) = (self.up_since, slow_start.is_zero()) else { return WHOLE };
        let (elapsed, whole) = (now.duration_since(since).as_millis(), slow_start.as_millis().max(1));
        let grown = (u128::from(WHOLE - LEAST) * elapsed / whole).min(u128::from(WHOLE - LEAST));
        LEAST + grown as u64
    }
}

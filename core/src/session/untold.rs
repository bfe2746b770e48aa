//! Who has to be told that users are inactive, and has not heard it yet.

use super::User;
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::time::Duration;

/// How often a backend is told before it is given up: for about a quarter of an hour.
const ATTEMPTS: u8 = 10;
/// How many are remembered: more than a shard has connections, so that all can become inactive at once. Beyond: nobody is told of further ones.
const LIMIT: usize = 250_000;

/// Inactivity that backends have not heard of yet: one entry for each user and backend, whatever happened before.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Untold {
    entries: BTreeMap<(User, usize), Entry>,
    due: BTreeSet<(Instant, User, usize)>,
    numbers: u64,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Entry {
    number: u64,
    attempt: u8,
    /// `None`: the backend is being told.
    due: Option<Instant>,
}

/// One attempt to tell.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Telling {
    /// Who is inactive.
    pub user: User,
    /// Which backend of the pool is told.
    pub backend: usize,
    number: u64,
}

impl Untold {
    /// A user has become inactive. An attempt to tell of an earlier time is of no interest any more.
    pub fn add(&mut self, now: Instant, user: &User, backend: usize) {
        self.remove(user, backend);
        if self.entries.len() < LIMIT {
            self.numbers += 1;
            let entry = Entry { number: self.numbers, attempt: 1, due: Some(now) };
            self.entries.insert((Arc::clone(user), backend), entry);
            self.due.insert((now, Arc::clone(user), backend));
        }
    }

    /// A user is active again: a late word would be a wrong one.
    pub fn cancel(&mut self, user: &User) {
        let of_user = self.entries.range((Arc::clone(user), 0)..=(Arc::clone(user), usize::MAX));
        let backends: smallvec::SmallVec<[usize; 4]> = of_user.map(|((_, backend), _)| *backend).collect();
        backends.into_iter().for_each(|backend| self.remove(user, backend));
    }

    /// What is to be told now: once; [`end`](Self::end) says how it went.
    pub fn next(&mut self, now: Instant) -> Option<Telling> {
        if self.due.first().is_none_or(|(at, ..)| *at > now) {
            return None;
        }
        let (_, user, backend) = self.due.pop_first()?;
        let entry = self.entries.get_mut(&(Arc::clone(&user), backend))?;
        entry.due = None;
        Some(Telling { number: entry.number, user, backend })
    }

    /// How an attempt has ended. One that has failed is made again after a while that grows.
    pub fn end(&mut self, now: Instant, telling: Telling, has_heard: bool) {
        let Telling { user, backend, number } = telling;
        let key = (user, backend);
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.number == number) else { return };
        if has_heard || entry.attempt >= ATTEMPTS {
            self.entries.remove(&key);
            return;
        }
        let at = now + Duration::from_secs(1 << entry.attempt.min(8));
        (entry.attempt, entry.due) = (entry.attempt + 1, Some(at));
        self.due.insert((at, key.0, backend));
    }

    /// When somebody has to be told.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, ..)| *at)
    }

    fn remove(&mut self, user: &User, backend: usize) {
        if let Some(Entry { due: Some(at), .. }) = self.entries.remove(&(Arc::clone(user), backend)) {
            self.due.remove(&(at, Arc::clone(user), backend));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_failure_is_made_good_later_and_rarer_and_not_for_ever() {
        let (mut untold, ann) = (Untold::default(), User::from("ann"));
        untold.add(at(0), &ann, 0);
        let (mut now, mut waits) = (0, alloc::vec::Vec::new());
        while let Some(due) = untold.poll_timeout() {
            let seconds = due.as_nanos() / 1_000_000_000;
            waits.push(seconds - now);
            now = seconds;
            let telling = untold.next(at(now)).unwrap();
            assert_eq!(untold.next(at(now)), None, "it is being told");
            untold.end(at(now), telling, false);
        }
        assert_eq!(waits, [0, 2, 4, 8, 16, 32, 64, 128, 256, 256]);
        assert_eq!(untold.entries.len(), 0);
    }

    #[test]
    fn the_end_of_an_old_attempt_says_nothing_about_a_new_one() {
        let (mut untold, ann) = (Untold::default(), User::from("ann"));
        untold.add(at(0), &ann, 0);
        let old = untold.next(at(0)).unwrap();
        untold.cancel(&ann);
        untold.add(at(1), &ann, 0);
        untold.end(at(1), old, false);
        let new = untold.next(at(1)).unwrap();
        untold.end(at(1), new, true);
        assert_eq!((untold.poll_timeout(), untold.entries.len()), (None, 0));
    }
}

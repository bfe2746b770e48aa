//! Backends are told that users are inactive: a few at a time, so that calls do not wait behind thousands of users who leave together.

use super::super::Shard;
use super::Matter;
use super::forward::{CALL_TIMEOUT, authorization};
use crate::session::{Telling, User};
use crate::time::Now;
use alloc::sync::Arc;

/// How many are told at a time, by one shard.
pub(in crate::shard) const TELLINGS: usize = 32;

impl Shard {
    /// A user has become inactive.
    pub(super) fn note_inactive(&mut self, now: Now, index: usize, user: &User) {
        let backends = self.config.pools.get(index).map_or(0, |pool| pool.inactivity.len());
        let Some(pool) = self.pools.get_mut(index) else { return };
        (0..backends).for_each(|backend| pool.untold.add(now.instant, user, backend));
    }

    /// Tells those who have to be told now, as far as there is room; the rest is due still.
    pub(super) fn tell_inactive(&mut self, now: Now, index: usize) {
        for _ in 0..TELLINGS {
            if self.tellings >= TELLINGS {
                return;
            }
            let Some(telling) = self.pools.get_mut(index).and_then(|pool| pool.untold.next(now.instant)) else {
                return;
            };
            self.tell_one(now, index, telling);
        }
    }

    fn tell_one(&mut self, now: Now, index: usize, telling: Telling) {
        let config = Arc::clone(&self.config);
        let Some(pool) = config.pools.get(index) else { return };
        let Some(backend) = pool.inactivity.get(telling.backend) else { return };
        let method = [pool.dialect.prefix(), ".session_inactive"].concat();
        let authorization = authorization(pool.dialect.scheme(), &telling.user);
        let content = b"[{}, [], {}]".to_vec();
        let matter = Matter::Inactive(index, telling.clone());
        // It may fail on the spot, and be over.
        self.tellings += 1;
        if self.post(now, backend, &method, Some(&authorization), content, CALL_TIMEOUT, matter).is_none() {
            self.end_telling(now, index, telling, false);
        }
    }

    pub(super) fn end_telling(&mut self, now: Now, index: usize, telling: Telling, has_heard: bool) {
        self.tellings = self.tellings.saturating_sub(1);
        if let Some(pool) = self.pools.get_mut(index) {
            pool.untold.end(now.instant, telling, has_heard);
        }
    }
}

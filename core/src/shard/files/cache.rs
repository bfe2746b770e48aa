//! Files that were served lately, in memory.

use super::Representation;
use crate::config::Coding;
use crate::handler::files::Codings;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// What an entry costs besides its content and its name (bytes), so that many empty files are not for nothing.
const ENTRY_BYTES: usize = 512;

/// Small files, and large ones that were compressed.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(in crate::shard) struct Cache {
    /// By handler, by path below the route.
    files: Vec<BTreeMap<Box<str>, Entry>>,
    bytes: usize,
    clock: u64,
}

/// The representations of one file.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Entry {
    /// The codings in which it could be had when somebody looked last.
    available: Codings,
    variants: Vec<Variant>,
    used: u64,
    bytes: usize,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Variant {
    representation: Arc<Representation>,
    fresh_until: Instant,
}

/// What is known of a file.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// This is it.
    Fresh(Arc<Representation>),
    /// This was it; look whether it still is. Until that is known, others get it as fresh.
    Stale(Arc<Representation>),
    Nothing,
}

impl Cache {
    pub(in crate::shard) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The representation of the file at `path` in the coding that `choose` chooses.
    pub(super) fn find(
        &mut self,
        handler: usize,
        path: &str,
        now: Instant,
        age: Duration,
        choose: impl FnOnce(Codings) -> Coding,
    ) -> Found {
        let Some(entry) = self.files.get_mut(handler).and_then(|files| files.get_mut(path)) else {
            return Found::Nothing;
        };
        self.clock += 1;
        entry.used = self.clock;
        let coding = if entry.available.is_empty() { Coding::Identity } else { choose(entry.available) };
        match entry.variants.iter_mut().find(|variant| variant.representation.coding == coding) {
            Some(variant) if variant.fresh_until > now => Found::Fresh(Arc::clone(&variant.representation)),
            Some(variant) => {
                variant.fresh_until = now + age;
                Found::Stale(Arc::clone(&variant.representation))
            }
            None => Found::Nothing,
        }
    }

    /// Keeps a representation until `fresh_until`, in place of the one with the same coding. If all are more than `total`
    /// bytes then, those that were not used for the longest time go.
    pub(super) fn insert(
        &mut self,
        handler: usize,
        path: Box<str>,
        available: Codings,
        representation: Arc<Representation>,
        fresh_until: Instant,
        total: usize,
    ) {
        if self.files.len() <= handler {
            self.files.resize_with(handler + 1, BTreeMap::new);
        }
        let Some(files) = self.files.get_mut(handler) else { return };
        let name = path.len();
        let entry = files.entry(path).or_default();
        self.clock += 1;
        (entry.used, entry.available) = (self.clock, available);
        entry.variants.retain(|variant| variant.representation.coding != representation.coding);
        entry.variants.push(Variant { representation, fresh_until });
        self.bytes -= entry.bytes;
        entry.bytes =
            name + entry.variants.iter().map(|variant| ENTRY_BYTES + variant.representation.first.len()).sum::<usize>();
        self.bytes += entry.bytes;
        if self.bytes > total {
            // An eighth more than necessary, so that not each insertion has to look at all of them.
            self.shrink(total / 8 * 7);
        }
    }

    /// Forgets a file in all its forms.
    pub(super) fn forget(&mut self, handler: usize, path: &str) {
        let entry = self.files.get_mut(handler).and_then(|files| files.remove(path));
        self.bytes -= entry.map_or(0, |entry| entry.bytes);
    }

    fn shrink(&mut self, goal: usize) {
        let entries = self.files.iter().flat_map(BTreeMap::values);
        let mut ages: Vec<_> = entries.map(|entry| (entry.used, entry.bytes)).collect();
        ages.sort_unstable();
        let (mut left, mut last_to_go) = (self.bytes, 0);
        for (used, bytes) in ages {
            if left <= goal {
                break;
            }
            left -= bytes;
            last_to_go = used;
        }
        for files in &mut self.files {
            files.retain(|_, entry| entry.used > last_to_go);
        }
        self.bytes = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Files;
    use crate::handler::files::Stamp;
    use crate::shard::Opened;
    use crate::time::UnixTime;
    use alloc::format;
    use alloc::vec;

    fn representation(coding: Coding, bytes: usize) -> Arc<Representation> {
        let opened = Opened { coding, ..Opened::new(None, Stamp::default(), vec![b'x'; bytes].into()) };
        Arc::new(Representation::new(&Files::new("/"), "a", opened, UnixTime::default()).0)
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    const AGE: Duration = Duration::from_secs(1);

    #[test]
    fn a_file_is_kept_in_each_coding_that_was_asked_for() {
        let mut cache = Cache::default();
        let mut gzip = Codings::default();
        gzip.insert(Coding::Gzip);
        cache.insert(1, "/a".into(), gzip, representation(Coding::Identity, 10), at(1), 10_000);
        cache.insert(1, "/a".into(), gzip, representation(Coding::Gzip, 5), at(1), 10_000);
        for (coding, bytes) in [(Coding::Identity, 10), (Coding::Gzip, 5)] {
            let found = cache.find(1, "/a", at(0), AGE, |available| {
                assert_eq!(available, gzip);
                coding
            });
            assert!(matches!(found, Found::Fresh(found) if found.first.len() == bytes));
        }
        assert!(matches!(cache.find(1, "/a", at(0), AGE, |_| Coding::Zstd), Found::Nothing));
        assert!(matches!(cache.find(0, "/a", at(0), AGE, |_| Coding::Gzip), Found::Nothing));
        assert_eq!(cache.bytes(), 2 + 10 + 5 + 2 * ENTRY_BYTES);
        cache.insert(1, "/a".into(), gzip, representation(Coding::Gzip, 7), at(1), 10_000);
        assert_eq!(cache.bytes(), 2 + 10 + 7 + 2 * ENTRY_BYTES);
        cache.forget(1, "/b");
        cache.forget(1, "/a");
        assert!(matches!(cache.find(1, "/a", at(0), AGE, |_| Coding::Gzip), Found::Nothing));
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn one_looks_whether_it_changed_and_others_are_served_meanwhile() {
        let mut cache = Cache::default();
        cache.insert(0, "/a".into(), Codings::default(), representation(Coding::Identity, 1), at(1), 10_000);
        let mut find = |now| cache.find(0, "/a", at(now), AGE, |_| Coding::Identity);
        assert!(matches!(find(0), Found::Fresh(_)));
        assert!(matches!(find(1), Found::Stale(_)));
        assert!(matches!(find(1), Found::Fresh(_)));
        assert!(matches!(find(2), Found::Stale(_)));
    }

    #[test]
    fn those_not_used_for_the_longest_time_go() {
        let mut cache = Cache::default();
        let total = 20 * (ENTRY_BYTES + 3);
        for number in 10..30 {
            let path = format!("/{number}").into();
            cache.insert(number % 2, path, Codings::default(), representation(Coding::Identity, 0), at(9), total);
        }
        assert_eq!(cache.bytes(), total);
        let is_there = |cache: &mut Cache, number: usize| {
            let path = format!("/{number}");
            matches!(cache.find(number % 2, &path, at(0), AGE, |_| Coding::Identity), Found::Fresh(_))
        };
        assert!(is_there(&mut cache, 10));
        cache.insert(0, "/30".into(), Codings::default(), representation(Coding::Identity, 0), at(9), total);
        assert!(cache.bytes() <= total / 8 * 7);
        let left: Vec<_> = (10..31).filter(|number| is_there(&mut cache, *number)).collect();
        assert_eq!(left, [&[10][..], &(15..31).collect::<Vec<_>>()].concat());
        assert_eq!(cache.bytes(), left.len() * (ENTRY_BYTES + 3));
        // Nothing fits.
        cache.insert(0, "/x".into(), Codings::default(), representation(Coding::Identity, 9), at(9), 0);
        assert_eq!(cache.bytes(), 0);
    }
}

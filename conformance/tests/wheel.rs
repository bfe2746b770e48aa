//! The timer wheel against a sorted map: same entries, same order, never early, never late, and the wake-ups lead there.

use brolly_core::shard::wheel::Wheel;
use brolly_core::time::Instant;
use proptest::prelude::*;
use std::collections::BTreeMap;

const TICK: u64 = 1 << 20;

/// What the wheel promises, in the most obvious way.
#[derive(Debug, Default)]
struct Model {
    /// By the tick in which it fires, then by the order of insertion.
    entries: BTreeMap<(u64, usize), (Instant, usize)>,
    tick: u64,
}

impl Model {
    fn insert(&mut self, at: Instant, key: usize) {
        self.entries.insert((at.as_nanos().div_ceil(TICK).max(self.tick), key), (at, key));
    }

    fn pop_due(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let now = now.as_nanos() / TICK;
        match self.entries.first_entry().filter(|entry| entry.key().0 <= now) {
            Some(entry) => {
                self.tick = entry.key().0;
                Some(entry.remove())
            }
            None => {
                self.tick = self.tick.max(now);
                None
            }
        }
    }

    /// The first instant at which `pop_due` gives something.
    fn earliest(&self) -> Option<Instant> {
        self.entries.keys().next().map(|(tick, _)| Instant::from_nanos(tick.saturating_mul(TICK)))
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// Insert an entry this far from now.
    Insert(Offset),
    /// Move now, and pop up to so many due entries.
    Advance(Offset, usize),
    /// Sleep until the wheel wants to be asked, and pop all.
    Sleep,
    /// Forget how the storage is laid out.
    Clone,
}

#[derive(Clone, Copy, Debug)]
enum Offset {
    Back(u64),
    Forth(u64),
}

impl Offset {
    fn from(self, now: Instant) -> Instant {
        Instant::from_nanos(match self {
            Self::Back(nanos) => now.as_nanos().saturating_sub(nanos),
            Self::Forth(nanos) => now.as_nanos().saturating_add(nanos),
        })
    }
}

/// All magnitudes alike, and often exact multiples of a tick or of a level's span.
fn offset() -> impl Strategy<Value = Offset> {
    let nanos = (0u32..64, any::<u64>(), -1i64..=1).prop_map(|(bits, random, near)| match near {
        0 => random >> (63 - bits),
        near => (1u64 << bits).saturating_add_signed(near - 1),
    });
    prop_oneof![4 => nanos.clone().prop_map(Offset::Forth), 1 => nanos.prop_map(Offset::Back)]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => offset().prop_map(Operation::Insert),
        3 => (offset(), 0usize..8).prop_map(|(by, pops)| Operation::Advance(by, pops)),
        3 => Just(Operation::Sleep),
        1 => Just(Operation::Clone),
    ]
}

/// Pops up to `limit` entries from both, and compares everything that can be seen.
fn pop_both(wheel: &mut Wheel<usize>, model: &mut Model, now: Instant, limit: usize) -> Result<(), TestCaseError> {
    for _ in 0..limit {
        let popped = wheel.pop_due(now);
        prop_assert_eq!(popped, model.pop_due(now));
        let Some((at, _)) = popped else {
            prop_assert!(wheel.poll_timeout().is_none_or(|wake| wake > now || now.as_nanos() > u64::MAX - TICK));
            break;
        };
        prop_assert!(at <= now, "fired early");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_sorted_map(start in any::<u64>(), early in 0u32..64, operations in prop::collection::vec(operation(), 1..120)) {
        let mut now = Instant::from_nanos(start >> early);
        let (mut wheel, mut model) = (Wheel::new(), Model::default());
        for (key, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Insert(from_now) => {
                    let at = from_now.from(now);
                    wheel.insert(at, key);
                    model.insert(at, key);
                }
                Operation::Advance(by, pops) => {
                    now = by.from(now);
                    pop_both(&mut wheel, &mut model, now, pops)?;
                }
                Operation::Sleep => {
                    now = wheel.poll_timeout().unwrap_or(now).max(now);
                    pop_both(&mut wheel, &mut model, now, usize::MAX)?;
                }
                Operation::Clone => {
                    let copy = wheel.clone();
                    prop_assert_eq!(&copy, &wheel);
                    wheel = copy;
                }
            }
            prop_assert_eq!(wheel.len(), model.entries.len());
            prop_assert_eq!(wheel.poll_timeout().is_some(), model.earliest().is_some());
            prop_assert!(wheel.poll_timeout() <= model.earliest(), "the wake-up would be late");
        }
    }

    #[test]
    fn sleeping_reaches_every_entry_in_few_steps(start in 0u64..1 << 60, nanos in prop::collection::vec(0u64..1 << 60, 1..50)) {
        let mut now = Instant::from_nanos(start);
        let mut wheel = Wheel::new();
        prop_assert_eq!(wheel.pop_due(now), None);
        let deadlines: Vec<_> = nanos.iter().map(|nanos| Instant::from_nanos(start + nanos)).collect();
        deadlines.iter().enumerate().for_each(|(key, at)| wheel.insert(*at, key));
        let mut fired = 0;
        for _ in 0..8 * nanos.len() {
            let Some(wake) = wheel.poll_timeout() else { break };
            now = wake.max(now);
            while let Some((at, key)) = wheel.pop_due(now) {
                prop_assert_eq!(at, deadlines[key]);
                prop_assert!(now >= at && now.as_nanos() - at.as_nanos() < TICK, "at most a tick late");
                fired += 1;
            }
        }
        prop_assert_eq!(fired, nanos.len());
    }
}

#[test]
fn a_hundred_thousand_idle_connections_cost_their_own_entries_only() {
    // Each is active every second and has an idle timeout of a minute: lazy re-arm inserts once a minute.
    let (mut now, mut wheel) = (0, Wheel::new());
    let minute = 60_000_000_000;
    let mut deadlines = vec![0; 100_000];
    for (key, deadline) in deadlines.iter_mut().enumerate() {
        *deadline = minute + key as u64 * 1000;
        wheel.insert(Instant::from_nanos(*deadline), key);
    }
    let mut fired = 0;
    for _ in 0..600 {
        now += 1_000_000_000;
        deadlines.iter_mut().for_each(|deadline| *deadline = now + minute);
        while let Some((_, key)) = wheel.pop_due(Instant::from_nanos(now)) {
            fired += 1;
            wheel.insert(Instant::from_nanos(deadlines[key]), key);
        }
    }
    assert_eq!(wheel.len(), deadlines.len());
    assert!(fired <= 10 * deadlines.len(), "{fired}");
}

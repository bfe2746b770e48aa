//! Which of several endpoints gets the next request.

use super::endpoint::{Endpoint, EndpointId};
use super::health::WHOLE;
use super::rules::{Balance, Rules};
use crate::rng::Rng;
use crate::time::Instant;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::hash::{Hash, Hasher};

/// One of the candidates; `None` if there are none. From `turn` on, their turn
/// has still to come.
pub(super) fn choose<'e, C: Copy + Eq + 'e, A: Hash + 'e>(
    candidates: impl Iterator<Item = (EndpointId<C, A>, &'e Endpoint<C, A>)>,
    now: Instant,
    rules: &Rules,
    turn: &mut usize,
    rng: &mut Rng,
    key: u64,
) -> Option<EndpointId<C, A>> {
    match &rules.balance {
        Balance::LeastOutstanding => {
            let cost = |of: &Endpoint<C, A>| {
                // A server that is still slow counts as if it had more to do.
                (of.outstanding() as u64 + 1) * WHOLE * WHOLE / of.health.share(now, rules.slow_start)
            };
            least(candidates.map(|(id, of)| (id, cost(of))), rng)
        }
        Balance::RoundRobin => {
            // Who is behind the one that had the last turn comes before the others, whoever else is no candidate.
            let mut candidates: Vec<_> = candidates.collect();
            let behind = candidates.partition_point(|(id, _)| id.index() < *turn);
            candidates.rotate_left(behind);
            let mut takes = |of: &Endpoint<C, A>| {
                let share = of.health.share(now, rules.slow_start);
                share == WHOLE || rng.next_u64() % WHOLE < share
            };
            let (id, _) = candidates.iter().find(|(_, of)| takes(of)).or(candidates.first())?;
            *turn = id.index() + 1;
            Some(*id)
        }
        // What a client has at a server is worth more than a slow start.
        Balance::Hash(_) => candidates.min_by_key(|(_, of)| Reverse(mix(key ^ of.hash()))).map(|(id, _)| id),
    }
}

/// One of those with the least cost, each with the same chance.
fn least<I: Copy>(costs: impl Iterator<Item = (I, u64)>, rng: &mut Rng) -> Option<I> {
    let (mut best, mut equals) = (None, 1);
    for (id, cost) in costs {
        match best {
            Some((_, least)) if cost > least => continue,
            Some((_, least)) if cost == least => {
                equals += 1;
                if !rng.next_u64().is_multiple_of(equals) {
                    continue;
                }
            }
            Some(_) | None => equals = 1,
        }
        best = Some((id, cost));
    }
    best.map(|(id, _)| id)
}

/// A number that is the same for the same value in every process: shards agree on where a key belongs.
pub fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    value.hash(&mut fnv);
    mix(fnv.0)
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The last steps of SplitMix64: every bit of the input changes half of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

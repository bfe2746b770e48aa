//! So much per time, and some of it at once: a token bucket as one instant (GCRA, ITU-T I.371).

use crate::time::Instant;
use core::time::Duration;

/// So many units in a period, and at most `burst` of them at once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rate {
    /// Units in a period; not 0.
    pub units: u64,
    /// How long it takes to earn them.
    pub period: Duration,
    /// Units that a bucket holds; not 0.
    pub burst: u64,
}

impl Rate {
    /// How long it takes to earn `units`, rounded up.
    fn earning(&self, units: u64) -> Duration {
        let nanos = (self.period.as_nanos() * u128::from(units)).div_ceil(u128::from(self.units.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What one client has left of a rate: full at first.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Bucket {
    /// When it will be full.
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub const fn new() -> Self {
        Self { full_at: Instant::from_nanos(0) }
    }

    /// Takes `units` (no more than the burst), if they are there.
    ///
    /// # Errors
    /// They are not; they will be at this time if nobody else takes them.
    pub fn take(&mut self, rate: &Rate, now: Instant, units: u64) -> Result<(), Instant> {
        let full_at = self.full_at.max(now) + rate.earning(units);
        let missing = full_at.duration_since(now).saturating_sub(rate.earning(rate.burst.max(units)));
        if missing > Duration::ZERO {
            return Err(now + missing);
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Whether nothing is missing: it is like a new one.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, Seed};

    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(SECOND + nanos)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate { units: 10, period: Duration::from_secs(1), burst: 3 };
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.take(&rate, at(0), 1), Ok(()));
        }
        assert_eq!(bucket.take(&rate, at(0), 1), Err(at(SECOND / 10)));
        assert_eq!(bucket.take(&rate, at(SECOND / 10 - 1), 1), Err(at(SECOND / 10)));
        assert_eq!(bucket.take(&rate, at(SECOND / 10), 1), Ok(()));
        assert!(!bucket.is_full(at(SECOND / 10)) && bucket.is_full(at(SECOND / 10 * 4)));
        assert_eq!(bucket.take(&rate, at(9 * SECOND), 3), Ok(()));
        assert_eq!(bucket.take(&rate, at(9 * SECOND), 1), Err(at(9 * SECOND + SECOND / 10)));
    }

    /// The same as a bucket that is filled drop by drop, in units of a nanosecond's worth.
    #[test]
    fn it_is_a_token_bucket() {
        let mut rng = Rng::new(Seed([5; 32]), 0);
        for _ in 0..300 {
            let mut below = |limit: u64| 1 + rng.next_u64() % limit;
            let rate = Rate { units: below(20), period: Duration::from_nanos(below(20)), burst: below(6) };
            let (mut bucket, mut now) = (Bucket::default(), 0);
            // Tokens times the nanoseconds of a period, so that a nanosecond earns `units`.
            let period = rate.period.as_nanos() as u64;
            // What earning takes is rounded up to nanoseconds: only rates without a rest have the same instants.
            if !period.is_multiple_of(rate.units) {
                continue;
            }
            let (full, mut tokens) = (rate.burst * period, rate.burst * period);
            for _ in 0..100 {
                let passed = below(10) - 1;
                now += passed;
                tokens = full.min(tokens + passed * rate.units);
                let wanted = below(rate.burst);
                match bucket.take(&rate, at(now), wanted) {
                    Ok(()) => tokens = tokens.checked_sub(wanted * period).expect("there was not enough"),
                    Err(then) => {
                        let wait = then.duration_since(at(now)).as_nanos() as u64;
                        assert_eq!(wait, (wanted * period - tokens).div_ceil(rate.units));
                    }
                }
                assert_eq!(bucket.is_full(at(now)), tokens == full);
            }
        }
    }
}

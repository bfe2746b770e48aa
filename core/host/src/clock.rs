//! The clocks of the machine as the core wants them.

use brolly_core::time::{Instant, Now, UnixTime};
use std::cell::Cell;
use std::time::{Duration, SystemTime};

/// How long a look at the wall clock holds: it is needed for dates in whole seconds only.
const WALL_HOLDS: Duration = Duration::from_millis(100);

/// One origin for all threads; each thread has its own copy.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: std::time::Instant,
    /// When the wall clock was looked at, and what it said.
    wall: Cell<(Instant, UnixTime)>,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now(), wall: Cell::new((Instant::default(), wall_clock())) }
    }

    /// What the clocks say: one system call's worth, without the call.
    pub fn now(&self) -> Now {
        let instant = self.instant();
        let (looked, mut unix) = self.wall.get();
        let since = instant.duration_since(looked);
        if since < WALL_HOLDS {
            unix = UnixTime::from_millis(unix.as_millis() + since.as_millis() as u64);
        } else {
            unix = wall_clock();
            self.wall.set((instant, unix));
        }
        Now { instant, unix }
    }

    /// The time for deadlines alone.
    pub fn instant(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// When `at` is for the standard library.
    pub fn to_std(&self, at: Instant) -> std::time::Instant {
        let after = Duration::from_nanos(at.as_nanos());
        // The end of time is further away than any timer goes.
        self.origin.checked_add(after).unwrap_or_else(|| self.origin + Duration::from_secs(u32::MAX.into()))
    }
}

/// The wall clock in whole seconds, for what is done rarely.
pub(crate) fn unix_seconds() -> u64 {
    wall_clock().as_secs()
}

fn wall_clock() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_agree_and_neither_clock_stands_still() {
        let clock = Clock::start();
        let (copy, first) = (clock.clone(), clock.now());
        std::thread::sleep(Duration::from_millis(150));
        let (second, third) = (copy.now(), clock.now());
        for (earlier, later) in [(first, second), (second, third)] {
            assert!(earlier.instant < later.instant);
        }
        assert!(second.unix.as_millis() - first.unix.as_millis() >= 149);
        assert!(third.unix.as_millis().abs_diff(wall_clock().as_millis()) < 100);
        let at = clock.instant();
        assert!(clock.to_std(at) <= std::time::Instant::now());
        assert!(clock.to_std(at + Duration::from_secs(9)) > std::time::Instant::now());
        clock.to_std(Instant::from_nanos(u64::MAX));
    }
}

//! One timer for a deadline that moves with every event, touched as rarely as possible. For any runtime.

use crate::clock::Clock;
use brolly_core::driver::Timing;
use brolly_core::time::{Instant, Now};
use std::task::{Context, Poll, ready};

/// A timer of some runtime.
pub trait Timer {
    /// Forgets the time it was set to, and is ready at `at`.
    fn set(&mut self, at: std::time::Instant);

    /// Ready once the time has come; wakes the task then.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A deadline. Setting a timer costs more than finding out that it went off too early, and most deadlines only move
/// away: so the timer is set anew only when it went off, or when it would go off too late.
#[derive(Debug)]
pub struct Deadline<T> {
    timer: T,
    clock: Clock,
    /// What the timer is set to, unless it went off.
    set_to: Option<Instant>,
}

impl<T: Timer> Deadline<T> {
    /// A deadline that uses `timer`, whatever that is set to.
    pub fn new(timer: T, clock: Clock) -> Self {
        Self { timer, clock, set_to: None }
    }

    /// Ready once `at` has passed; the task may also be woken before.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        loop {
            let set_to = match self.set_to {
                Some(set_to) if set_to <= at => set_to,
                Some(_) | None => {
                    self.timer.set(self.clock.to_std(at));
                    self.set_to = Some(at);
                    at
                }
            };
            ready!(self.timer.poll(cx));
            self.set_to = None;
            if set_to >= at {
                return Poll::Ready(());
            }
        }
    }
}

/// A clock and a timer, for a client.
#[derive(Debug)]
pub struct Alarm<T> {
    clock: Clock,
    deadline: Deadline<T>,
}

impl<T: Timer> Alarm<T> {
    pub(crate) fn new(timer: T) -> Self {
        let clock = Clock::start();
        Self { deadline: Deadline::new(timer, clock.clone()), clock }
    }
}

impl<T: Timer> Timing for Alarm<T> {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        at.map_or(Poll::Pending, |at| self.deadline.poll(cx, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use std::time::Duration;

    /// Goes off when told to.
    #[derive(Debug, Default)]
    struct Manual {
        sets: Vec<std::time::Instant>,
        is_due: bool,
    }

    impl Timer for Manual {
        fn set(&mut self, at: std::time::Instant) {
            self.sets.push(at);
            self.is_due = false;
        }

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            if self.is_due { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[test]
    fn the_timer_is_set_only_when_it_has_to_be() {
        let clock = Clock::start();
        let mut deadline = Deadline::new(Manual::default(), clock.clone());
        let mut cx = Context::from_waker(Waker::noop());
        let at = |seconds| Instant::default() + Duration::from_secs(seconds);
        let std = |seconds| clock.to_std(at(seconds));
        for seconds in [10, 11, 15, 12] {
            assert!(deadline.poll(&mut cx, at(seconds)).is_pending());
        }
        assert_eq!(deadline.timer.sets, [std(10)]);
        assert!(deadline.poll(&mut cx, at(5)).is_pending());
        assert_eq!(deadline.timer.sets, [std(10), std(5)]);
        deadline.timer.is_due = true;
        assert!(deadline.poll(&mut cx, at(20)).is_pending(), "too early: set for what it is now");
        assert_eq!(deadline.timer.sets, [std(10), std(5), std(20)]);
        deadline.timer.is_due = true;
        assert!(deadline.poll(&mut cx, at(20)).is_ready());
        assert!(deadline.poll(&mut cx, at(30)).is_pending());
        assert_eq!(deadline.timer.sets, [std(10), std(5), std(20), std(30)]);
    }
}

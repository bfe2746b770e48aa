//! When the name of a server is looked up. Requests drive it: a name that nobody asks for is not looked up.

use crate::time::Instant;

/// What is known of a server's name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Names {
    /// It is an address.
    Literal,
    /// It is being looked up.
    Resolving,
    /// It does not have to be looked up before this.
    Until(Option<Instant>),
}

impl Names {
    /// A name that was never looked up.
    pub(super) const fn new() -> Self {
        Self::Until(None)
    }

    pub(super) fn is_resolving(&self) -> bool {
        *self == Self::Resolving
    }

    /// Whether a look-up has to be started; it is under way then.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let is_due = matches!(self, Self::Until(until) if until.is_none_or(|until| until <= now));
        if is_due {
            *self = Self::Resolving;
        }
        is_due
    }

    pub(super) fn end(&mut self, valid_until: Instant) {
        if self.is_resolving() {
            *self = Self::Until(Some(valid_until));
        }
    }
}

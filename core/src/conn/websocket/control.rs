//! Pings and pongs of the peer: how many are put up with, and which pings are answered (RFC 6455 §5.5.2, §5.5.3).

use crate::throttle::{Bucket, Rate};
use crate::time::Instant;
use crate::ws::{Limits, ProtocolError};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

/// Pongs that may wait in the outbox. A peer that reads never has so many unread.
const PONGS: u8 = 16;

/// How many pings and pongs the peer may still send.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct ControlRate {
    per_second: u64,
    bucket: Bucket,
}

impl ControlRate {
    pub(super) const fn new(limits: &Limits) -> Self {
        Self { per_second: limits.control_frames_per_second, bucket: Bucket::new() }
    }

    /// Counts one.
    pub(super) fn count(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let rate = Rate { units: self.per_second, period: Duration::from_secs(1), burst: self.per_second };
        self.bucket.take(&rate, now, 1).map_err(|_| ProtocolError::TooManyControlFrames)
    }
}

/// Pongs on their way, while there are any. RFC 6455 §5.5.3: "If an endpoint receives a Ping frame and has not yet sent
/// Pong frame(s) in response to previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only the most
/// recently processed Ping frame."
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Pongs {
    /// How many are in the outbox.
    queued: u8,
    /// How much of the outbox goes up to the end of the last of them (bytes).
    ahead: usize,
    /// How long the outbox was when it was last seen (bytes).
    seen: usize,
    /// The frame for the last ping, if there were too many before it.
    held: Vec<u8>,
}

impl Pongs {
    /// The first one was queued; the outbox ends with it.
    pub(super) const fn first(outbox: usize) -> Self {
        Self { queued: 1, ahead: outbox, seen: outbox, held: Vec::new() }
    }

    /// Whether another one has to wait until these are sent.
    pub(super) const fn are_enough(&self) -> bool {
        self.queued >= PONGS
    }

    /// This one waits, and not the one before it.
    pub(super) fn hold(&mut self, frame: Vec<u8>) {
        self.held = frame;
    }

    /// Another one was queued; the outbox ends with it.
    pub(super) const fn queued(&mut self, outbox: usize) {
        self.queued += 1;
        (self.ahead, self.seen) = (outbox, outbox);
    }

    /// Something else was queued.
    pub(super) const fn followed(&mut self, outbox: usize) {
        self.seen = outbox;
    }

    /// Some of the outbox was written. Once all pongs were: the frame that waited, or nothing.
    pub(super) fn wrote(&mut self, outbox: usize) -> Option<Vec<u8>> {
        self.ahead = self.ahead.saturating_sub(self.seen.saturating_sub(outbox));
        self.seen = outbox;
        (self.ahead == 0).then(|| mem::take(&mut self.held))
    }
}

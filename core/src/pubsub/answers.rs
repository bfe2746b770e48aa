//! What a home answers.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::{Message, Position};

/// A message is out.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Published {
    /// To be sent to every shard of [`Home::audience`](super::Home::audience).
    pub message: Arc<Message>,
    /// How many subscribers the topic has, on all shards.
    pub subscribers: u32,
}

/// A subscriber is in.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Joined {
    /// Where the topic is now: later messages will be delivered.
    pub position: Position,
    /// What became of the position that the subscriber came with. `None` if it came without.
    pub recovery: Option<Recovery>,
    /// What it missed and is still there, in order; to be handed over before anything that is delivered.
    pub missed: Vec<Arc<Message>>,
}

impl Joined {
    /// Where what the subscriber gets begins: before the first message that it missed, or now.
    pub fn start(&self) -> Position {
        self.missed.first().map_or(self.position, |first| Position {
            epoch: first.position.epoch,
            offset: first.position.offset.saturating_sub(1),
        })
    }
}

/// What becomes of a position. There is no fourth.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Recovery {
    /// The subscriber gets everything it missed, as if it had never been away.
    Resumed,
    /// Messages after `from` up to `to` may have been forgotten; everything after `to` follows.
    Gap {
        /// Where the subscriber was.
        from: Position,
        /// The last that may be lost.
        to: Position,
    },
    /// The position is not one of ours: nothing can be said. The subscriber starts now and should load its state anew.
    Refused,
}

/// Why nothing was published.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic is new and [`Limits::topics`](super::Limits::topics) are in use.
    TooManyTopics,
}

/// Why a subscriber cannot join.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum JoinError {
    /// The topic is new and [`Limits::topics`](super::Limits::topics) are in use.
    TooManyTopics,
}

impl PublishError {
    /// 503 (RFC 9110 §15.6.4): it may work later.
    pub const fn status(self) -> u16 {
        503
    }
}

impl JoinError {
    /// 503 (RFC 9110 §15.6.4): it may work later.
    pub const fn status(self) -> u16 {
        503
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyTopics => f.write_str("too many topics"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyTopics => f.write_str("too many topics"),
        }
    }
}

impl core::error::Error for PublishError {}
impl core::error::Error for JoinError {}

//! What a home may remember.

use core::time::Duration;

/// How much a [`Home`](super::Home) remembers, and how long. Whatever is forgotten is a named
/// [gap](super::Recovery::Gap) for those who come back too late, never a silent one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Limits {
    /// Messages kept for each topic. Default 1,000: some seconds of a busy topic, what one replay may hand over in one
    /// turn. At the limit the topic's oldest goes.
    pub history_messages: usize,
    /// Memory of the messages kept for each topic (bytes, bookkeeping included). Default 1 MiB, for the same reason. At
    /// the limit the topic's oldest go; a message that is larger than this is delivered but not kept.
    pub history_bytes: usize,
    /// How long a message is kept. Default 5 minutes: a phone in a tunnel, a laptop carried to a meeting.
    pub history_age: Duration,
    /// Memory of all messages kept by this shard (bytes, bookkeeping included). Default 256 MiB. At the limit the
    /// oldest of all topics go first.
    pub total_bytes: usize,
    /// Topics known to this shard, because they have subscribers, messages, or had them a moment ago. Default 1,000,000,
    /// which is about 250 MB. At the limit those without both are forgotten first; then new ones are refused.
    pub topics: usize,
    /// How long a topic with neither subscribers nor messages is known. Default 1 minute: longer than a reconnect takes.
    /// Once it is forgotten, whoever comes back to it is told of a gap if his position is older than the last message of
    /// any topic that was forgotten.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            history_messages: 1_000,
            history_bytes: 1024 * 1024,
            history_age: Duration::from_secs(5 * 60),
            total_bytes: 256 * 1024 * 1024,
            topics: 1_000_000,
            linger: Duration::from_secs(60),
        }
    }
}

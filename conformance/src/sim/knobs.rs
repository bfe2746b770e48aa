//! What a world is like: chosen once per seed, so that each world has a few kinds of trouble and not a little of all.

use super::random::Random;
use brolly_core::config::Limits;
use std::time::Duration;

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MILLISECOND;

/// How many bytes a read or write moves at most.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sizes {
    One,
    Few,
    Any,
    Full,
}

impl Sizes {
    /// At least one, at most `limit`.
    pub(crate) fn pick(self, random: &mut Random, limit: usize) -> usize {
        let most = match self {
            Self::One => 1,
            Self::Few => 1 + random.index(9),
            Self::Any => match random.below(4) {
                0 => 1 + random.index(4),
                1 => 1 + random.index(100),
                2 => 1 + random.index(5000),
                _ => usize::MAX,
            },
            Self::Full => usize::MAX,
        };
        most.min(limit)
    }
}

/// Percentages unless said otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Knobs {
    pub(crate) shards: u16,
    pub(crate) reads: Sizes,
    pub(crate) writes: Sizes,
    /// Bytes that a socket holds for a reader.
    pub(crate) capacity: usize,
    /// Of reads and writes that are pending for a moment although they need not be.
    pub(crate) pending: u64,
    /// Of those, how many take as long as a bad network does.
    pub(crate) stalls: u64,
    /// Of visits of a peer that end with a reset connection.
    pub(crate) resets: u64,
    /// Of peers that end their direction once they have said everything.
    pub(crate) half_closes: u64,
    /// Of peers that send a few bytes at a time.
    pub(crate) drips: u64,
    /// Of peers that read a few bytes at a time.
    pub(crate) slow_readers: u64,
    pub(crate) connect_failures: u64,
    pub(crate) resolve_failures: u64,
    pub(crate) file_failures: u64,
    /// Of backends' answers that are broken in some way.
    pub(crate) bad_backends: u64,
    /// Of instants at which the calendar clock jumps.
    pub(crate) clock_jumps: u64,
    /// Longest delay of anything that is not a socket (nanoseconds).
    pub(crate) delay: u64,
    /// Nanoseconds until peers stop making trouble.
    pub(crate) wild: u64,
    /// When all shards are told to shut down, if in the middle of things, and the grace.
    pub(crate) shutdown: Option<(u64, u64)>,
    /// When all shards get another configuration with the same routes, in order.
    pub(crate) reloads: Vec<u64>,
    pub(crate) limits: Limits,
}

impl Knobs {
    pub(crate) fn new(random: &mut Random) -> Self {
        let trouble = |random: &mut Random, most: u64| if random.chance(50) { 0 } else { random.between(1, most) };
        let wild = random.pick(&[SECOND / 10, 2 * SECOND, 20 * SECOND]);
        // Without a draw of its own, so that seeds that are kept mean what they meant.
        let mut apart = random.clone();
        let mut reloads: Vec<_> = (0..apart.pick(&[0, 0, 1, 3])).map(|_| apart.below(2 * wild)).collect();
        reloads.sort_unstable();
        Self {
            reloads,
            shards: random.pick(&[1, 2, 2, 3]),
            reads: random.pick(&[Sizes::One, Sizes::Few, Sizes::Any, Sizes::Full]),
            writes: random.pick(&[Sizes::One, Sizes::Few, Sizes::Any, Sizes::Full]),
            capacity: random.pick(&[1, 50, 1000, 65_536, 1 << 20]),
            pending: trouble(random, 30),
            stalls: trouble(random, 5),
            resets: if random.chance(60) { 0 } else { random.between(1, 3) },
            half_closes: trouble(random, 60),
            drips: trouble(random, 40),
            slow_readers: trouble(random, 40),
            connect_failures: trouble(random, 30),
            resolve_failures: trouble(random, 30),
            file_failures: trouble(random, 20),
            bad_backends: trouble(random, 40),
            clock_jumps: trouble(random, 5),
            delay: random.pick(&[0, MILLISECOND, 300 * MILLISECOND]),
            wild,
            shutdown: random.chance(20).then(|| (random.below(2 * wild), random.pick(&[0, SECOND / 2, 10 * SECOND]))),
            limits: limits(random),
        }
    }

    /// Without any interference, whatever the seed.
    pub(crate) fn quiet(random: &mut Random) -> Self {
        Self {
            pending: 0,
            stalls: 0,
            resets: 0,
            half_closes: 0,
            drips: 0,
            slow_readers: 0,
            connect_failures: 0,
            resolve_failures: 0,
            file_failures: 0,
            bad_backends: 0,
            clock_jumps: 0,
            delay: 0,
            wild: SECOND / 10,
            shutdown: None,
            reloads: Vec::new(),
            limits: Limits::default(),
            ..Self::new(random)
        }
    }
}

/// Small limits, so that worlds reach them.
fn limits(random: &mut Random) -> Limits {
    let mut limits = Limits { connections: random.pick(&[5, 12, 200]), ..Limits::default() };
    let seconds = |random: &mut Random, from, to| Duration::from_secs(random.between(from, to));
    if random.chance(50) {
        limits.outbox_bytes = random.pick(&[1, 300, 2000, 20_000]);
    }
    if random.chance(50) {
        limits.mailbox_messages = random.pick(&[1, 2, 5, 30]);
    }
    if random.chance(50) {
        limits.poll_messages = random.pick(&[1, 2, 5]);
    }
    if random.chance(50) {
        limits.pubsub.history_messages = random.pick(&[0, 1, 3, 10]);
    }
    if random.chance(30) {
        limits.pubsub.history_bytes = random.pick(&[0, 500, 2000]);
    }
    if random.chance(30) {
        limits.pubsub.total_bytes = random.pick(&[0, 1000, 4000]);
    }
    if random.chance(20) {
        limits.pubsub.topics = random.pick(&[1, 2, 4]);
    }
    limits.pubsub.history_age = seconds(random, 1, 100);
    limits.pubsub.linger = seconds(random, 0, 30);
    // An unfinished head has to fit.
    limits.pipelined_bytes = random.pick(&[limits.http.head_bytes, 64 * 1024]);
    limits.calls = random.pick(&[1, 3, 256]);
    limits.subscriptions = random.pick(&[2, 64]);
    limits.head_timeout = seconds(random, 1, 10);
    limits.content_timeout = seconds(random, 1, 30);
    limits.idle_timeout = seconds(random, 1, 75);
    limits.write_timeout = seconds(random, 1, 30);
    limits.ping_interval = seconds(random, 1, 25);
    limits.pong_timeout = seconds(random, 1, 10);
    limits.upstream_timeout = seconds(random, 1, 60);
    limits.upstream_connections = random.pick(&[1, 2, 50]);
    limits.upstream_queue = random.pick(&[0, 1, 3, 128]);
    limits.upstream_queue_timeout = seconds(random, 1, 5);
    limits.upstream_retries = random.pick(&[0, 1, 3]);
    limits.upstream_fresh = Duration::from_secs(random.pick(&[0, 1]));
    limits.upstream_idle = random.pick(&[0, 1, 64]);
    limits.upstream_idle_timeout = seconds(random, 1, 60);
    limits.tunnel_timeout = seconds(random, 5, 600);
    limits.resolve_ttl = seconds(random, 0, 30);
    limits.file_cache_bytes = random.pick(&[0, 3000, 1 << 20]);
    limits.file_cache_age = Duration::from_millis(random.pick(&[0, 1000]));
    limits
}

//! The shard: one state machine per core that owns its connections, and the timers they share.

pub mod wheel;

//! Sessions: what is known about a user over many connections. Whether the user does something, which lattices may hold
//! something of theirs, and who wants to know.
//!
//! ```text
//!                 first connection                 deadline                     last connection closes
//!   offline ─────────────────────────► active ───────────────► inactive ─────────────────────────────► offline
//!                                        ▲ │     (told once)       │
//!                                        │ └── deadline, and no connection: told once, then offline
//!                                        └── a new connection, or a call that says so
//! ```
//!
//! * [`Sessions`] are the users who are at home on one shard ([`home`]). Connections are named by `C`, wherever they are.
//! * [`Untold`] is whose inactivity backends have not heard of yet.
//! * [`NodeId`] names a process, [`PublicId`] a connection to backends: they treat it as opaque.
//!
//! ```
//! use brolly_core::session::{Event, Sessions, Status, Timeouts};
//! use brolly_core::time::{Instant, Now};
//! use core::time::Duration;
//!
//! let mut sessions = Sessions::<u8>::new(Timeouts::default());
//! let at = |seconds| Now { instant: Instant::default() + Duration::from_secs(seconds), ..Now::default() };
//! sessions.connect(at(0), 1, &"ann".into());
//! sessions.handle_timeout(at(60));
//! let events: Vec<_> = core::iter::from_fn(|| sessions.poll_event()).collect();
//! assert!(matches!(&events[0], Event::Changed { status: Status::Active, .. }));
//! assert!(matches!(&events[1], Event::Inactive { user } if &**user == "ann"));
//! assert!(matches!(&events[2], Event::Changed { status: Status::Inactive, .. }));
//! ```

mod id;
mod presence;
mod sessions;
mod untold;

pub use id::{NodeId, PublicId};
pub use presence::{Presence, Seen, Status};
pub use sessions::{Event, Sessions, Timeouts};
pub use untold::{Telling, Untold};

use alloc::sync::Arc;

/// Who: one or more of `[A-Za-z0-9_.:-]`.
pub type User = Arc<str>;

/// Which of `shards` shards is at home for a user, or for anything else with a name; the same in every process.
pub fn home(name: &str, shards: u16) -> u16 {
    // FNV-1a, 32 bits (draft-eastlake-fnv).
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.checked_rem(u32::from(shards)).and_then(|home| u16::try_from(home).ok()).unwrap_or(0)
}

/// Whether a backend may call a user so.
pub fn is_user(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
    !name.is_empty() && name.bytes().all(is_allowed)
}

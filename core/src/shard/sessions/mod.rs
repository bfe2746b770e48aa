//! Session pools: WebSockets whose calls go to backends, users, lattices, presence, and the interface for backends.
//!
//! Everything with a name has a home shard, which decides alone: a user, a namespace, a topic. All of it goes by mail, also within
//! a shard, so that it does not matter who has which connection.
//!
//! | file | part |
//! |---|---|
//! | `greet.rs` | a connection is authorised by a backend, and opened |
//! | `forward.rs` | calls of clients to backends, and what backends answer |
//! | `inactive.rs` | backends are told that users are inactive |
//! | `api.rs` | requests of backends |
//! | `connection.rs` | what is done to a connection on its own shard |
//! | `home.rs` | what happens at the homes of users and namespaces |
//! | `mail.rs` | what shards say to each other about it |

mod api;
mod connection;
mod forward;
mod greet;
mod home;
mod inactive;
mod mail;

pub(super) use api::ApiCall;
pub(super) use connection::Talk;
pub(super) use forward::Matter;
pub(super) use greet::{Greeting, Held};
pub(super) use inactive::TELLINGS;
pub use mail::{Order, Outcome, Place, Reply, SessionMail};

use crate::config::SessionPool;
use crate::conn::earlier;
use crate::lattice::Namespaces;
use crate::session::{Presence, Sessions, Untold};
use crate::time::Instant;

/// What is at home here of a pool.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) sessions: Sessions<Place>,
    presence: Presence,
    lattices: Namespaces<Place>,
    untold: Untold,
}

impl Pool {
    pub(super) fn new(config: &SessionPool) -> Self {
        Self {
            sessions: Sessions::new(config.timeouts),
            presence: Presence::default(),
            lattices: Namespaces::new(config.lattices),
            untold: Untold::default(),
        }
    }

    /// Goes on with other settings.
    pub(super) fn adopt(&mut self, config: &SessionPool) {
        self.sessions.set_timeouts(config.timeouts);
        self.lattices.set_limits(config.lattices);
    }

    /// When it wants to be called; backends can be told of inactivity, or too many are being told.
    pub(super) fn poll_timeout(&self, can_tell: bool) -> Option<Instant> {
        let untold = self.untold.poll_timeout().filter(|_| can_tell);
        earlier(earlier(self.sessions.poll_timeout(), self.lattices.poll_timeout()), untold)
    }
}

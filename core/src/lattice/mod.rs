//! Lattices: named dictionaries of values that can only grow, so that updates may be late, doubled or in another order
//! and everyone still ends with the same state (convergent replicated data types).
//!
//! ```text
//!   namespace "muc"                     key "room1"                what a user sees of it
//!   ┌──────────────────────────┐
//!   │ shared                   │   last_message_counter: 7   ─┐
//!   │ private of user "u1"     │   last_seen_counter: 5      ─┴─► {"room1": {"last_message_counter": 7,
//!   │ private of user "u2"     │   last_seen_counter: 7                      "last_seen_counter": 5}}
//!   └──────────────────────────┘
//! ```
//!
//! * A [`Counter`] grows to the maximum, a [`Set`] to the union, a [`Register`] to the latest stamp. [`Join`] is
//!   associative, commutative, idempotent and monotone for each, and for every map of them, up to a whole [`State`].
//! * A backend sends a [`Delta`]; a [`Namespace`] joins it, and says who has to be told what: exactly what is new to them.
//!   A user sees a key if it has a private part for that user, however empty.
//! * [`Namespaces`] are all of a shard: who is attached to which, with limits.
//!
//! The wire is Swindon's: the suffix of a variable's name says what it is (`_counter`, `_set`, `_register`).
//!
//! ```
//! use brolly_core::lattice::{Delta, Limits, Namespace};
//! use brolly_core::time::Instant;
//!
//! let mut rooms = Namespace::<&str>::new();
//! let delta = r#"{"shared":{"room1":{"last_counter":7}},"private":{"u1":{"room1":{"seen_counter":5}}}}"#;
//! rooms.apply(Instant::default(), Delta::parse(delta.as_bytes())?, &Limits::default())?;
//! let state = rooms.attach("a connection of u1", &"u1".into());
//! assert_eq!(state.to_string(), r#"{"room1":{"last_counter":7,"seen_counter":5}}"#);
//!
//! let delta = Delta::parse(br#"{"shared":{"room1":{"last_counter":8}}}"#)?;
//! let updates = rooms.apply(Instant::default(), delta, &Limits::default())?;
//! assert_eq!(updates[0].to, ["a connection of u1"]);
//! assert_eq!(updates[0].state.to_string(), r#"{"room1":{"last_counter":8}}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod delta;
mod join;
mod limits;
mod namespace;
mod namespaces;
mod state;
mod value;

pub use delta::{Delta, InvalidDelta, Private};
pub use join::Join;
pub use limits::{Full, Limits};
pub use namespace::{Namespace, Update};
pub use namespaces::{Name, Namespaces};
pub use state::{Key, Keys, State, User, Variables};
pub use value::{Counter, Member, Register, Set, Stamp, Value};

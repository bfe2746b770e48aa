//! Topics with positions and history, in two halves that talk by messages; whoever owns both carries them.
//!
//! ```text
//!   publisher           the topic's home shard                      every shard
//!       │   publish    ┌───────────────────────┐    Message    ┌─────────────────────┐   Delivery
//!       └─────────────►│ Home                  │──────────────►│ Subscribers         │─────────────► connection
//!                      │  numbers, remembers,  │    Joined     │  a cursor for each, │
//!                      │  answers who resumes  │◄─────────────►│  fans out           │◄───────────── subscribe
//!                      └───────────────────────┘  join, leave  └─────────────────────┘  unsubscribe
//! ```
//!
//! * A [`Topic`] has one home: [`Topic::home`]. The home numbers its messages and keeps the last of them.
//! * A [`Position`] says how far a subscriber has come in one topic; [`Positions`] is what a client shows when it
//!   comes back. There are three outcomes and no silent fourth: [`Recovery`].
//! * A [`Message`] is encoded once, when it is published, for every wire it may travel on.
//! * The mail from one home to one shard, and back, must keep its order; it may be late.

mod answers;
mod body;
mod history;
mod home;
mod limits;
mod message;
mod position;
mod queue;
mod subscribers;
mod topic;

pub use answers::{JoinError, Joined, PublishError, Published, Recovery};
pub use body::{Body, BodyError};
pub use home::Home;
pub use limits::Limits;
pub use message::{Kind, Message};
pub use position::{Epoch, InvalidToken, MAX_TOPICS, Position, Positions};
pub use subscribers::{Delivery, MemberId, Subscribers};
pub use topic::{InvalidTopic, Topic};

//! The gateway's table: exchanges through a running binary, with a raw client before it and raw backends behind it.
//!
//! The rows are data, in `conformance/cases/gateway/`; [`Scenario`] explains how they are written. Neither side uses an
//! HTTP library: both play their steps byte by byte, and a strict little parser (`message.rs`) reads what comes back.
//!
//! Besides its own steps, every row is held to what must never fail:
//! - what the backends got is exactly the requests that the row names, each complete, well framed, and without a field that
//!   belongs to the connection of the client;
//! - what the client got is complete answers, or a connection that visibly breaks off;
//! - an ordinary request afterwards, on the same connection if it persists and on a new one, gets its own answer.

mod actor;
mod backend;
mod message;
mod play;
mod scenario;
mod stage;
mod transport;

pub(crate) use actor::shown;
pub(crate) use backend::nobody;
pub(crate) use message::{Framing, Message, content, frame, head};
pub use play::{Way, play};
pub use scenario::{Scenario, scenarios};

//! The table of what passes between clients, a session pool, and backends: rows of `conformance/cases/sessions/`, played with
//! whole shards and with running binaries.
//!
//! A row is a sequence: nobody does anything but what its lines say, one after the other, and at the end nobody may have said
//! more. That is why the same row can be played over sockets, and with shards whose time stands still but for `wait`.
//!
//! ```text
//! == What is shown
//! facts 2.5: the statement that it stands for
//! user ann                                       opens a socket, is let in as ann, and hears hello
//! ann says ["chat.send",{"request_id":1},[],{}]
//! app gets POST /chat/send
//!   content-type: application/json
//!   = [{"connection_id":"$ann","request_id":1},[],{}]
//! app answers 403 {"no":1}
//! ann hears ["error",{"error_kind":"http_error","http_error":403,"request_id":1},{"no":1}]
//! ```
//!
//! | line | meaning |
//! |---|---|
//! | `pool …`, `route …`, `upstream …`, `limits …` | before the first step: a line of TOML of that section |
//! | `only shards`, `only one shard`, `only three shards` | time passes that nobody would wait for, or mail is held |
//! | `NAME opens PATH` | an opening handshake; `  name: value` adds or replaces a field, `  name:` omits it |
//! | `NAME gets STATUS` | its answer; below: `  name: value`, `  !name` (is missing), `  = CONTENT` |
//! | `NAME says TEXT`, `NAME hears TEXT` | a text frame |
//! | `NAME sends BYTES` | bytes, as they are written in the table of requests |
//! | `NAME closes CODE REASON`, `NAME is closed CODE REASON` | a close frame, from or to the client |
//! | `NAME hears nothing` | a ping is answered before anything else comes |
//! | `NAME leaves`, `NAME sees the end` | of the connection, by the client or by the server |
//! | `UPSTREAM gets METHOD PATH` | a whole request; below as for answers |
//! | `UPSTREAM answers STATUS JSON` | to the request that has waited longest; below: fields |
//! | `UPSTREAM sends BYTES`, `UPSTREAM closes`, `UPSTREAM gets nothing` | |
//! | `api METHOD PATH JSON -> STATUS CONTENT` | a request of a backend and its answer; without `->`, `api gets` follows, or `api gets nothing`. Below: fields |
//! | `wait 1s`, `shutdown` | |
//! | `hold`, `hold 0 2`, `release` | mail between shards, or from shard 0 to shard 2, waits meanwhile |
//!
//! Upstreams are `app`, `other`, and `dead`, where nobody listens; API connections have names that begin with `api`. In expected
//! text `$ann` is the id of a connection, learnt where it is read first, `$stamp` any number.
//!
//! [`live`] lets many users do this and that instead, from one seed, and compares what they hear with a reference (`reference.rs`);
//! [`gather`] lets a crowd come before that does nothing.

mod life;
mod memory;
mod play;
mod reference;
mod row;
mod sockets;
mod wire;
mod world;

pub use life::{Life, Summary, crowded, gather, live, setting};
pub use memory::Memory;
pub use play::play;
pub(crate) use row::UPSTREAMS;
pub use row::{Row, rows, rows_of};
pub use sockets::Sockets;
pub use world::{Door, End, Route, World};

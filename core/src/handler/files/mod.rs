//! Rules for files (RFC 9110 §8, §12 to §14): what a request wants, what a file is called, what may be kept of it.
//!
//! | file | rules |
//! |---|---|
//! | `settings.rs` | what a route to files is told |
//! | `conditions.rs` | `If-Match` and its kin |
//! | `validator.rs` | entity tags and dates |
//! | `ranges.rs`, `multipart.rs` | parts of a file |
//! | `coding.rs` | `Accept-Encoding` |
//! | `media_type.rs` | `Content-Type` |
//! | `cache_control.rs` | `Cache-Control` |
//! | `versions.rs` | files by the version in the query |
//! | `path.rs` | which paths name nothing, or a page |
//! | `listing.rs` | a directory as a page |

pub mod cache_control;
pub mod coding;
mod conditions;
pub mod listing;
pub mod media_type;
pub mod multipart;
pub mod path;
mod ranges;
mod settings;
mod validator;
mod versions;

pub use coding::{AcceptEncoding, Coding, Codings};
pub use conditions::{Conditions, Outcome};
pub use ranges::{Ranges, Selected};
pub use settings::{CacheRule, Compress, Files, Symlinks};
pub use validator::{Stamp, Validator};
pub use versions::{Fallback, Versions};

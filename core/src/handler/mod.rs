//! What handlers know besides bytes: the parameters of subscribers, the grammar of calls, the rules for files.

pub mod call;
pub mod files;
pub mod follow;
pub mod forward;
pub mod origin;

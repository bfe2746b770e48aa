//! What handlers know besides bytes: the parameters of subscribers, the grammar of calls, the rules for files, what
//! answers look like.

pub mod call;
pub mod cors;
pub mod edits;
pub mod files;
pub mod follow;
pub mod forward;
pub mod httpbin;
pub mod login;
pub mod origin;
pub mod pages;
pub mod pool_api;
pub mod redirect;
pub mod remote;
pub mod template;
pub mod websocket;

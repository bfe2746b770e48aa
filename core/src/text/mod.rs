//! Small text formats that several protocols share.

pub mod date;
pub mod duration;

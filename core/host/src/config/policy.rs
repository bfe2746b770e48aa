//! What routes ask for and do to answers, whatever their handler: each part reads its own keys.

use super::admission;
use super::source::Section;
use crate::failure::Failure;
use brolly_core::config::Policy;

/// The keys of all parts.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    admission::KEYS.iter().copied()
}

/// The policy of a route; `None`: it has none.
pub(super) fn policy(route: &Section<'_, '_>) -> Result<Option<Policy>, Failure> {
    let mut policy = Policy::default();
    admission::read(route, &mut policy)?;
    Ok((policy != Policy::default()).then_some(policy))
}

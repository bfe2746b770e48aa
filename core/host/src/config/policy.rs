//! What routes ask for and do to answers, whatever their handler: each part reads its own keys.

use super::source::Section;
use super::{admission, shaping};
use crate::failure::Failure;
use brolly_core::config::Policy;
use std::collections::BTreeMap;
use std::path::Path;

/// The keys of all parts.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    admission::KEYS.iter().chain(shaping::KEYS).copied()
}

/// The policy of a route; `None`: it has none. Relative paths begin at `directory`.
pub(super) fn policy(
    route: &Section<'_, '_>,
    upstreams: &BTreeMap<&str, usize>,
    directory: &Path,
) -> Result<Option<Policy>, Failure> {
    let mut policy = Policy::default();
    admission::read(route, &mut policy, upstreams, directory)?;
    shaping::read(route, &mut policy, directory)?;
    Ok((policy != Policy::default()).then_some(policy))
}

/// What a policy asks for and does, a line each.
pub(super) fn describe(policy: &Policy) -> Vec<String> {
    let shaping = policy.shaping.as_deref().map(shaping::describe).unwrap_or_default();
    admission::describe(policy).chain(shaping).collect()
}

//! Whole dictionaries: keys, variables, values.

use super::{Join, Value};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;

/// A name of an entry: one or more of `[A-Za-z0-9_.:-]`.
pub type Key = Arc<str>;
/// Who has a private part: one or more of `[A-Za-z0-9_.:-]`.
pub type User = Arc<str>;
/// The variables of one entry by their names, suffix included.
pub type Variables = BTreeMap<Arc<str>, Value>;
/// Entries by their names.
pub type Keys = BTreeMap<Key, Variables>;

/// A dictionary of entries: what is shared, what is one user's, what changed. Written as JSON by [`fmt::Display`].
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct State(pub Keys);

impl State {
    /// An empty dictionary.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Joins the variables of one entry; an empty entry counts.
    pub(super) fn merge_entry(&mut self, key: &Key, variables: &Variables) {
        self.0.entry(Arc::clone(key)).or_default().absorb(variables.clone());
    }
}

impl Join for State {
    fn join(&mut self, delta: &mut Self, bytes: &mut usize) -> bool {
        self.0.join(&mut delta.0, bytes)
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl fmt::Display for State {
    /// Names need no escapes: their grammar has none to escape.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (key, variables)) in self.0.iter().enumerate() {
            write!(f, "{}\"{key}\":{{", if index == 0 { "" } else { "," })?;
            for (index, (name, value)) in variables.iter().enumerate() {
                write!(f, "{}\"{name}\":{value}", if index == 0 { "" } else { "," })?;
            }
            f.write_str("}")?;
        }
        f.write_str("}")
    }
}

/// Whether `name` can be a key, a user or, without a colon, a namespace.
pub(super) fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
    !name.is_empty() && name.bytes().all(is_allowed)
}

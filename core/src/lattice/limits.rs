//! How much may be kept.

use core::fmt;
use core::time::Duration;

/// Limits of the lattices of one shard.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Limits {
    /// Bytes of one namespace, names and 64 bytes for each value included. Default 16 MiB. An update that might exceed it is refused
    /// whole: what was accepted is never dropped.
    pub namespace_bytes: usize,
    /// Namespaces. Default 10,000. Updates to further ones are refused.
    pub namespaces: usize,
    /// How long private data is kept for a user who has no session, unless it says so itself (`expires_in`). Default 60 s.
    pub absent: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { namespace_bytes: 16 << 20, namespaces: 10_000, absent: Duration::from_secs(60) }
    }
}

/// There is no room for an update: nothing of it was applied.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Full {
    /// The namespace has as many bytes as it may.
    Namespace,
    /// There are as many namespaces as there may be.
    Namespaces,
}

impl Full {
    /// 507 Insufficient Storage (RFC 4918 §11.5).
    pub const fn status(self) -> u16 {
        507
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "the lattice has no room for this update",
            Self::Namespaces => "there are too many lattices",
        })
    }
}

impl core::error::Error for Full {}

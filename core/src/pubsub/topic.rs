//! Names of topics, and which shard is at home for them.

use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;

/// The longest name (bytes): fits one length byte, and nobody was ever short of it.
const MAX_BYTES: usize = 255;
/// Stands between a pool and a name. No name can have it.
const SCOPE: &str = "\0";

/// The name of a topic: 1 to 255 bytes of UTF-8 without control characters. Cheap to clone.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Checks and copies `name`.
    pub fn new(name: &str) -> Result<Self, InvalidTopic> {
        if name.is_empty() {
            return Err(InvalidTopic::Empty);
        }
        if name.len() > MAX_BYTES {
            return Err(InvalidTopic::TooLong);
        }
        match name.char_indices().find(|(_, character)| character.is_control()) {
            Some((offset, _)) => Err(InvalidTopic::ControlCharacter { offset }),
            None => Ok(Self(Arc::from(name))),
        }
    }

    /// A topic of a session pool: apart from those of other pools, and from those of none.
    pub fn in_pool(pool: u16, name: &str) -> Result<Self, InvalidTopic> {
        Self::new(name).map(|_| Self([&alloc::format!("{pool}"), SCOPE, name].concat().into()))
    }

    /// The name, and whether it is one of a session pool.
    pub fn label(&self) -> (&str, bool) {
        self.0.split_once(SCOPE).map_or((&self.0, false), |(_, name)| (name, true))
    }

    /// The name, with what stands for the pool before it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of `shards` shards numbers this topic's messages; the same in every process. 0 if there are none.
    pub fn home(&self, shards: u16) -> u16 {
        let home = self.fingerprint().checked_rem(u32::from(shards));
        home.and_then(|home| u16::try_from(home).ok()).unwrap_or(0)
    }

    /// FNV-1a, 32 bits (draft-eastlake-fnv): stands for the name in position tokens. Stable for ever.
    pub fn fingerprint(&self) -> u32 {
        self.0.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a name is none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum InvalidTopic {
    /// There is a control character (Unicode category Cc).
    ControlCharacter {
        /// Where it begins (bytes).
        offset: usize,
    },
    /// There is no name.
    Empty,
    /// There are more than 255 bytes.
    TooLong,
}

impl InvalidTopic {
    /// 400 (RFC 9110 §15.5.1).
    pub const fn status(self) -> u16 {
        400
    }
}

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlCharacter { offset } => write!(f, "topic has a control character at byte {offset}"),
            Self::Empty => f.write_str("topic is empty"),
            Self::TooLong => f.write_str("topic is longer than 255 bytes"),
        }
    }
}

impl core::error::Error for InvalidTopic {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_are_checked() {
        assert_eq!(Topic::new(""), Err(InvalidTopic::Empty));
        assert_eq!(Topic::new(&"x".repeat(256)), Err(InvalidTopic::TooLong));
        assert_eq!(Topic::new("a\nb"), Err(InvalidTopic::ControlCharacter { offset: 1 }));
        assert_eq!(Topic::new("ä\u{85}"), Err(InvalidTopic::ControlCharacter { offset: 2 }));
        assert_eq!(Topic::new("\u{7f}"), Err(InvalidTopic::ControlCharacter { offset: 0 }));
        for name in ["a", "news/ä ☂?\"", &"x".repeat(255)] {
            assert_eq!(Topic::new(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn the_fingerprint_is_fnv_1a() {
        // From the reference implementation's test vectors.
        for (name, hash) in [("a", 0xe40c_292c), ("foobar", 0xbf9c_f968), ("ch", 0x5f29_9f4e)] {
            assert_eq!(Topic::new(name).unwrap().fingerprint(), hash, "{name}");
        }
    }

    #[test]
    fn homes_are_spread_and_within_the_shards() {
        let mut load = [0; 7];
        for number in 0..7000 {
            load[usize::from(Topic::new(&number.to_string()).unwrap().home(7))] += 1;
        }
        assert!(load.iter().all(|&topics| (800..1200).contains(&topics)), "{load:?}");
        assert_eq!(Topic::new("a").unwrap().home(0), 0);
        assert_eq!(Topic::new("a").unwrap().home(1), 0);
    }
}

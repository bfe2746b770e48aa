//! Names of processes and of their connections, as backends see them.

use crate::time::UnixTime;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::fmt;
use core::str;

/// The characters of a [`NodeId`].
const NODE_BYTES: usize = 32;

/// Names a process: 24 bytes in URL-safe base 64, of which six are the milliseconds since 1970, so that ids sort roughly by time.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId([u8; NODE_BYTES]);

impl NodeId {
    /// The name of a process that started then; random bytes tell it apart from others.
    pub fn new(now: UnixTime, random: [u8; 18]) -> Self {
        let mut raw = [0; 24];
        let (time, rest) = raw.split_at_mut(6);
        time.copy_from_slice(now.as_millis().to_be_bytes().last_chunk::<6>().unwrap_or(&[0; 6]));
        rest.copy_from_slice(&random);
        let mut id = [b'A'; NODE_BYTES];
        // 24 bytes are 32 characters: this cannot fail.
        let _ = URL_SAFE_NO_PAD.encode_slice(raw, &mut id);
        Self(id)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Default for NodeId {
    fn default() -> Self {
        Self([b'A'; NODE_BYTES])
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names a connection of a process: the process, a dash, a number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PublicId {
    /// Whose connection.
    pub node: NodeId,
    /// Which shard has it.
    pub shard: u16,
    /// What the shard calls it.
    pub conn: u64,
}

impl PublicId {
    /// Reads an id of any process; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (node, number) = text.rsplit_once('-')?;
        let node: [u8; NODE_BYTES] = node.as_bytes().try_into().ok()?;
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !node.iter().all(is_allowed) || number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u128 = number.parse().ok()?;
        let shard = (number & 0xffff) as u16;
        Some(Self { node: NodeId(node), shard, conn: u64::try_from(number >> 16).ok()? })
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.node, u128::from(self.conn) << 16 | u128::from(self.shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let node = NodeId::new(UnixTime::from_millis(1_795_288_285_392), [0xff; 18]);
        assert_eq!(node.to_string(), "AaH_hUDQ________________________");
        for (shard, conn) in [(0, 0), (3, 1 << 32 | 7), (u16::MAX, u64::MAX)] {
            let id = PublicId { node, shard, conn };
            assert_eq!(PublicId::parse(&id.to_string()), Some(id));
        }
        for text in [
            "",
            "-1",
            "AaH_hUDQ________________________",
            "AaH_hUDQ________________________-",
            "AaH_hUDQ________________________-x",
            "AaH_hUDQ_______________________/-1",
            "AaH_hUDQ________________________-+1",
            "x-1",
        ] {
            assert_eq!(PublicId::parse(text), None, "{text}");
        }
    }
}

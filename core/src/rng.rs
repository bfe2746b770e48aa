//! Randomness from a seed: request ids, masking keys, epochs. Same seed, same bytes.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use uuid::Uuid;

/// 32 bytes of entropy: from the operating system in production, from the test in a simulation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Seed(pub [u8; 32]);

/// The one source of randomness of a shard, cryptographically strong because RFC 6455 §10.3 needs unpredictable masks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// A stream of random bytes determined by `seed` and `stream`; different streams are independent.
    pub fn new(seed: Seed, stream: u64) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed.0);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A masking key (RFC 6455 §5.3) or any other four bytes.
    pub fn next_key(&mut self) -> [u8; 4] {
        self.0.next_u32().to_ne_bytes()
    }

    /// A uniformly distributed number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A version 4 UUID, for `X-Barium`.
    pub fn next_uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.next_nonce()).into_uuid()
    }

    /// Sixteen bytes for `Sec-WebSocket-Key` (RFC 6455 §4.1).
    pub fn next_nonce(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

//! Masking (RFC 6455 §5.3).

/// XORs `bytes` with `key`, beginning with the key's byte number `phase` (modulo 4). The same again undoes it.
///
/// `phase` is how many bytes of the payload came before `bytes`.
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    let key = u64::from(u32::from_le_bytes(rotate(key, phase)));
    let key = key << 32 | key;
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_le_bytes(*word) ^ key).to_le_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.to_le_bytes()) {
        *byte ^= key;
    }
}

/// The key as it applies after `phase` bytes.
#[inline]
pub(super) fn rotate(key: [u8; 4], phase: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right(8 * (phase % 4) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_the_example_of_the_rfc() {
        // RFC 6455 §5.7: a single-frame masked text message.
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn pieces_are_masked_as_the_whole() {
        let key = [1, 2, 3, 4];
        let mut whole = [0; 40];
        mask(&mut whole, key, 0);
        for cut in 0..=whole.len() {
            let mut pieces = [0; 40];
            let (left, right) = pieces.split_at_mut(cut);
            mask(left, key, 0);
            mask(right, key, cut);
            assert_eq!(pieces, whole);
        }
    }
}

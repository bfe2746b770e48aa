//! Masking (RFC 6455 §5.3).

/// From this length on it pays to align (bytes).
const LONG: usize = 512;
/// How wide the words are that a compiler makes of a loop, at least (bytes). Those that lie across two cache lines cost a third more.
const ALIGNMENT: usize = 16;

/// XORs `bytes` with `key`, beginning with the key's byte number `phase` (modulo 4). The same again undoes it.
///
/// `phase` is how many bytes of the payload came before `bytes`.
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    let key = rotate(key, phase);
    if bytes.len() < LONG {
        return mask_words(bytes, key);
    }
    let head_len = bytes.as_ptr().align_offset(ALIGNMENT).min(bytes.len());
    let (head, rest) = bytes.split_at_mut(head_len);
    mask_words(head, key);
    mask_words(rest, rotate(key, head_len));
}

#[inline]
fn mask_words(bytes: &mut [u8], key: [u8; 4]) {
    let key = u64::from(u32::from_le_bytes(key));
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
    use alloc::vec;
    use alloc::vec::Vec;

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
        let whole: Vec<u8> = key.into_iter().cycle().take(LONG + 40).collect();
        for cut in 0..=whole.len() {
            let mut pieces = vec![0; whole.len()];
            let (left, right) = pieces.split_at_mut(cut);
            mask(left, key, 0);
            mask(right, key, cut);
            assert_eq!(pieces, whole);
        }
    }
}

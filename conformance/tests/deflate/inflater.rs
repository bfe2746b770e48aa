//! A reader of DEFLATE (RFC 1951) that is written for clarity, and notes how far back it had to look.

/// What was read: the bytes, and the largest distance.
pub(crate) struct Inflated {
    pub(crate) data: Vec<u8>,
    pub(crate) farthest: usize,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<usize> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    /// A number, its lowest bit first.
    fn number(&mut self, bits: usize) -> Option<usize> {
        (0..bits).try_fold(0, |number, place| Some(number | self.bit()? << place))
    }

    fn align(&mut self) {
        self.at = self.at.div_ceil(8) * 8;
    }
}

/// A Huffman code (§3.2.2): for each symbol its length and bits.
struct Code(Vec<(usize, usize, usize)>);

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut symbols: Vec<(usize, usize)> = lengths
            .iter()
            .enumerate()
            .filter(|(_, length)| **length > 0)
            .map(|(symbol, length)| (*length, symbol))
            .collect();
        symbols.sort_unstable();
        let (mut code, mut before) = (0, 0);
        let assign = |(length, symbol)| {
            code <<= length - before;
            before = length;
            code += 1;
            (length, code - 1, symbol)
        };
        Self(symbols.into_iter().map(assign).collect())
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut length, mut code) = (0, 0);
        loop {
            code = code << 1 | bits.bit()?;
            length += 1;
            if let Some((.., symbol)) = self.0.iter().find(|(of, bits, _)| (*of, *bits) == (length, code)) {
                return Some(*symbol);
            }
            if length > 15 {
                return None;
            }
        }
    }
}

const LENGTHS: [(usize, usize); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const DISTANCES: [(usize, usize); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];

/// Reads the payload of a compressed message (RFC 7692 §7.2.2) that may refer to `window`. `None`: it cannot be read.
pub(crate) fn inflate(window: &[u8], payload: &[u8]) -> Option<Inflated> {
    let bytes = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut bits = Bits { bytes: &bytes, at: 0 };
    let (mut data, mut farthest) = (window.to_vec(), 0);
    while bits.at < bytes.len() * 8 {
        bits.bit()?;
        match bits.number(2)? {
            0 => {
                bits.align();
                let (length, inverse) = (bits.number(16)?, bits.number(16)?);
                if length ^ inverse != 0xffff {
                    return None;
                }
                for _ in 0..length {
                    data.push(bits.number(8)? as u8);
                }
            }
            1 => {
                let lengths: Vec<usize> = (0..288)
                    .map(|symbol| match symbol {
                        0..144 => 8,
                        144..256 => 9,
                        256..280 => 7,
                        _ => 8,
                    })
                    .collect();
                block(&mut bits, &Code::new(&lengths), &Code::new(&[5; 30]), &mut data, &mut farthest)?;
            }
            2 => {
                let (literals, distances, codes) = (bits.number(5)? + 257, bits.number(5)? + 1, bits.number(4)? + 4);
                let mut lengths = [0; 19];
                for place in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15].into_iter().take(codes)
                {
                    lengths[place] = bits.number(3)?;
                }
                let code = Code::new(&lengths);
                let mut lengths = Vec::new();
                while lengths.len() < literals + distances {
                    let (repeated, times) = match code.symbol(&mut bits)? {
                        16 => (*lengths.last()?, 3 + bits.number(2)?),
                        17 => (0, 3 + bits.number(3)?),
                        18 => (0, 11 + bits.number(7)?),
                        length => (length, 1),
                    };
                    lengths.extend(std::iter::repeat_n(repeated, times));
                }
                let (of_literals, of_distances) = lengths.split_at_checked(literals)?;
                block(&mut bits, &Code::new(of_literals), &Code::new(of_distances), &mut data, &mut farthest)?;
            }
            _ => return None,
        }
        // After the last block of a flush nothing is left but what fills the byte.
        if bits.at.div_ceil(8) == bytes.len() {
            break;
        }
    }
    data.drain(..window.len());
    Some(Inflated { data, farthest })
}

fn block(
    bits: &mut Bits<'_>,
    literals: &Code,
    distances: &Code,
    data: &mut Vec<u8>,
    farthest: &mut usize,
) -> Option<()> {
    loop {
        match literals.symbol(bits)? {
            literal @ 0..256 => data.push(literal as u8),
            256 => return Some(()),
            length => {
                let (base, extra) = *LENGTHS.get(length - 257)?;
                let length = base + bits.number(extra)?;
                let (base, extra) = *DISTANCES.get(distances.symbol(bits)?)?;
                let distance = base + bits.number(extra)?;
                *farthest = distance.max(*farthest);
                for _ in 0..length {
                    data.push(*data.get(data.len().checked_sub(distance)?)?);
                }
            }
        }
    }
}

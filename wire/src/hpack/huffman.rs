//! The Huffman code of RFC 7541 appendix B, decoded four bits at a time.
//!
//! The code is canonical: codes are given out in order of length, then of symbol. So the lengths are all there
//! is to write down, and the table of steps is made from them when the crate is compiled.

use super::HpackError;

/// Number of the end-of-string symbol, after the 256 bytes.
const EOS: usize = 256;

/// Longest code in bits.
const LONGEST: u8 = 30;

/// Bits of the code of each byte, and of the end of string.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The step takes a symbol out.
const EMITS: u8 = 1;
/// The string may end after the step: what is left over is padding, less than a byte of ones.
const MAY_END: u8 = 2;
/// The step runs into the end-of-string code, which no string may hold.
const FAILS: u8 = 4;

/// What four more bits do at an inner node of the code tree.
#[derive(Clone, Copy)]
struct Step {
    node: u8,
    symbol: u8,
    flags: u8,
}

/// For each of the 256 inner nodes, what each four bits do. No code is shorter than five bits, so a step takes
/// out one symbol at most.
static STEPS: [[Step; 16]; 256] = steps(&tree());

/// In the tree, a child that is a leaf: the symbol is in the low bits.
const LEAF: u16 = 0x8000;

/// Appends the symbol that each of `codes` stands for.
pub(super) fn decode(codes: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    out.reserve(codes.len() * 8 / 5);
    let mut node = 0u8;
    let mut end = MAY_END;
    let mut failed = 0u8;
    for &byte in codes {
        for bits in [byte >> 4, byte & 0x0f] {
            let step = STEPS[usize::from(node)][usize::from(bits)];
            if step.flags & EMITS != 0 {
                out.push(step.symbol);
            }
            failed |= step.flags & FAILS;
            end = step.flags & MAY_END;
            node = step.node;
        }
    }
    if failed != 0 || end == 0 { Err(HpackError::Huffman) } else { Ok(()) }
}

/// The code tree: the children of each inner node, the root first.
const fn tree() -> [[u16; 2]; 256] {
    let mut nodes = [[0u16; 2]; 256];
    let mut used = 1u16;
    let mut code = 0u32;
    let mut length = 1u8;
    while length <= LONGEST {
        code <<= 1;
        let mut symbol = 0;
        while symbol <= EOS {
            if LENGTHS[symbol] == length {
                used = plant(&mut nodes, used, code, length, symbol as u16);
                code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    nodes
}

/// Puts one code into the tree and gives back how many inner nodes there are now.
const fn plant(nodes: &mut [[u16; 2]; 256], mut used: u16, code: u32, length: u8, symbol: u16) -> u16 {
    let mut node = 0;
    let mut left = length - 1;
    while left > 0 {
        let bit = ((code >> left) & 1) as usize;
        if nodes[node][bit] == 0 {
            nodes[node][bit] = used;
            used += 1;
        }
        node = nodes[node][bit] as usize;
        left -= 1;
    }
    nodes[node][(code & 1) as usize] = LEAF | symbol;
    used
}

const fn steps(nodes: &[[u16; 2]; 256]) -> [[Step; 16]; 256] {
    let padding = padding(nodes);
    let mut steps = [[Step { node: 0, symbol: 0, flags: 0 }; 16]; 256];
    let mut from = 0;
    while from < 256 {
        let mut bits = 0;
        while bits < 16 {
            steps[from][bits] = step(nodes, &padding, from, bits);
            bits += 1;
        }
        from += 1;
    }
    steps
}

const fn step(nodes: &[[u16; 2]; 256], padding: &[bool; 256], from: usize, bits: usize) -> Step {
    let mut node = from;
    let mut symbol = 0u8;
    let mut flags = 0u8;
    let mut shift = 4;
    while shift > 0 {
        shift -= 1;
        let child = nodes[node][(bits >> shift) & 1];
        node = child as usize;
        if child & LEAF != 0 {
            let leaf = (child & !LEAF) as usize;
            node = 0;
            if leaf == EOS {
                flags |= FAILS;
            } else {
                symbol = leaf as u8;
                flags |= EMITS;
            }
        }
    }
    if padding[node] {
        flags |= MAY_END;
    }
    Step { node: node as u8, symbol, flags }
}

/// The nodes at which a string may end: the root and those that up to seven ones lead to.
const fn padding(nodes: &[[u16; 2]; 256]) -> [bool; 256] {
    let mut padding = [false; 256];
    let mut node = 0;
    let mut ones = 0;
    while ones < 8 {
        padding[node] = true;
        node = nodes[node][1] as usize;
        ones += 1;
    }
    padding
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The code and length of each symbol, in the order of canonical codes.
    fn codes() -> Vec<(u32, u8)> {
        let mut codes = vec![(0, 0); 257];
        let mut next = 0u32;
        for length in 1..=LONGEST {
            next <<= 1;
            for symbol in (0..=EOS).filter(|&symbol| LENGTHS[symbol] == length) {
                codes[symbol] = (next, length);
                next += 1;
            }
        }
        codes
    }

    /// The Huffman code of a string, padded with ones.
    pub fn encode(plain: &[u8]) -> Vec<u8> {
        let codes = codes();
        let (mut out, mut bits, mut have) = (Vec::new(), 0u64, 0u8);
        for &byte in plain {
            let (code, length) = codes[usize::from(byte)];
            bits = (bits << length) | u64::from(code);
            have += length;
            while have >= 8 {
                have -= 8;
                out.push((bits >> have) as u8);
            }
        }
        if have > 0 {
            out.push(((bits << (8 - have)) | (0xff >> have)) as u8);
        }
        out
    }

    fn decoded(codes: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::new();
        decode(codes, &mut out).map(|()| out)
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encode(&all)).unwrap(), all);
        for byte in all {
            assert_eq!(decoded(&encode(&[byte])).unwrap(), [byte]);
        }
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        let codes = codes();
        assert_eq!(codes[usize::from(b'0')], (0x0, 5));
        assert_eq!(codes[usize::from(b' ')], (0x14, 6));
        assert_eq!(codes[usize::from(b'z')], (0x7b, 7));
        assert_eq!(codes[0], (0x1ff8, 13));
        assert_eq!(codes[249], (0x0fff_fffe, 28));
        assert_eq!(codes[EOS], (0x3fff_ffff, 30));
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(&[]).unwrap(), b"");
        assert_eq!(decoded(&[0b0000_0111]).unwrap(), b"0");
        assert_eq!(decoded(&[0b0000_0000]), Err(HpackError::Huffman), "three zeros");
        assert_eq!(decoded(&[0b0000_0110]), Err(HpackError::Huffman), "a zero at the end");
        assert_eq!(decoded(&[0xff]), Err(HpackError::Huffman), "eight ones");
        assert_eq!(decoded(&[0b0000_0111, 0xff]), Err(HpackError::Huffman), "eleven ones");
    }

    #[test]
    fn the_end_of_string_code_is_refused() {
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(HpackError::Huffman));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc, 0x07]), Err(HpackError::Huffman));
    }
}

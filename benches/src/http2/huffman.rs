//! The Huffman code of header fields (RFC 7541, appendix B). It is canonical: the lengths say all.

use super::Broken;

/// The bits of each byte's code.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The longest code, which is also that of the symbol that no string may hold.
const LONGEST: usize = 30;

/// The decoder: for each length its first code and the bytes that have codes of that length.
#[derive(Debug)]
pub(super) struct Huffman {
    first: [u32; LONGEST + 1],
    bytes: [Vec<u8>; LONGEST + 1],
}

impl Huffman {
    pub(super) fn new() -> Self {
        let mut bytes = [const { Vec::new() }; LONGEST + 1];
        for (byte, length) in (0..=u8::MAX).zip(LENGTHS) {
            bytes[usize::from(length)].push(byte);
        }
        let (mut first, mut code) = ([0; LONGEST + 1], 0);
        for (length, of_length) in bytes.iter().enumerate() {
            code <<= 1;
            first[length] = code;
            // 256 at most.
            code += u32::try_from(of_length.len()).unwrap_or_default();
        }
        Self { first, bytes }
    }

    /// Decodes a string. It is seldom asked, since what servers repeat they send as an index.
    pub(super) fn decode(&self, coded: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::with_capacity(coded.len() * 2);
        let (mut code, mut length) = (0, 0);
        for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1)) {
            code = code << 1 | u32::from(bit);
            length += 1;
            if length > LONGEST {
                return Err(Broken("no such Huffman code"));
            }
            let place = code.wrapping_sub(self.first[length]) as usize;
            if code >= self.first[length]
                && let Some(byte) = self.bytes[length].get(place)
            {
                out.push(*byte);
                (code, length) = (0, 0);
            }
        }
        // The rest of the last byte is filled with ones.
        if length < 8 && code == (1 << length) - 1 { Ok(out) } else { Err(Broken("padding")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_decoded() {
        let huffman = Huffman::new();
        let coded = b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        assert_eq!(huffman.decode(coded).unwrap(), b"www.example.com");
        assert_eq!(huffman.decode(b"\xa8\xeb\x10\x64\x9c\xbf").unwrap(), b"no-cache");
        assert_eq!(huffman.decode(b"").unwrap(), b"");
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let huffman = Huffman::new();
        assert!(huffman.decode(b"\xff\xff\xff\xff").is_err());
        assert!(huffman.decode(b"\xf0").is_err());
    }
}

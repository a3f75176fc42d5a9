//! Fields of protobuf messages, written without asking the buffer for room for each byte.

use bytes::BufMut;
use prost::encoding::{WireType, encoded_len_varint};

/// Every number of a field here fits with its wire type into one byte.
const TAG_LEN: usize = 1;
const VARINT_LEN: usize = 10;
/// As many numbers as are written in a row: a header and what follows it in the answer of a watch.
const NUMBERS: usize = 9;

/// Fields in a row, which go to the buffer together.
pub(super) struct Fields {
    bytes: [u8; NUMBERS * (TAG_LEN + VARINT_LEN)],
    len: usize,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self { bytes: [0; NUMBERS * (TAG_LEN + VARINT_LEN)], len: 0 }
    }

    /// A field with a number, unless that is zero.
    pub(super) fn number(mut self, tag: u8, number: u64) -> Self {
        if number != 0 {
            self.byte(tag << 3 | WireType::Varint as u8);
            self.varint(number);
        }
        self
    }

    /// What comes before the bytes of a field: its number and their length.
    pub(super) fn before_bytes(mut self, tag: u8, len: usize) -> Self {
        self.byte(tag << 3 | WireType::LengthDelimited as u8);
        self.varint(len as u64);
        self
    }

    pub(super) fn put(self, buf: &mut impl BufMut) {
        buf.put_slice(&self.bytes[..self.len]);
    }

    /// The same, and a field with bytes unless there are none.
    pub(super) fn put_with(self, tag: u8, bytes: &[u8], buf: &mut impl BufMut) {
        if bytes.is_empty() {
            return self.put(buf);
        }
        self.before_bytes(tag, bytes.len()).put(buf);
        buf.put_slice(bytes);
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lowest seven bits")]
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }
}

pub(super) fn bytes_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { message_len(bytes.len()) }
}

/// What a message of this length takes as a field.
pub(super) fn message_len(len: usize) -> usize {
    TAG_LEN + encoded_len_varint(len as u64) + len
}

pub(super) fn number_len(number: u64) -> usize {
    if number == 0 { 0 } else { TAG_LEN + encoded_len_varint(number) }
}

#[cfg(test)]
mod tests {
    use prost::encoding;

    use super::*;

    #[test]
    fn fields_are_written_as_prost_writes_them() {
        let numbers = [0, 1, 127, 128, 300, 1 << 40, u64::MAX];
        for number in numbers {
            let (mut own, mut prosts) = (Vec::new(), Vec::new());
            Fields::new().number(3, number).put(&mut own);
            if number != 0 {
                encoding::uint64::encode(3, &number, &mut prosts);
            }
            assert_eq!(own, prosts);
            assert_eq!(own.len(), number_len(number));
        }
        for len in [0, 1, 127, 128, 20_000] {
            let bytes = vec![7; len];
            let (mut own, mut prosts) = (Vec::new(), Vec::new());
            Fields::new().number(1, 5).put_with(2, &bytes, &mut own);
            encoding::uint64::encode(1, &5, &mut prosts);
            if len > 0 {
                encoding::bytes::encode(2, &bytes, &mut prosts);
            }
            assert_eq!(own, prosts);
            assert_eq!(own.len(), number_len(5) + bytes_len(&bytes));
        }
        let mut own = Vec::new();
        let all = (1..=9).fold(Fields::new(), |fields, tag| fields.number(tag, u64::MAX));
        all.put(&mut own);
        assert_eq!(own.len(), 9 * 11);
    }
}

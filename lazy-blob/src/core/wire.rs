//! The primitives of the index's encoding: LEB128 numbers, byte strings, fixed fields.

use bytes::Bytes;

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Seven bits a byte, the lowest first, the upper bit set on all but the last.
    pub(super) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    /// Small magnitudes of either sign in few bytes: 0, -1, 1, -2, …
    pub(super) fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    pub(super) fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }
}

/// Takes fields from bytes that may be anything; `None` where they end or make no sense.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes, shared and not copied.
    pub(super) fn raw(&mut self, length: u64) -> Option<Bytes> {
        let length = usize::try_from(length).ok().filter(|&it| it <= self.rest.len())?;
        Some(self.rest.split_to(length))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.raw(N as u64)?;
        bytes.as_ref().try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.byte()?);
            let part = (byte & 0x7f) << shift;
            if part >> shift != byte & 0x7f {
                return None;
            }
            value |= part;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn small(&mut self) -> Option<u32> {
        self.number().and_then(|value| u32::try_from(value).ok())
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    pub(super) fn string(&mut self) -> Option<Box<[u8]>> {
        let length = self.number()?;
        self.raw(length).map(|bytes| bytes.as_ref().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_round_trip(number: u64, signed: i64) {
            let mut writer = Writer::default();
            writer.number(number);
            writer.signed(signed);
            let mut reader = Reader::new(writer.bytes.into());
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.signed(), Some(signed));
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn lengths_beyond_the_input_are_refused() {
        let mut writer = Writer::default();
        writer.number(u64::MAX);
        assert_eq!(Reader::new(writer.bytes.clone().into()).string(), None);
        assert_eq!(Reader::new(Bytes::from_static(&[0xff; 10])).number(), None);
        assert_eq!(Reader::new(Bytes::from_static(&[0x80])).number(), None);
    }
}

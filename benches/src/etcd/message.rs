//! The few messages of `etcdserverpb` that the benches send, in protobuf's wire format
//! (etcd's `rpc.proto` gives the field numbers).

use bytes::{BufMut, Bytes, BytesMut};

/// Wire type 0: a number of seven bits a byte.
const VARINT: u8 = 0;
/// Wire type 2: a length and so many bytes.
const LENGTH: u8 = 2;

/// gRPC's own prefix of a message: not compressed, its length.
const PREFIX: usize = 5;

/// `PutRequest { key = 1, value = 2 }`, framed.
pub(super) fn put(key: &[u8], value: &[u8]) -> Bytes {
    framed(put_len(key, value), |out| put_fields(out, key, value))
}

/// `TxnRequest { success = 2: RequestOp { request_put = 2 } }`, framed.
pub(super) fn puts(entries: &[(&[u8], &[u8])]) -> Bytes {
    let op_len = |(key, value): &(&[u8], &[u8])| field_len(put_len(key, value));
    let len = entries.iter().map(|entry| field_len(op_len(entry))).sum();
    framed(len, |out| {
        for entry in entries {
            head(out, 2, LENGTH, op_len(entry));
            head(out, 2, LENGTH, put_len(entry.0, entry.1));
            put_fields(out, entry.0, entry.1);
        }
    })
}

/// `RangeRequest { key = 1, range_end = 2, count_only = 9 }`, framed. An `end` of one zero byte is
/// the end of all keys.
pub(super) fn range(key: &[u8], end: &[u8], count_only: bool) -> Bytes {
    let len = field_len(key.len()) + field_len(end.len()) + 2 * usize::from(count_only);
    framed(len, |out| {
        bytes_field(out, 1, key);
        bytes_field(out, 2, end);
        if count_only {
            head(out, 9, VARINT, 1);
        }
    })
}

/// `count = 4` of a framed `RangeResponse`; an absent field is zero, as protobuf has it.
pub(super) fn count(response: &[u8]) -> Option<u64> {
    let mut rest = response.get(PREFIX..)?;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let value = varint(&mut rest)?;
        match (key >> 3, key & 7) {
            (4, 0) => return Some(value),
            (_, 0) => {}
            (_, 2) => rest = rest.get(usize::try_from(value).ok()?..)?,
            _ => return None,
        }
    }
    Some(0)
}

fn framed(len: usize, fields: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX + len);
    out.put_u8(0);
    out.put_uint(len as u64, 4);
    fields(&mut out);
    debug_assert_eq!(out.len(), PREFIX + len);
    out.freeze()
}

fn put_len(key: &[u8], value: &[u8]) -> usize {
    field_len(key.len()) + field_len(value.len())
}

fn put_fields(out: &mut BytesMut, key: &[u8], value: &[u8]) {
    bytes_field(out, 1, key);
    bytes_field(out, 2, value);
}

fn bytes_field(out: &mut BytesMut, field: u8, bytes: &[u8]) {
    head(out, field, LENGTH, bytes.len());
    out.put_slice(bytes);
}

/// A field's key and the number that follows it.
fn head(out: &mut BytesMut, field: u8, wire_type: u8, mut number: usize) {
    out.put_u8(field << 3 | wire_type);
    while number >= 0x80 {
        out.put_u8(low_byte(number) | 0x80);
        number >>= 7;
    }
    out.put_u8(low_byte(number));
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

/// What a field of `len` bytes takes with its key and length.
fn field_len(len: usize) -> usize {
    let bits = usize::BITS - (len | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize + len
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_protobuf_says() {
        assert_eq!(put(b"k", b"v"), Bytes::from_static(b"\0\0\0\0\x06\x0a\x01k\x12\x01v"));
        let txn = b"\0\0\0\0\x0a\x12\x08\x12\x06\x0a\x01k\x12\x01v";
        assert_eq!(puts(&[(b"k", b"v")]), Bytes::from_static(txn));
        assert_eq!(range(b"a", b"\0", true), &b"\0\0\0\0\x08\x0a\x01a\x12\x01\0\x48\x01"[..]);
        let long = put(b"", &[7; 300]);
        assert_eq!(long[..10], *b"\0\0\0\x01\x31\x0a\0\x12\xac\x02");
    }

    #[test]
    fn the_count_is_found_behind_other_fields() {
        // header = 1 (two bytes), more = 3, count = 4.
        assert_eq!(count(b"\0\0\0\0\x09\x0a\x02\x08\x01\x18\x01\x20\xac\x02"), Some(300));
        assert_eq!(count(b"\0\0\0\0\0"), Some(0));
        assert_eq!(count(b"\0\0\0\0\x01\x20"), None);
    }
}

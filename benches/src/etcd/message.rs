//! The few messages of `etcdserverpb` that the benches send, in protobuf's wire format (etcd's
//! `rpc.proto` gives the field numbers). Each is appended with gRPC's prefix, ready to be sent.

/// Wire type 0: a number of seven bits a byte.
const VARINT: u8 = 0;
/// Wire type 2: a length and so many bytes.
const LENGTH: u8 = 2;

/// `PutRequest { key = 1, value = 2 }`.
pub fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    framed(out, put_len(key, value));
    put_fields(out, key, value);
}

/// `TxnRequest { success = 2: RequestOp { request_put = 2 } }`: many puts at once.
pub fn puts(out: &mut Vec<u8>, entries: &[(&[u8], &[u8])]) {
    let op_len = |(key, value): &(&[u8], &[u8])| field_len(put_len(key, value));
    framed(out, entries.iter().map(|entry| field_len(op_len(entry))).sum());
    for entry in entries {
        head(out, 2, LENGTH, op_len(entry));
        head(out, 2, LENGTH, put_len(entry.0, entry.1));
        put_fields(out, entry.0, entry.1);
    }
}

/// How an API server writes: `key` gets `value` if its last change is at `revision`, which is 0 of
/// a key that does not exist, and is read otherwise.
///
/// `TxnRequest { compare = 1: Compare { target = 2: MOD, key = 3, mod_revision = 6 },
/// success = 2: RequestOp { request_put = 2 }, failure = 3: RequestOp { request_range = 1 } }`.
pub fn put_if(out: &mut Vec<u8>, key: &[u8], value: &[u8], revision: u64) {
    let compare = 2 + field_len(key.len()) + number_len(revision);
    let success = field_len(put_len(key, value));
    let failure = field_len(field_len(key.len()));
    framed(out, field_len(compare) + field_len(success) + field_len(failure));
    head(out, 1, LENGTH, compare);
    number_field(out, 2, 2);
    bytes_field(out, 3, key);
    number_field(out, 6, revision);
    head(out, 2, LENGTH, success);
    head(out, 2, LENGTH, put_len(key, value));
    put_fields(out, key, value);
    head(out, 3, LENGTH, failure);
    head(out, 1, LENGTH, field_len(key.len()));
    bytes_field(out, 1, key);
}

/// `RangeRequest { key = 1, range_end = 2, limit = 3, revision = 4, serializable = 7,
/// count_only = 9 }`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range<'a> {
    /// The first key.
    pub key: &'a [u8],
    /// The key before which it ends; empty for the one key, one zero byte for all keys from `key`.
    pub end: &'a [u8],
    /// How many keys at most; 0 for all.
    pub limit: u64,
    /// As of when; 0 for now.
    pub revision: u64,
    /// Whether what this member knows is enough.
    pub serializable: bool,
    /// Only their number.
    pub count_only: bool,
}

impl Range<'_> {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let numbers = [
            (3, self.limit),
            (4, self.revision),
            (7, self.serializable.into()),
            (9, self.count_only.into()),
        ];
        let present = numbers.iter().filter(|(_, number)| *number != 0);
        let end = if self.end.is_empty() { 0 } else { field_len(self.end.len()) };
        let numbers_len: usize = present.clone().map(|(_, number)| number_len(*number)).sum();
        framed(out, field_len(self.key.len()) + end + numbers_len);
        bytes_field(out, 1, self.key);
        if !self.end.is_empty() {
            bytes_field(out, 2, self.end);
        }
        for (field, number) in present {
            number_field(out, *field, *number);
        }
    }
}

/// `WatchRequest { create_request = 1: WatchCreateRequest { key = 1, range_end = 2 } }`.
pub fn watch(out: &mut Vec<u8>, key: &[u8], end: &[u8]) {
    let create = field_len(key.len()) + field_len(end.len());
    framed(out, field_len(create));
    head(out, 1, LENGTH, create);
    bytes_field(out, 1, key);
    bytes_field(out, 2, end);
}

/// `LeaseGrantRequest { TTL = 1 }`.
pub fn lease_grant(out: &mut Vec<u8>, ttl_secs: u64) {
    number_message(out, ttl_secs);
}

/// `LeaseKeepAliveRequest { ID = 1 }`.
pub fn lease_keep_alive(out: &mut Vec<u8>, id: u64) {
    number_message(out, id);
}

/// The key behind all keys that begin with `prefix`; one zero byte, the end of all, if there is
/// none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let Some(last) = prefix.iter().rposition(|byte| *byte != u8::MAX) else { return vec![0] };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end
}

/// A message of one number.
fn number_message(out: &mut Vec<u8>, number: u64) {
    framed(out, number_len(number));
    number_field(out, 1, number);
}

/// gRPC's own prefix of a message: not compressed, its length.
fn framed(out: &mut Vec<u8>, len: usize) {
    let [.., a, b, c, d] = len.to_be_bytes();
    out.extend_from_slice(&[0, a, b, c, d]);
}

fn put_len(key: &[u8], value: &[u8]) -> usize {
    field_len(key.len()) + field_len(value.len())
}

fn put_fields(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    bytes_field(out, 1, key);
    bytes_field(out, 2, value);
}

fn bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    head(out, field, LENGTH, bytes.len());
    out.extend_from_slice(bytes);
}

fn number_field(out: &mut Vec<u8>, field: u8, number: u64) {
    out.push(field << 3 | VARINT);
    varint(out, number);
}

/// A field's key and the number that follows it.
fn head(out: &mut Vec<u8>, field: u8, wire_type: u8, number: usize) {
    out.push(field << 3 | wire_type);
    varint(out, number as u64);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// What a field of `len` bytes takes with its key and length.
fn field_len(len: usize) -> usize {
    number_len(len as u64) + len
}

/// What a field of a number takes with its key.
fn number_len(number: u64) -> usize {
    let bits = u64::BITS - (number | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message, after checking that its prefix says its length.
    fn message(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        let (prefix, message) = out.split_first_chunk::<5>().unwrap();
        assert_eq!(prefix[0], 0);
        let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        assert_eq!(len as usize, message.len());
        message.to_vec()
    }

    #[test]
    fn puts_are_what_protobuf_says() {
        assert_eq!(message(|out| put(out, b"k", b"v")), b"\x0a\x01k\x12\x01v");
        let txn = b"\x12\x08\x12\x06\x0a\x01k\x12\x01v";
        assert_eq!(message(|out| puts(out, &[(b"k", b"v")])), txn);
        let long = message(|out| put(out, b"", &[7; 300]));
        assert_eq!(long[..5], *b"\x0a\0\x12\xac\x02");
        let update = b"\x0a\x08\x10\x02\x1a\x01k\x30\xac\x02\x12\x08\x12\x06\x0a\x01k\x12\x01v\x1a\x05\x0a\x03\x0a\x01k";
        assert_eq!(message(|out| put_if(out, b"k", b"v", 300)), update);
    }

    #[test]
    fn ranges_are_what_protobuf_says() {
        let range = Range { key: b"a", end: b"\0", count_only: true, ..Range::default() };
        assert_eq!(message(|out| range.encode(out)), b"\x0a\x01a\x12\x01\0\x48\x01");
        let page = Range { key: b"a", limit: 500, serializable: true, ..Range::default() };
        assert_eq!(message(|out| page.encode(out)), b"\x0a\x01a\x18\xf4\x03\x38\x01");
    }

    #[test]
    fn watches_and_leases_are_what_protobuf_says() {
        assert_eq!(message(|out| watch(out, b"a", b"b")), b"\x0a\x06\x0a\x01a\x12\x01b");
        assert_eq!(message(|out| lease_grant(out, 60)), b"\x08\x3c");
        let id = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert_eq!(message(|out| lease_keep_alive(out, i64::MAX.unsigned_abs())), id);
    }

    #[test]
    fn a_prefix_ends_behind_all_that_begins_with_it() {
        assert_eq!(prefix_end(b"/a/"), b"/a0");
        assert_eq!(prefix_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
    }
}

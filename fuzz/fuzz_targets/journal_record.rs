//! The bytes of a journal record and of a segment: no panic, no unbounded allocation, and what
//! decodes encodes to the same bytes.
#![no_main]

use bytes::Bytes;
use kv_journal::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let payload = Bytes::copy_from_slice(bytes);
    if let Ok(record) = Record::decode(payload.clone()) {
        assert_eq!(record.encode().ok(), Some(payload));
    }
    let _frames = kv_journal::fuzz_frames(bytes);
    if let Some((first, next)) = kv_journal::fuzz_segment(bytes) {
        assert!(first <= next && next - first <= bytes.len() as u64);
    }
});

//! Any bytes as a gzip blob and as a stored index. What builds must decode span by span to what
//! it was built from; what reads must read again from what it writes.
#![no_main]

use bytes::Bytes;
use lazy_blob::{Digest, Index, IndexConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut config = IndexConfig::default();
    (config.span_bytes, config.span_compressed_bytes) = (4 << 10, 1 << 10);
    if let Ok(index) = Index::build(bytes, config) {
        let blob = Bytes::copy_from_slice(bytes);
        let mut archive = Vec::new();
        for number in 0..index.span_count() {
            let span = index.span(number).expect("a span").compressed;
            let span = blob.slice(span.start as usize..span.end as usize);
            archive.extend_from_slice(&index.decode_span(number, &span).expect("its own bytes"));
        }
        assert_eq!(Digest::of(&archive), index.diff_id());
    }
    // With magic and checksum made right, the checks behind them are reached.
    let mut stored = [b"LAZYBLOB\x01\0".as_slice(), bytes].concat();
    let digest = Digest::of(&stored);
    stored.extend_from_slice(&digest.0);
    if let Ok(index) = Index::decode(&stored) {
        for number in 0..index.span_count() {
            drop(index.decode_span(number, &Bytes::new()));
        }
        let again = index.encode().expect("memory");
        assert!(Index::decode(&again).expect("its own bytes") == index);
    }
});

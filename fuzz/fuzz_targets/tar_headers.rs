//! Any bytes as an uncompressed archive: an index or an error, and what the index says holds.
#![no_main]

use lazy_blob::{Index, IndexConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = Index::build(bytes, IndexConfig::default()) else { return };
    for entry in index.entries() {
        assert!(entry.header_offset < entry.offset);
        assert!(entry.content().end <= index.uncompressed_bytes());
        if let Some(found) = index.resolve(&entry.path) {
            assert!(found.kind != lazy_blob::EntryKind::HardLink);
        }
    }
    let encoded = index.encode().expect("memory");
    assert!(Index::decode(&encoded).expect("its own bytes") == index);
});

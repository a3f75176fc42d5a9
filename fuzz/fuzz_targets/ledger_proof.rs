//! The bytes of digests and proofs: no panic, no unbounded allocation, what decodes encodes to the
//! same bytes, and nothing is proven for a root that it was not made for.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert!(kv_journal::verify::fuzz_proofs(bytes));
});

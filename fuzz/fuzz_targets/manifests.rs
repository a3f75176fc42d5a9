#![no_main]
//! A manifest of any bytes: an error or objects that a plan accepts, and no panic.

use std::sync::Arc;

use binpack::Manifests;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    // A million replicas are allowed, and take the time of a million pods: few digits suffice.
    if text.windows(5).any(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
        return;
    }
    if let Ok(manifests) = Manifests::read(text) {
        manifests.into_input(Arc::default()).check().expect("what is read is well formed");
    }
});

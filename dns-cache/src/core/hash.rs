//! The keyed hash of every table that names from outside can reach.

use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// `SipHash` 1-3 with a secret key, so that nobody outside can choose colliding names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyedHash {
    key: [u8; 16],
}

impl KeyedHash {
    pub(crate) fn new(seed: u128) -> Self {
        Self { key: seed.to_le_bytes() }
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.key)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that collide under one key are nothing special under another.
    #[test]
    fn a_flood_of_colliding_names_needs_the_key() {
        let (known, secret) = (KeyedHash::new(1), KeyedHash::new(2));
        let low_bits = |hash: &KeyedHash, name: &u32| hash.hash_one(name) & 0xFF;
        let flood: Vec<_> = (0..100_000u32).filter(|name| low_bits(&known, name) == 0).collect();
        assert!(flood.len() > 200, "a flood of {}", flood.len());
        let places: std::collections::HashSet<_> =
            flood.iter().map(|name| low_bits(&secret, name)).collect();
        assert!(places.len() > 150, "{} places of 256", places.len());
    }
}

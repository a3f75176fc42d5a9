//! A hash of a state that a change updates in `O(1)`.

use std::fmt;

use siphasher::sip128::{Hasher128, SipHasher13};

/// A hash of which objects a state has: of their keys and the revisions of their last writes, as the
/// Kubernetes API server compares its cache with etcd. What the objects' bytes are follows from those as
/// far as a store keeps its word; [`Cache::verify`](crate::Cache::verify) compares the bytes.
///
/// It is the sum modulo 2¹²⁸ of one hash for each object (an additive multiset hash: Bellare and
/// Micciancio, "A New Paradigm for Collision-free Hashing", 1997): `SipHash-1-3-128` with a key of zeros
/// over the revision in 8 bytes, little-endian, and then the key. So the order does not matter, and an
/// object that changes is taken out and put in again. Two states that differ by accident have one digest
/// with a probability of 2⁻¹²⁸; it withstands nobody who chooses the keys for that.
///
/// ```
/// use watch_cache::Digest;
///
/// let mut digest = Digest::default(); // of no objects
/// digest.add(b"/pods/a", 7);
/// digest.add(b"/pods/b", 9);
/// digest.remove(b"/pods/a", 7);
/// assert_eq!(digest, Digest::default().with(b"/pods/b", 9));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(u128);

impl Digest {
    /// Puts in an object that was last written at `mod_revision`.
    pub fn add(&mut self, key: &[u8], mod_revision: u64) {
        self.0 = self.0.wrapping_add(hash(key, mod_revision));
    }

    /// Takes out an object that is in.
    pub fn remove(&mut self, key: &[u8], mod_revision: u64) {
        self.0 = self.0.wrapping_sub(hash(key, mod_revision));
    }

    /// With one object more.
    #[must_use]
    pub fn with(mut self, key: &[u8], mod_revision: u64) -> Self {
        self.add(key, mod_revision);
        self
    }

    /// As bytes, the highest first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// What [`to_bytes`](Self::to_bytes) made.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

fn hash(key: &[u8], mod_revision: u64) -> u128 {
    let mut hasher = SipHasher13::new();
    std::hash::Hasher::write(&mut hasher, &mod_revision.to_le_bytes());
    std::hash::Hasher::write(&mut hasher, key);
    hasher.finish128().as_u128()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Another process, of another version, has the same.
    #[test]
    fn it_is_the_same_everywhere() {
        let digest = Digest::default().with(b"/registry/pods/default/a", 1_234_567);
        assert_eq!(digest.to_string(), "bbba688f834a3321096108899c998c61");
        assert_eq!(Digest::default().to_string(), "0".repeat(32));
    }

    proptest! {
        #[test]
        fn it_tells_sets_apart_and_not_their_orders(
            objects in prop::collection::btree_set((prop::collection::vec(any::<u8>(), 0..20), 1_u64..50), 1..20),
            at: prop::sample::Index,
        ) {
            let objects: Vec<_> = objects.into_iter().collect();
            let of = |objects: &mut dyn Iterator<Item = &(Vec<u8>, u64)>| {
                objects.fold(Digest::default(), |digest, (key, revision)| digest.with(key, *revision))
            };
            let all = of(&mut objects.iter());
            prop_assert_eq!(all, of(&mut objects.iter().rev()));
            prop_assert_eq!(Digest::from_bytes(all.to_bytes()), all);
            let (key, revision) = at.get(&objects);
            let others = of(&mut objects.iter().filter(|other| other != &at.get(&objects)));
            prop_assert_ne!(all, others);
            prop_assert_ne!(all, others.with(key, revision + 50));
            let mut without = all;
            without.remove(key, *revision);
            prop_assert_eq!(without, others);
        }
    }
}

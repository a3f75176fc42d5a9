//! What the tree asks of a key beyond its order: a few bits of it that are compared in its place.

use bytes::Bytes;

/// A key of a [`Tree`](crate::Tree): its order, and optionally a head that stands for it.
///
/// Comparing keys that live elsewhere, such as byte strings, costs a cache miss for each. So every
/// node keeps, beside its keys, a `u64` for each: the [`head`](Self::head), which is taken after the
/// symbols that all keys of the node [share](Self::shared). A search compares heads, and keys only
/// where heads are equal. (Known from B-trees on disk as prefix truncation and key heads: Graefe,
/// "Modern B-Tree Techniques", 2011, section 3.5.)
///
/// Integers, strings, byte strings, references and pairs of keys have heads. For a type of your own
/// an empty `impl` is right, and slower: all heads are equal then, and keys are compared as they
/// are.
///
/// ```
/// use cow_tree::{Key, Tree};
///
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
/// struct Version(u32, u32);
///
/// impl Key for Version {
///     fn head(&self, _skip: usize) -> u64 {
///         u64::from(self.0) << 32 | u64::from(self.1)
///     }
/// }
///
/// let tree: Tree<Version, &str> = [(Version(1, 2), "old"), (Version(1, 10), "new")].into();
/// assert_eq!(tree.last_key_value().map(|(_, name)| *name), Some("new"));
/// ```
///
/// # Laws
///
/// A key is seen as a string of symbols, whatever they are.
///
/// 1. `a.shared(b)` is at most the number of symbols that both begin with, and for `a < b < c`
///    `a.shared(c) <= min(a.shared(b), b.shared(c))`.
/// 2. If both share at least `skip` symbols then `a < b` implies `a.head(skip) <= b.head(skip)`.
/// 3. A type and what it [borrows](std::borrow::Borrow) as agree in both.
///
/// A tree whose keys break them finds too little or orders wrongly, and does nothing worse.
pub trait Key: Ord {
    /// How many leading symbols are known to be the same in both.
    fn shared(&self, _other: &Self) -> usize {
        0
    }

    /// As much as fits of what follows the first `skip` symbols, in an order that is the keys'.
    fn head(&self, _skip: usize) -> u64 {
        0
    }

    /// Reads what a clone of the key will write to, if that is elsewhere in memory: its reference
    /// count, say. A node that is copied touches all its keys before it clones the first, so that
    /// the memory is waited for once and not for each.
    fn touch(&self) {}

    /// An equal key to keep between two subtrees, where it may outlive the entry: a clone, unless
    /// that would keep alive more than the key.
    #[must_use]
    fn separator(&self) -> Self
    where
        Self: Clone,
    {
        self.clone()
    }
}

impl Key for [u8] {
    fn shared(&self, other: &Self) -> usize {
        let mut same = 0;
        let (mut left, mut right) = (self, other);
        while let (Some((a, rest_a)), Some((b, rest_b))) =
            (left.split_first_chunk::<8>(), right.split_first_chunk::<8>())
        {
            let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
            if differ != 0 {
                return same + differ.trailing_zeros() as usize / 8;
            }
            same += 8;
            (left, right) = (rest_a, rest_b);
        }
        same + left.iter().zip(right).take_while(|(a, b)| a == b).count()
    }

    /// The next eight bytes, padded with zeros.
    fn head(&self, skip: usize) -> u64 {
        let rest = self.get(skip..).unwrap_or_default();
        if let Some(first) = rest.first_chunk::<8>() {
            return u64::from_be_bytes(*first);
        }
        let mut padded = [0; 8];
        for (into, from) in padded.iter_mut().zip(rest) {
            *into = *from;
        }
        u64::from_be_bytes(padded)
    }
}

/// Types whose heads are those of the bytes in them.
macro_rules! as_bytes {
    ($($key:ty: $bytes:ident),*) => {$(
        impl Key for $key {
            fn shared(&self, other: &Self) -> usize {
                self.$bytes().shared(other.$bytes())
            }

            fn head(&self, skip: usize) -> u64 {
                self.$bytes().head(skip)
            }
        }
    )*};
}

as_bytes!(Vec<u8>: as_slice, Bytes: as_ref, Box<[u8]>: as_ref, str: as_bytes, String: as_bytes);

/// Integers, which are a single symbol.
macro_rules! unsigned {
    ($($int:ty),*) => {$(
        impl Key for $int {
            fn head(&self, _skip: usize) -> u64 {
                u64::from(*self)
            }
        }
    )*};
}

macro_rules! signed {
    ($($int:ty),*) => {$(
        impl Key for $int {
            /// The sign bit turned round orders negative numbers first.
            fn head(&self, _skip: usize) -> u64 {
                i64::from(*self).cast_unsigned() ^ (1 << 63)
            }
        }
    )*};
}

unsigned!(bool, u8, u16, u32, u64);
signed!(i8, i16, i32, i64);

impl Key for usize {
    fn head(&self, _skip: usize) -> u64 {
        *self as u64
    }
}

impl Key for u128 {
    fn head(&self, _skip: usize) -> u64 {
        (*self >> 64) as u64
    }
}

impl Key for () {}

impl<T: Key + ?Sized> Key for &T {
    fn shared(&self, other: &Self) -> usize {
        T::shared(self, other)
    }

    fn head(&self, skip: usize) -> u64 {
        T::head(self, skip)
    }
}

/// Added to what is skipped in the second of a pair: more symbols than the first of it can have.
const SECOND: usize = usize::MAX / 2 + 1;

/// The symbols of the first, then those of the second.
impl<A: Key, B: Key> Key for (A, B) {
    fn shared(&self, other: &Self) -> usize {
        if self.0 == other.0 {
            SECOND.saturating_add(self.1.shared(&other.1))
        } else {
            self.0.shared(&other.0)
        }
    }

    fn head(&self, skip: usize) -> u64 {
        match skip.checked_sub(SECOND) {
            Some(skip) => self.1.head(skip),
            None => self.0.head(skip),
        }
    }

    fn separator(&self) -> Self
    where
        Self: Clone,
    {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    fn holds_its_laws<K: Key + Debug + ?Sized>(a: &K, b: &K, c: &K) {
        let mut sorted = [a, b, c];
        sorted.sort();
        let [a, b, c] = sorted;
        if a < b && b < c {
            assert!(a.shared(c) <= a.shared(b).min(b.shared(c)), "{a:?} {b:?} {c:?}");
        }
        for (low, high) in [(a, b), (b, c), (a, c)] {
            let shared = low.shared(high);
            assert_eq!(shared, high.shared(low));
            for skip in (0..=shared.min(40)).chain([shared]) {
                if low < high {
                    assert!(low.head(skip) <= high.head(skip), "{low:?} {high:?} after {skip}");
                } else {
                    assert_eq!(low.head(skip), high.head(skip));
                }
            }
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let symbol = prop_oneof![4 => 0..3u8, 1 => any::<u8>()];
        prop::collection::vec(symbol, 0..24)
    }

    proptest! {
        #[test]
        fn bytes_hold_the_laws(a in bytes(), b in bytes(), c in bytes()) {
            holds_its_laws(&a[..], &b[..], &c[..]);
            let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(a.shared(&b), same);
        }

        #[test]
        fn pairs_hold_the_laws(
            a in (bytes(), any::<u64>()),
            b in (bytes(), any::<u64>()),
            c in (bytes(), any::<u64>()),
            equal in any::<bool>(),
        ) {
            let b = if equal { (a.0.clone(), b.1) } else { b };
            holds_its_laws(&a, &b, &c);
            holds_its_laws(&(a.1, a.0), &(b.1, b.0), &(c.1, c.0));
        }

        #[test]
        fn integers_hold_the_laws(a in any::<i64>(), b in any::<i64>(), c in any::<i64>()) {
            holds_its_laws(&a, &b, &c);
            holds_its_laws(&a.cast_unsigned(), &b.cast_unsigned(), &c.cast_unsigned());
        }
    }
}

//! A fixed set of small integers.

/// A set of integers below the size it was made with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Bits(Box<[u64]>);

impl Bits {
    pub(super) fn collect(size: usize, members: impl Iterator<Item = usize>) -> Self {
        let mut words = vec![0; size.div_ceil(64)];
        members.for_each(|member| words[member / 64] |= 1 << (member % 64));
        Self(words.into())
    }

    pub(super) fn has(&self, member: usize) -> bool {
        self.0[member / 64] >> (member % 64) & 1 == 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether all of `other`'s members are here too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| theirs & !mine == 0)
    }
}

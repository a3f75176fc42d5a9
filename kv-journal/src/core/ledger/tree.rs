//! The tree itself: appending, forgetting, and the hash of any complete subtree.

use std::fmt;
use std::sync::Arc;

use super::hash::{Hash, fold};

/// Entries in a block, as a power of two. 64 makes two bits of bookkeeping a word, and the hash of
/// any complete subtree at most 31 hashes away.
pub(super) const BLOCK_BITS: u32 = 6;
pub(super) const BLOCK: u64 = 1 << BLOCK_BITS;

/// The tree over the records of a journal. Cloning is cheap and gives a snapshot.
///
/// It also knows which record made which revision: one bit for each record.
#[derive(Clone)]
pub(crate) struct Ledger {
    size: u64,
    revision: u64,
    first: u64,
    /// Leaves to keep; the others are forgotten in blocks.
    keep: u64,
    /// The open block of each level, from the leaves up. Everything complete hangs below the open
    /// block of the level above.
    pub(super) spine: Vec<Arc<Block>>,
}

/// Up to 64 neighbours of one level.
pub(super) struct Block {
    /// Of records on the lowest level, of the complete blocks below on the others.
    pub(super) hashes: Vec<Hash>,
    /// The blocks below, on all levels but the lowest; `None` if forgotten.
    pub(super) below: Vec<Option<Arc<Block>>>,
    /// On the lowest level: which of its records made a revision.
    pub(super) revisions: u64,
    /// On the lowest level: the revision before its first record.
    pub(super) revision_before: u64,
}

impl Ledger {
    /// The tree of a journal without records, which will keep the hashes of at least the newest
    /// `keep`. The store is at revision 1 then.
    pub(crate) fn new(keep: u64) -> Self {
        Self::at(0, 1, keep)
    }

    /// A tree whose first `first` leaves are forgotten; the caller adds the frontier.
    pub(super) fn at(first: u64, revision: u64, keep: u64) -> Self {
        let spine = vec![Arc::new(Block::new(revision))];
        Self { size: first, revision, first, keep, spine }
    }

    /// How many records it is over.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The revision after the last record.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The first leaf whose hash is kept; a multiple of 64.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Adds the next record's leaf hash. `revision` is what the record's header says: a record
    /// made a revision if that follows the one before it, whatever kind of record it is. All others
    /// name a revision that was there before them.
    pub(crate) fn append(&mut self, leaf: Hash, revision: u64) {
        if let Some(open) = self.spine.first_mut() {
            let open = Arc::make_mut(open);
            if self.revision.checked_add(1) == Some(revision) {
                open.revisions |= 1 << open.hashes.len();
                self.revision = revision;
            }
            open.hashes.push(leaf);
        }
        self.size += 1;
        if self.size.is_multiple_of(BLOCK) {
            self.carry();
            self.forget(self.size.saturating_sub(self.keep));
        }
    }

    /// Moves blocks that have become complete under the open block of the level above.
    fn carry(&mut self) {
        let mut level = 0;
        while let Some(open) = self.spine.get_mut(level)
            && open.hashes.len() as u64 == BLOCK
        {
            let complete = std::mem::replace(open, Arc::new(Block::new(self.revision)));
            level += 1;
            if let Some(root) = fold(&complete.hashes) {
                self.push_above(level, root, Some(complete));
            }
        }
    }

    pub(super) fn push_above(&mut self, level: usize, root: Hash, below: Option<Arc<Block>>) {
        while self.spine.len() <= level {
            self.spine.push(Arc::new(Block::new(self.revision)));
        }
        if let Some(open) = self.spine.get_mut(level) {
            let open = Arc::make_mut(open);
            open.hashes.push(root);
            open.below.push(below);
        }
    }

    /// Drops leaf hashes before `before`, in whole blocks. The roots of what is dropped stay.
    pub(crate) fn forget(&mut self, before: u64) {
        let before = before.min(self.size) / BLOCK * BLOCK;
        if before <= self.first {
            return;
        }
        self.first = before;
        let size = self.size;
        for (open, level) in self.spine.iter_mut().zip(0..).skip(1) {
            forget_below(
                open,
                level,
                shifted(size, level + 1) << (BLOCK_BITS * (level + 1)),
                before,
            );
        }
    }

    /// The hash over the leaves `index << height ..` of a complete subtree of that height; `None`
    /// if it is not complete yet or forgotten.
    pub(super) fn subtree(&self, height: u32, index: u64) -> Option<Hash> {
        let (level, within) = (height / BLOCK_BITS, height % BLOCK_BITS);
        let first = index << within;
        let block = self.block(level, first >> BLOCK_BITS)?;
        let from = usize::try_from(first % BLOCK).ok()?;
        fold(block.hashes.get(from..from + (1 << within))?)
    }

    /// The hash of one record; `None` if forgotten.
    pub(crate) fn leaf(&self, index: u64) -> Option<Hash> {
        self.subtree(0, index)
    }

    pub(super) fn block(&self, level: u32, index: u64) -> Option<&Block> {
        let open = shifted(self.size, level + 1);
        if index == open {
            return self.spine.get(level as usize).map(|block| &**block);
        }
        if index > open {
            return None;
        }
        let above = self.block(level + 1, index >> BLOCK_BITS)?;
        above.below.get(usize::try_from(index % BLOCK).ok()?)?.as_deref()
    }

    /// The leaf of the record that made `revision`; `None` if there is none or it is forgotten.
    pub(crate) fn leaf_of(&self, revision: u64) -> Option<u64> {
        let (mut low, mut high) = (self.first / BLOCK, self.size / BLOCK + 1);
        // The last block that begins below the revision.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.block(0, middle)?.revision_before < revision {
                low = middle;
            } else {
                high = middle;
            }
        }
        let block = self.block(0, low)?;
        let nth = revision.checked_sub(block.revision_before)?.checked_sub(1)?;
        let mut rest = block.revisions;
        for _ in 0..nth.min(BLOCK) {
            rest &= rest.wrapping_sub(1);
        }
        (rest != 0).then(|| low * BLOCK + u64::from(rest.trailing_zeros()))
    }

    /// The revision after the first `size` records; `None` if forgotten.
    pub(crate) fn revision_at(&self, size: u64) -> Option<u64> {
        if size > self.size {
            return None;
        }
        let block = self.block(0, size / BLOCK)?;
        let before = block.revisions & ((1 << (size % BLOCK)) - 1);
        Some(block.revision_before + u64::from(before.count_ones()))
    }
}

/// Below every level there are 64 times fewer blocks; none above the 64 bits of a size.
pub(super) fn shifted(size: u64, levels: u32) -> u64 {
    size.checked_shr(BLOCK_BITS * levels).unwrap_or(0)
}

/// Drops what lies before `before` in a block of `level` whose first leaf is `start`.
fn forget_below(block: &mut Arc<Block>, level: u32, start: u64, before: u64) {
    let span = 1_u64 << (BLOCK_BITS * level);
    let begun = usize::try_from(before.saturating_sub(start).div_ceil(span)).unwrap_or(usize::MAX);
    if !block.below.iter().take(begun).any(Option::is_some) {
        return;
    }
    let mut from = start;
    for below in Arc::make_mut(block).below.iter_mut().take(begun) {
        if from + span <= before {
            *below = None;
        } else if let Some(below) = below {
            forget_below(below, level - 1, from, before);
        }
        from += span;
    }
}

impl Block {
    fn new(revision_before: u64) -> Self {
        Self {
            hashes: Vec::with_capacity(1 << BLOCK_BITS),
            below: Vec::new(),
            revisions: 0,
            revision_before,
        }
    }
}

/// Keeps the capacity, so that a block that is shared while it fills ends at its exact size.
impl Clone for Block {
    fn clone(&self) -> Self {
        let mut hashes = Vec::with_capacity(1 << BLOCK_BITS);
        hashes.extend_from_slice(&self.hashes);
        Self { hashes, below: self.below.clone(), ..*self }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("size", &self.size)
            .field("revision", &self.revision)
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

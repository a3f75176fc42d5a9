//! The heads of a node's keys, side by side: what a search reads.

use std::borrow::Borrow;
use std::ops::Range;

use arrayvec::ArrayVec;

use crate::Key;

/// Heads in a cache line.
const BLOCK: usize = 8;

/// One head for each of up to `N` ascending keys, all taken after the same number of symbols.
///
/// The keys themselves are the node's: every function that needs them is given them.
#[derive(Clone)]
pub(crate) struct Heads<const N: usize> {
    /// Every key of the node, and of what is below it, shares at least so many leading symbols.
    depth: usize,
    heads: ArrayVec<u64, N>,
}

impl<const N: usize> Heads<N> {
    pub(crate) fn new<'a, K: Key + 'a>(depth: usize, keys: impl Iterator<Item = &'a K>) -> Self {
        Self { depth, heads: keys.map(|key| key.head(depth)).collect() }
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// The keys that may equal one with this head; all before them are less, all after it greater.
    ///
    /// The last head of each block is looked at, then those of one block. A block is a cache line, so
    /// the lines of a node that is not in the cache are all fetched at once, where a binary search
    /// would wait for one after the other.
    fn ties(&self, head: u64) -> Range<usize> {
        let (blocks, rest) = self.heads.as_chunks::<BLOCK>();
        let block: usize = blocks.iter().map(|block| usize::from(block[BLOCK - 1] < head)).sum();
        let within = blocks.get(block).map_or(rest, |block| block);
        let less: usize = within.iter().map(|other| usize::from(*other < head)).sum();
        let from = block * BLOCK + less;
        let same = self.heads.iter().skip(from).take_while(|other| **other == head).count();
        from..from + same
    }

    /// Where `key` is, for a key that shares what the node's keys share: `Err` with its place if it
    /// is not there. For any other key the answer is some `Err`.
    pub(crate) fn find<Q, K, T>(
        &self,
        key: &Q,
        items: &[T],
        key_of: impl Fn(&T) -> &K,
    ) -> Result<usize, usize>
    where
        Q: Key + ?Sized,
        K: Borrow<Q>,
    {
        let ties = self.ties(key.head(self.depth));
        let candidates = items.get(ties.clone()).unwrap_or_default();
        let found = candidates.binary_search_by(|item| key_of(item).borrow().cmp(key));
        found.map(|at| ties.start + at).map_err(|at| ties.start + at)
    }

    /// Where `key` is, or `Err` with its place, for any key.
    pub(crate) fn search<Q, K, T>(
        &self,
        key: &Q,
        items: &[T],
        key_of: impl Fn(&T) -> &K,
    ) -> Result<usize, usize>
    where
        Q: Key + ?Sized,
        K: Borrow<Q>,
    {
        match items.first().map(|first| key_of(first).borrow()) {
            // Apart from what all keys share, so below or above all of them.
            Some(first) if self.depth > 0 && key.shared(first) < self.depth => {
                Err(if key < first { 0 } else { items.len() })
            }
            _ => self.find(key, items, key_of),
        }
    }

    /// Makes room for a key that shares so many leading symbols with one that is there.
    pub(crate) fn admit<'a, K: Key + 'a>(
        &mut self,
        shared: usize,
        mut keys: impl Iterator<Item = &'a K>,
    ) {
        if shared < self.depth {
            self.depth = shared;
            self.heads.iter_mut().for_each(|head| {
                *head = keys.next().map_or(0, |key| key.head(shared));
            });
        }
    }

    /// Notes a key that was admitted.
    pub(crate) fn insert<K: Key>(&mut self, at: usize, key: &K) {
        self.heads.insert(at, key.head(self.depth));
    }

    pub(crate) fn remove(&mut self, at: usize) {
        self.heads.remove(at);
    }

    /// The heads are those of `keys`, taken after `depth` symbols.
    #[cfg(test)]
    pub(crate) fn are_of<'a, K: Key + 'a>(&self, keys: impl Iterator<Item = &'a K>) -> bool {
        keys.map(|key| key.head(self.depth)).eq(self.heads.iter().copied())
    }
}

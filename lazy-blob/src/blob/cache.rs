//! Decoded spans in memory, bounded in bytes.

use std::collections::HashMap;

use bytes::Bytes;

/// A SIEVE cache of decoded spans: one queue from new to old, a mark for those that were read,
/// and a hand that passes over marked ones, unmarking them, and evicts the first that is not
/// (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024).
///
/// It never holds more than its bound: eviction comes before insertion, and a span larger than
/// the bound is not kept.
#[derive(Debug)]
pub(super) struct SpanCache {
    bound: u64,
    bytes: u64,
    slots: HashMap<usize, Slot>,
    newest: Option<usize>,
    oldest: Option<usize>,
    hand: Option<usize>,
}

#[derive(Debug)]
struct Slot {
    span: Bytes,
    marked: bool,
    newer: Option<usize>,
    older: Option<usize>,
}

impl SpanCache {
    pub(super) fn new(bound: u64) -> Self {
        let (newest, oldest, hand) = (None, None, None);
        Self { bound, bytes: 0, slots: HashMap::new(), newest, oldest, hand }
    }

    /// Bytes of the spans that are held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn get(&mut self, number: usize) -> Option<Bytes> {
        let slot = self.slots.get_mut(&number)?;
        slot.marked = true;
        Some(slot.span.clone())
    }

    pub(super) fn insert(&mut self, number: usize, span: Bytes) {
        let length = span.len() as u64;
        if length > self.bound || self.slots.contains_key(&number) {
            return;
        }
        while self.bytes > self.bound - length {
            self.evict();
        }
        let older = self.newest.replace(number);
        if let Some(slot) = older.and_then(|older| self.slots.get_mut(&older)) {
            slot.newer = Some(number);
        }
        self.oldest.get_or_insert(number);
        self.slots.insert(number, Slot { span, marked: false, newer: None, older });
        self.bytes += length;
    }

    /// Removes the first unmarked span from the hand on, from old to new and round again.
    fn evict(&mut self) {
        let mut candidate = self.hand.or(self.oldest);
        while let Some(number) = candidate {
            let Some(slot) = self.slots.get_mut(&number) else {
                break;
            };
            if !std::mem::take(&mut slot.marked) {
                self.hand = slot.newer;
                self.remove(number);
                return;
            }
            candidate = slot.newer.or(self.oldest);
        }
    }

    fn remove(&mut self, number: usize) {
        let Some(slot) = self.slots.remove(&number) else {
            return;
        };
        self.bytes -= slot.span.len() as u64;
        match slot.newer.and_then(|newer| self.slots.get_mut(&newer)) {
            Some(newer) => newer.older = slot.older,
            None => self.newest = slot.older,
        }
        match slot.older.and_then(|older| self.slots.get_mut(&older)) {
            Some(older) => older.newer = slot.newer,
            None => self.oldest = slot.newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    #[test]
    fn what_was_read_outlives_what_was_not() {
        let mut cache = SpanCache::new(30);
        (0..3).for_each(|number| cache.insert(number, span(10)));
        assert!(cache.get(0).is_some());
        cache.insert(3, span(10));
        assert!(cache.get(0).is_some(), "read, so it stays");
        assert!(cache.get(1).is_none(), "the oldest that was not read goes");
        assert!(cache.get(2).is_some() && cache.get(3).is_some());
    }

    #[test]
    fn a_span_beyond_the_bound_is_not_kept() {
        let mut cache = SpanCache::new(9);
        cache.insert(0, span(10));
        assert_eq!((cache.bytes(), cache.get(0)), (0, None));
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_the_books_balance(
            bound in 0_u64..200,
            steps in proptest::collection::vec((0_usize..24, 0_usize..80, any::<bool>()), 1..200),
        ) {
            let mut cache = SpanCache::new(bound);
            for (number, length, insert) in steps {
                if insert {
                    cache.insert(number, span(length));
                    let fits = length as u64 <= bound;
                    prop_assert!(!fits || cache.get(number).is_some());
                } else {
                    cache.get(number);
                }
                let held: u64 = cache.slots.values().map(|slot| slot.span.len() as u64).sum();
                prop_assert_eq!(cache.bytes(), held);
                prop_assert!(held <= bound);
                let mut chain = 0;
                let mut at = cache.oldest;
                while let Some(number) = at {
                    chain += 1;
                    at = cache.slots[&number].newer;
                }
                prop_assert_eq!(chain, cache.slots.len());
            }
        }
    }
}

use std::iter::FusedIterator;
use std::slice;

use crate::node::{Child, Node};

/// The entries of a [`Tree`](crate::Tree) between two bounds, in key order, from both ends.
///
/// Knows how many are left ([`ExactSizeIterator`]), and skips with [`Iterator::nth`] in `O(log n)`.
/// Making and cloning one allocates nothing.
pub struct Range<'a, K, V, S = ()> {
    root: Option<&'a Child<K, V, S>>,
    /// Positions in the tree of the next entry from the front, and after the next from the back.
    start: usize,
    end: usize,
    front: Edge<'a, K, V, S>,
    back: Edge<'a, K, V, S>,
}

/// What is left, on one side, of a leaf and of the siblings that follow it. An edge may reach past
/// the other end: the positions tell when to stop. Empty edges are placed anew from the root, once
/// for each parent of leaves.
struct Edge<'a, K, V, S> {
    siblings: slice::Iter<'a, Child<K, V, S>>,
    entries: slice::Iter<'a, (K, V)>,
}

impl<'a, K, V, S> Range<'a, K, V, S> {
    /// The entries at positions `start..end` of the subtree.
    pub(crate) fn new(root: Option<&'a Child<K, V, S>>, start: usize, end: usize) -> Self {
        Self { root, start, end: end.max(start), front: Edge::default(), back: Edge::default() }
    }

    fn refill_front(&mut self, position: usize) -> Option<&'a (K, V)> {
        if let Some(sibling) = self.front.siblings.next() {
            self.front.entries = entries(sibling);
        } else {
            self.front = Edge::from(self.root?, position)?;
        }
        self.front.entries.next()
    }

    fn refill_back(&mut self, position: usize) -> Option<&'a (K, V)> {
        if let Some(sibling) = self.back.siblings.next_back() {
            self.back.entries = entries(sibling);
        } else {
            self.back = Edge::up_to(self.root?, position)?;
        }
        self.back.entries.next_back()
    }
}

/// The entries of a child at the lowest level.
fn entries<K, V, S>(child: &Child<K, V, S>) -> slice::Iter<'_, (K, V)> {
    match &child.node {
        Node::Leaf(leaf) => leaf.entries().iter(),
        Node::Inner(_) => [].iter(),
    }
}

impl<'a, K, V, S> Edge<'a, K, V, S> {
    /// From a position to the right.
    fn from(root: &'a Child<K, V, S>, position: usize) -> Option<Self> {
        let place = Place::of(root, position)?;
        Some(Self {
            siblings: place.children.get(place.slot + 1..).unwrap_or_default().iter(),
            entries: place.entries[place.offset..].iter(),
        })
    }

    /// From a position to the left.
    fn up_to(root: &'a Child<K, V, S>, position: usize) -> Option<Self> {
        let place = Place::of(root, position)?;
        Some(Self {
            siblings: place.children[..place.slot].iter(),
            entries: place.entries[..=place.offset].iter(),
        })
    }
}

/// Where a position is: the leaf, and the children of its parent.
struct Place<'a, K, V, S> {
    children: &'a [Child<K, V, S>],
    slot: usize,
    entries: &'a [(K, V)],
    offset: usize,
}

impl<'a, K, V, S> Place<'a, K, V, S> {
    fn of(root: &'a Child<K, V, S>, position: usize) -> Option<Self> {
        let mut place = Self { children: &[], slot: 0, entries: &[], offset: position };
        let mut node = &root.node;
        loop {
            match node {
                Node::Inner(inner) => {
                    place.children = inner.children();
                    place.slot = inner.slot_at(&mut place.offset)?;
                    node = &inner.children()[place.slot].node;
                }
                Node::Leaf(leaf) => {
                    place.entries = leaf.entries();
                    return (place.offset < place.entries.len()).then_some(place);
                }
            }
        }
    }
}

impl<K, V, S> Default for Edge<'_, K, V, S> {
    fn default() -> Self {
        Self { siblings: [].iter(), entries: [].iter() }
    }
}

impl<'a, K, V, S> Iterator for Range<'a, K, V, S> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        if self.start == self.end {
            return None;
        }
        let position = self.start;
        self.start += 1;
        let (key, value) = match self.front.entries.next() {
            Some(entry) => entry,
            None => self.refill_front(position)?,
        };
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.start;
        (left, Some(left))
    }

    fn count(self) -> usize {
        self.len()
    }

    fn last(mut self) -> Option<Self::Item> {
        self.next_back()
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        if n > 0 {
            self.start = self.start.saturating_add(n).min(self.end);
            self.front = Edge::default();
        }
        self.next()
    }
}

impl<K, V, S> DoubleEndedIterator for Range<'_, K, V, S> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start == self.end {
            return None;
        }
        self.end -= 1;
        let (key, value) = match self.back.entries.next_back() {
            Some(entry) => entry,
            None => self.refill_back(self.end)?,
        };
        Some((key, value))
    }

    fn nth_back(&mut self, n: usize) -> Option<Self::Item> {
        if n > 0 {
            self.end = self.end.saturating_sub(n).max(self.start);
            self.back = Edge::default();
        }
        self.next_back()
    }
}

impl<K, V, S> ExactSizeIterator for Range<'_, K, V, S> {}

impl<K, V, S> FusedIterator for Range<'_, K, V, S> {}

impl<K, V, S> Clone for Range<'_, K, V, S> {
    fn clone(&self) -> Self {
        Self {
            root: self.root,
            start: self.start,
            end: self.end,
            front: self.front.clone(),
            back: self.back.clone(),
        }
    }
}

impl<K, V, S> Clone for Edge<'_, K, V, S> {
    fn clone(&self) -> Self {
        Self { siblings: self.siblings.clone(), entries: self.entries.clone() }
    }
}

impl<K: std::fmt::Debug, V: std::fmt::Debug, S> std::fmt::Debug for Range<'_, K, V, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}

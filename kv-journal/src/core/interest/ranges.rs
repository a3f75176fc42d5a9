//! Ranges by the keys that they contain.
//!
//! A treap ordered by where the ranges begin, in which every node knows the greatest end below it
//! (Cormen et al., Introduction to Algorithms, "Interval trees"). A look-up leaves out every subtree
//! that ends too early, so apart from one path it goes only where there is a match: `n` ranges of
//! which `k` match cost `O(log n + k log (n / k))`.

use slab::Slab;

/// No node.
const NIL: usize = usize::MAX;

/// Invariants: links lead to nodes of the slab, each node has one parent, and its `farthest` is the
/// one with the greatest end among itself and everything below. So indexing by a link is sound.
pub(super) struct Ranges {
    nodes: Slab<Node>,
    root: usize,
}

struct Node {
    start: Box<[u8]>,
    /// The first key after the range; `None` if it is open.
    end: Option<Box<[u8]>>,
    id: usize,
    priority: u64,
    left: usize,
    right: usize,
    farthest: usize,
}

impl Default for Ranges {
    fn default() -> Self {
        Self { nodes: Slab::new(), root: NIL }
    }
}

impl Ranges {
    /// Adds a range under a number that no other range has. The priorities must be random.
    pub(super) fn insert(&mut self, start: &[u8], end: Option<&[u8]>, id: usize, priority: u64) {
        let at = self.nodes.insert(Node {
            start: start.into(),
            end: end.map(Into::into),
            id,
            priority,
            left: NIL,
            right: NIL,
            farthest: NIL,
        });
        self.update(at);
        self.root = self.insert_below(self.root, at);
    }

    pub(super) fn remove(&mut self, start: &[u8], id: usize) {
        self.root = self.remove_below(self.root, start, id);
    }

    /// Gives the number of every range that contains `key`.
    pub(super) fn containing(&self, key: &[u8], found: &mut impl FnMut(usize)) {
        self.containing_below(self.root, key, found);
    }

    fn containing_below(&self, at: usize, key: &[u8], found: &mut impl FnMut(usize)) {
        if at == NIL || !self.ends_after(self.nodes[at].farthest, key) {
            return;
        }
        let node = &self.nodes[at];
        self.containing_below(node.left, key, found);
        if *node.start <= *key {
            if self.ends_after(at, key) {
                found(node.id);
            }
            self.containing_below(node.right, key, found);
        }
    }

    fn ends_after(&self, at: usize, key: &[u8]) -> bool {
        self.nodes[at].end.as_deref().is_none_or(|end| end > key)
    }

    fn insert_below(&mut self, at: usize, new: usize) -> usize {
        if at == NIL {
            return new;
        }
        if self.nodes[new].priority > self.nodes[at].priority {
            let (left, right) = self.split(at, new);
            self.nodes[new].left = left;
            self.nodes[new].right = right;
            self.update(new);
            return new;
        }
        if self.is_before(new, at) {
            self.nodes[at].left = self.insert_below(self.nodes[at].left, new);
        } else {
            self.nodes[at].right = self.insert_below(self.nodes[at].right, new);
        }
        self.update(at);
        at
    }

    /// What is before and what is after a node that is in neither.
    fn split(&mut self, at: usize, by: usize) -> (usize, usize) {
        if at == NIL {
            return (NIL, NIL);
        }
        if self.is_before(at, by) {
            let (left, right) = self.split(self.nodes[at].right, by);
            self.nodes[at].right = left;
            self.update(at);
            (at, right)
        } else {
            let (left, right) = self.split(self.nodes[at].left, by);
            self.nodes[at].left = right;
            self.update(at);
            (left, at)
        }
    }

    fn remove_below(&mut self, at: usize, start: &[u8], id: usize) -> usize {
        if at == NIL {
            return NIL;
        }
        let node = &self.nodes[at];
        match (start, id).cmp(&(&node.start, node.id)) {
            std::cmp::Ordering::Less => {
                self.nodes[at].left = self.remove_below(self.nodes[at].left, start, id);
            }
            std::cmp::Ordering::Greater => {
                self.nodes[at].right = self.remove_below(self.nodes[at].right, start, id);
            }
            std::cmp::Ordering::Equal => {
                let merged = self.merge(node.left, node.right);
                self.nodes.remove(at);
                return merged;
            }
        }
        self.update(at);
        at
    }

    /// Joins two subtrees of which the first is before the second.
    fn merge(&mut self, left: usize, right: usize) -> usize {
        if left == NIL || right == NIL {
            return left.min(right);
        }
        if self.nodes[left].priority > self.nodes[right].priority {
            self.nodes[left].right = self.merge(self.nodes[left].right, right);
            self.update(left);
            left
        } else {
            self.nodes[right].left = self.merge(left, self.nodes[right].left);
            self.update(right);
            right
        }
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        (&a.start, a.id) < (&b.start, b.id)
    }

    fn update(&mut self, at: usize) {
        let mut farthest = at;
        for child in [self.nodes[at].left, self.nodes[at].right] {
            if child != NIL && self.ends_before(farthest, self.nodes[child].farthest) {
                farthest = self.nodes[child].farthest;
            }
        }
        self.nodes[at].farthest = farthest;
    }

    fn ends_before(&self, a: usize, b: usize) -> bool {
        match (&self.nodes[a].end, &self.nodes[b].end) {
            (Some(a), Some(b)) => a < b,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

#[cfg(test)]
impl Ranges {
    /// Checks order, heap and ends of the whole tree.
    pub(super) fn check(&self) {
        let mut order = Vec::new();
        self.check_below(self.root, u64::MAX, &mut order);
        assert_eq!(order.len(), self.nodes.len());
        assert!(order.windows(2).all(|pair| self.is_before(pair[0], pair[1])));
    }

    fn check_below(&self, at: usize, above: u64, order: &mut Vec<usize>) {
        if at == NIL {
            return;
        }
        let node = &self.nodes[at];
        assert!(node.priority <= above);
        let first = order.len();
        self.check_below(node.left, node.priority, order);
        order.push(at);
        self.check_below(node.right, node.priority, order);
        assert!(order[first..].iter().all(|below| !self.ends_before(node.farthest, *below)));
        assert!(order[first..].contains(&node.farthest));
    }

    /// How many nodes a look-up goes to.
    pub(super) fn visits(&self, key: &[u8]) -> usize {
        fn below(ranges: &Ranges, at: usize, key: &[u8]) -> usize {
            if at == NIL || !ranges.ends_after(ranges.nodes[at].farthest, key) {
                return 1;
            }
            let node = &ranges.nodes[at];
            let right = if *node.start <= *key { below(ranges, node.right, key) } else { 0 };
            1 + below(ranges, node.left, key) + right
        }
        below(self, self.root, key)
    }
}

/// What a subtree adds up to: a monoid over its entries.
///
/// The tree keeps one summary for each subtree, so that [`Tree::summary`](crate::Tree::summary) is
/// `O(1)` and [`Tree::summary_of`](crate::Tree::summary_of) a range is `O(log n)`. Typical
/// summaries are bytes, hashes and maxima. The number of entries needs none: the tree always knows
/// it.
///
/// # Laws
///
/// [`combine`](Self::combine) is associative and [`empty`](Self::empty) is its identity. It need
/// not be commutative: the tree combines in key order, left to right. None of the functions may
/// panic.
///
/// # Examples
///
/// ```
/// use cow_tree::{Summary, Tree};
///
/// #[derive(Clone)]
/// struct Bytes(usize);
///
/// impl Summary<String, String> for Bytes {
///     fn empty() -> Self {
///         Bytes(0)
///     }
///     fn of(key: &String, value: &String) -> Self {
///         Bytes(key.len() + value.len())
///     }
///     fn combine(&mut self, right: &Self) {
///         self.0 += right.0;
///     }
/// }
///
/// let mut tree: Tree<String, String, Bytes> = Tree::new();
/// tree.insert("/a".into(), "one".into());
/// tree.insert("/b".into(), "three".into());
/// assert_eq!(tree.summary().0, 12);
/// assert_eq!(tree.summary_of("/b".to_string()..).0, 7);
/// ```
pub trait Summary<K, V>: Clone {
    /// The summary of no entry: the identity of [`combine`](Self::combine).
    fn empty() -> Self;

    /// The summary of one entry.
    fn of(key: &K, value: &V) -> Self;

    /// Adds the summary of the entries that follow, in key order, those of `self`.
    fn combine(&mut self, right: &Self);
}

/// No summary, at no cost.
impl<K, V> Summary<K, V> for () {
    fn empty() -> Self {}

    fn of(_key: &K, _value: &V) -> Self {}

    fn combine(&mut self, _right: &Self) {}
}

/// Two summaries side by side.
impl<K, V, A: Summary<K, V>, B: Summary<K, V>> Summary<K, V> for (A, B) {
    fn empty() -> Self {
        (A::empty(), B::empty())
    }

    fn of(key: &K, value: &V) -> Self {
        (A::of(key, value), B::of(key, value))
    }

    fn combine(&mut self, right: &Self) {
        self.0.combine(&right.0);
        self.1.combine(&right.1);
    }
}

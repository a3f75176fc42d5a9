//! What a cache takes in memory, by its parts.

/// What the parts of a cache take in memory, in bytes, about: what an allocator adds is estimated.
///
/// The order is that in which they give way when all together are to be less: traces go first, then
/// the log is shortened, then new watchers are refused. Objects and what finds them do not give way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Footprint {
    /// What changed beyond the log.
    pub traces: usize,
    /// The log, with the versions that were replaced.
    pub log: usize,
    /// Watchers, without their sinks.
    pub watchers: usize,
    /// Versions that are kept for snapshots and initial events alone.
    pub pinned: usize,
    /// The entries of indexes.
    pub indexes: usize,
    /// The newest versions of all objects.
    pub objects: usize,
}

/// A trace, or a posting that ended.
pub(crate) const TRACE: usize = 32;
/// An entry of an index, whose key and value others share.
pub(crate) const POSTING: usize = 48;
/// A watcher of a selection of its own.
pub(crate) const WATCHER: usize = 512;

impl Footprint {
    /// All parts together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.traces + self.log + self.lasting()
    }

    /// Each part with its name.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, usize); 6] {
        [
            ("traces", self.traces),
            ("log", self.log),
            ("watchers", self.watchers),
            ("pinned", self.pinned),
            ("indexes", self.indexes),
            ("objects", self.objects),
        ]
    }

    /// What is not given up.
    pub(crate) fn lasting(&self) -> usize {
        self.watchers + self.pinned + self.indexes + self.objects
    }
}

//! What a reader selects, and what a change means to it.

use bytes::Bytes;

use super::event::WatchEvent;
use super::index::Indexed;
use super::view::Applied;

/// A prefix, and a value in an index where one is selected by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Predicate {
    pub(crate) prefix: Bytes,
    /// The index's position, and the value.
    pub(crate) index: Option<(usize, Bytes)>,
}

impl Predicate {
    pub(crate) fn matches(&self, object: &Indexed) -> bool {
        let selected = match &self.index {
            Some((index, value)) => object.value(*index) == Some(value),
            None => true,
        };
        selected && object.object.key.starts_with(&self.prefix)
    }

    /// The event that a change is for one who watches this. Both sides of the change are judged:
    /// an update that leaves the selection deletes, and one that enters it adds.
    pub(crate) fn event(&self, revision: u64, change: &Applied) -> Option<WatchEvent> {
        let old = change.old.as_ref().filter(|old| self.matches(old));
        let new = change.new.as_ref().filter(|new| self.matches(new));
        let previous = old.map(|old| old.object.clone());
        let object = new.map(|new| new.object.clone());
        Some(match (previous, object) {
            (None, None) => return None,
            (None, Some(object)) => WatchEvent::Added { revision, object },
            (Some(previous), Some(object)) => WatchEvent::Modified { revision, object, previous },
            (Some(previous), None) => WatchEvent::Deleted { revision, previous },
        })
    }
}

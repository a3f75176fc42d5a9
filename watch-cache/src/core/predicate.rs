//! What a reader selects, and what a change means to it.

use std::sync::Arc;

use bytes::Bytes;

use super::event::WatchEvent;
use super::filter::Filter;
use super::object::Object;
use super::past::Lost;

/// A prefix, a value in an index where one is read, and what is judged beside that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Predicate {
    pub(crate) prefix: Bytes,
    /// The index's position, and the value.
    pub(crate) index: Option<(usize, Bytes)>,
    pub(crate) filter: Option<Arc<Filter>>,
}

impl Predicate {
    /// Whether a version that is no delete is selected.
    pub(crate) fn matches(&self, version: &Object) -> bool {
        let selected = match &self.index {
            Some((index, value)) => version.index_value(*index) == Some(value),
            None => true,
        };
        selected && version.key().starts_with(&self.prefix) && self.filters(version)
    }

    /// Whether a version that is no delete, and that the prefix and the index take, is selected.
    pub(crate) fn filters(&self, version: &Object) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.takes(version))
    }

    /// The event that a version is for one who watches this. Both sides of the change are judged:
    /// an update that leaves the selection deletes, and one that enters it adds.
    pub(crate) fn event(
        &self,
        revision: u64,
        version: &Object,
    ) -> Result<Option<WatchEvent>, Lost> {
        let old = version.replaced()?.filter(|old| self.matches(old));
        let new = Some(version).filter(|new| !new.is_delete() && self.matches(new)).cloned();
        Ok(match (old, new) {
            (None, None) => None,
            (None, Some(object)) => Some(WatchEvent::Added { revision, object }),
            (Some(previous), Some(object)) => {
                Some(WatchEvent::Modified { revision, object, previous })
            }
            (Some(previous), None) => Some(WatchEvent::Deleted { revision, previous }),
        })
    }
}

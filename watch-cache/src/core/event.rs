//! What a watcher is told.

use super::object::Object;

/// One event of a watch. Events of one revision follow each other in key order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// The object came into the watch: it was created, an update brought it in, or it was there
    /// when a watch with initial events began.
    Added {
        /// The revision that did it.
        revision: u64,
        /// The object as it is now.
        object: Object,
    },
    /// The object was and is in the watch, and was written.
    Modified {
        /// The revision that did it.
        revision: u64,
        /// The object as it is now.
        object: Object,
        /// The object as it was just before.
        previous: Object,
    },
    /// The object left the watch: it was deleted, or an update took it out.
    Deleted {
        /// The revision that did it.
        revision: u64,
        /// The object as it was just before.
        previous: Object,
    },
    /// Every event up to this revision was delivered before: a watch can resume after it.
    Bookmark {
        /// The revision that the watch has reached.
        revision: u64,
        /// True once: the initial events end here.
        initial_end: bool,
    },
}

impl WatchEvent {
    /// The revision of the event.
    #[must_use]
    pub fn revision(&self) -> u64 {
        match self {
            Self::Added { revision, .. }
            | Self::Modified { revision, .. }
            | Self::Deleted { revision, .. }
            | Self::Bookmark { revision, .. } => *revision,
        }
    }

    /// The object as it is now, or as it was just before it left; none for a bookmark.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        match self {
            Self::Added { object, .. } | Self::Modified { object, .. } => Some(object),
            Self::Deleted { previous, .. } => Some(previous),
            Self::Bookmark { .. } => None,
        }
    }
}

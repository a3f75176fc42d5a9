//! What a watcher is told.

use bytes::Bytes;

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
    /// The steps since the watch was told last are not known any more, since they left the log:
    /// what the object is now. A run of these ends with [`Resumed`](Self::Resumed).
    Coalesced {
        /// The revision of the object's last change.
        revision: u64,
        /// The object's key.
        key: Bytes,
        /// The object, if it is in the watch; without it the object is not, and may never have been.
        object: Option<Object>,
    },
    /// All that changed was told as [`Coalesced`](Self::Coalesced): a watch can resume after the
    /// revision, and each step that follows is told.
    Resumed {
        /// The revision that the watch had reached before.
        after: u64,
        /// The revision that it has reached.
        revision: u64,
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
            | Self::Coalesced { revision, .. }
            | Self::Resumed { revision, .. }
            | Self::Bookmark { revision, .. } => *revision,
        }
    }

    /// The object as it is now, or as it was just before it left; none for what is of no object, or
    /// of one whose last state is not known.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        match self {
            Self::Added { object, .. } | Self::Modified { object, .. } => Some(object),
            Self::Deleted { previous, .. } => Some(previous),
            Self::Coalesced { object, .. } => object.as_ref(),
            Self::Resumed { .. } | Self::Bookmark { .. } => None,
        }
    }

    /// The key of the object; none for what is of no object.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Coalesced { key, .. } => Some(key),
            _ => self.object().map(Object::key),
        }
    }
}

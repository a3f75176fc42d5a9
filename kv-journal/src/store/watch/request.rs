//! What a watch asks for and what it gets.

use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::group::Predicate;
use crate::config::Config;
use crate::core::{Event, KeyRange, Span, check_range};
use crate::error::{Error, ErrorKind, Result};

/// Which events to watch, and from where.
///
/// ```
/// use kv_journal::{KeyRange, WatchRequest};
///
/// let request = WatchRequest::new(KeyRange::prefix("pods/")).from_revision(18);
/// assert_eq!(request.start_revision, 18);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of etcd's request")]
pub struct WatchRequest {
    /// Whose events.
    pub range: KeyRange,
    /// The first revision to watch; 0 is the next one.
    pub start_revision: u64,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletes out.
    pub no_delete: bool,
    /// Tell what was there before each event, unless that was compacted. Without it watchers of
    /// the same range still share their events.
    pub prev_kv: bool,
    /// Split revisions that are larger than [`Config::watch_fragment_bytes`].
    pub fragment: bool,
    /// The watcher's number in its [`WatchStream`](super::WatchStream); 0 lets the stream choose.
    pub watch_id: i64,
    /// Send a progress notice whenever the watcher has caught up and the last revisions held
    /// nothing for it. Many revisions give one notice.
    pub progress_on_advance: bool,
    /// Send a progress notice after every such interval, if the watcher has caught up. At least
    /// 100 ms, as in etcd.
    pub progress_interval: Option<Duration>,
    /// Send a progress notice after every [`Config::watch_progress_ms`] and up to a tenth more, so
    /// that the notices of many watchers are spread. `progress_interval` goes before it.
    pub progress_notify: bool,
}

impl WatchRequest {
    /// Every event of `range` from the next revision on.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            start_revision: 0,
            no_put: false,
            no_delete: false,
            prev_kv: true,
            fragment: false,
            watch_id: 0,
            progress_on_advance: false,
            progress_interval: None,
            progress_notify: false,
        }
    }

    /// The same watch, from `revision` on; 0 is the next one.
    #[must_use]
    pub fn from_revision(mut self, revision: u64) -> Self {
        self.start_revision = revision;
        self
    }

    /// The same watch without puts.
    #[must_use]
    pub fn no_put(mut self) -> Self {
        self.no_put = true;
        self
    }

    /// The same watch without deletes.
    #[must_use]
    pub fn no_delete(mut self) -> Self {
        self.no_delete = true;
        self
    }

    /// The same watch without what was there before each event.
    #[must_use]
    pub fn without_prev_kv(mut self) -> Self {
        self.prev_kv = false;
        self
    }

    /// The same watch with large revisions in fragments.
    #[must_use]
    pub fn fragment(mut self) -> Self {
        self.fragment = true;
        self
    }

    /// The same watch with this number in its stream; 0 lets the stream choose.
    #[must_use]
    pub fn watch_id(mut self, watch_id: i64) -> Self {
        self.watch_id = watch_id;
        self
    }

    /// The same watch with a progress notice whenever revisions passed that held nothing for it.
    #[must_use]
    pub fn progress_on_advance(mut self) -> Self {
        self.progress_on_advance = true;
        self
    }

    /// The same watch with a progress notice every `interval`.
    #[must_use]
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.progress_interval = Some(interval);
        self
    }

    /// The same watch with a progress notice after the store's interval and some jitter.
    #[must_use]
    pub fn progress_notify(mut self) -> Self {
        self.progress_notify = true;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_range(&self.range)?;
        if self.range.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "watch: the range is empty"));
        }
        let least = Duration::from_millis(Config::WATCH_PROGRESS_MS.min);
        if self.progress_interval.is_some_and(|interval| interval < least) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("watch: the progress interval is less than {least:?}: ask for more"),
            ));
        }
        if self.watch_id == NO_WATCH {
            return Err(Error::new(
                ErrorKind::Invalid,
                "watch: the number -1 is that of the stream: choose another or 0",
            ));
        }
        Ok(())
    }

    pub(super) fn predicate(&self) -> Predicate {
        Predicate {
            span: Span::from(&self.range),
            no_put: self.no_put,
            no_delete: self.no_delete,
            prev_kv: self.prev_kv,
        }
    }

    /// How often progress is due; `chance` is any number.
    pub(super) fn progress_period(&self, limits: &Limits, chance: u64) -> Option<Duration> {
        let ms = limits.progress_ms;
        let spread = self.progress_notify.then(|| ms + chance % (ms / 10 + 1));
        self.progress_interval.or(spread.map(Duration::from_millis))
    }
}

/// In etcd's answers the number of no watcher: of the stream as a whole.
const NO_WATCH: i64 = -1;

impl From<KeyRange> for WatchRequest {
    fn from(range: KeyRange) -> Self {
        Self::new(range)
    }
}

/// Everything that one revision holds for a watcher, or a fragment of it, or a progress notice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchBatch {
    /// The revision. Unless there is `more`, the watcher has seen everything up to and including
    /// it.
    pub revision: u64,
    /// Its events in the order of their transaction; never a part of a revision, unless the watch
    /// asked for fragments. None in a progress notice.
    pub events: Arc<[Event]>,
    /// Whether more events of this revision follow in the next batch.
    pub more: bool,
}

impl WatchBatch {
    pub(crate) fn progress(revision: u64) -> Self {
        Self { revision, events: Arc::default(), more: false }
    }

    /// Whether this only says how far the watcher has come.
    #[must_use]
    pub fn is_progress(&self) -> bool {
        self.events.is_empty()
    }
}

//! The state as it was at one revision.

use std::fmt;
use std::sync::Arc;

use crate::core::{KeyRange, KeyValue, RangeRequest, RangeResponse, State, check_range};
use crate::error::{Error, ErrorKind, Result};

/// A read-only view of a store at one retained revision.
///
/// It stays valid whatever is written or compacted later, and keeps the memory of what it can read
/// alive. Cloning costs one reference count. Reads cost the keys of their range that are there now or
/// were deleted since, unless the revision was the newest one when the view was made.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use std::sync::Arc;
/// use kv_journal::{Config, KeyRange, MemoryJournal, PutRequest, Store};
///
/// let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), Config::default()).await?;
/// tokio::spawn(driver);
/// store.put(PutRequest::new("pods/a", "pending")).await?;
/// store.put(PutRequest::new("pods/a", "running")).await?;
///
/// let before = store.at_revision(2)?;
/// store.compact(3).await?;
/// assert_eq!(before.get(b"pods/a").unwrap().value(), b"pending");
/// assert_eq!(before.count(&KeyRange::all()), 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Fork {
    state: Arc<State>,
    revision: u64,
}

impl Fork {
    /// The view at `revision`.
    pub(super) fn new(state: Arc<State>, revision: u64) -> Result<Self> {
        state.check_readable(revision)?;
        if revision == 0 {
            let message = "revision 0 is none: an empty store is at revision 1";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Self { state, revision })
    }

    /// Of which revision it is.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The version of `key` at this revision.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        if self.is_newest() {
            return self.state.get(key).cloned();
        }
        let range = KeyRange::key(bytes::Bytes::copy_from_slice(key));
        self.state.iter_at(&range, self.revision).next()
    }

    /// Answers a range request. One that asks for an older revision is answered at that one.
    ///
    /// # Errors
    /// `FutureRevision` or `Compacted` if it asks for a revision that this view does not have;
    /// `Invalid` if it asks for one empty key.
    pub fn range(&self, request: impl Into<RangeRequest>) -> Result<RangeResponse> {
        let mut request = request.into();
        check_range(&request.range)?;
        if request.revision > self.revision {
            let current_revision = self.revision;
            return Err(Error::new(
                ErrorKind::FutureRevision { current_revision },
                format!(
                    "revision {} is after {current_revision}, which this view is of",
                    request.revision
                ),
            ));
        }
        if request.revision == 0 {
            request.revision = self.revision;
        }
        Ok(RangeResponse { revision: self.revision, ..self.state.range(&request)? })
    }

    /// The keys of `range` at this revision, in key order. No bytes are copied.
    pub fn iter<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = KeyValue> {
        let newest = self.is_newest().then(|| self.state.iter(range).cloned());
        let past = (!self.is_newest()).then(|| self.state.iter_at(range, self.revision));
        newest.into_iter().flatten().chain(past.into_iter().flatten())
    }

    /// How many keys `range` holds at this revision.
    #[must_use]
    pub fn count(&self, range: &KeyRange) -> u64 {
        if self.is_newest() { self.state.count(range) } else { self.iter(range).count() as u64 }
    }

    fn is_newest(&self) -> bool {
        self.revision == self.state.revision()
    }
}

impl fmt::Debug for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fork").field("revision", &self.revision).finish_non_exhaustive()
    }
}

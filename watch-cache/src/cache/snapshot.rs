//! A state to read from without waiting.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::core::object::Object;
use crate::core::pins::Pin;
use crate::core::predicate::Predicate;
use crate::core::root::Root;
use crate::core::schema::Planner;
use crate::core::selector::Selector;
use crate::core::view::View;
use crate::error::Result;

/// The whole state of a cache at one revision. It never changes; holding it keeps one version of each
/// of its objects in memory, outside of all limits in [`Config`](crate::Config), and costs the cache
/// nothing else.
///
/// ```
/// # use std::sync::Arc;
/// # use watch_cache::{Cache, Config, MemorySource};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> watch_cache::Result<()> {
/// # let source = Arc::new(MemorySource::new());
/// # source.put("/pods/a", "running");
/// # let (cache, driver) = Cache::open(source, vec![], Config::default())?;
/// # tokio::spawn(driver);
/// cache.ready().await?;
/// let snapshot = cache.snapshot();
/// let keys: Vec<_> = snapshot.range(b"/pods/").map(|pod| pod.key_bytes()).collect();
/// assert_eq!((keys.len(), snapshot.count(b"/nodes/")), (1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Snapshot {
    root: Arc<Root>,
    _pin: Arc<Pin>,
    revision: u64,
    planner: Planner,
}

impl Snapshot {
    pub(super) fn new(view: &View, pin: Pin, planner: Planner) -> Self {
        let root = Arc::clone(&view.root);
        Self { root, _pin: Arc::new(pin), revision: view.revision, planner }
    }

    /// The revision that this is the state of.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The object at `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Object> {
        // What is pinned is not lost.
        self.root.get(key).ok().flatten()
    }

    /// The objects whose keys start with `prefix`, in the order of their keys.
    pub fn range(&self, prefix: &[u8]) -> impl Iterator<Item = Object> + '_ {
        self.root.select(&under(prefix), None).filter_map(Result::ok)
    }

    /// How many keys start with `prefix`, in `O(log n)`.
    #[must_use]
    pub fn count(&self, prefix: &[u8]) -> usize {
        self.root.select(&under(prefix), None).len()
    }

    /// The objects that have `value` in the index `name`, in the order of their keys.
    ///
    /// # Errors
    ///
    /// `Invalid` if there is no such index.
    pub fn by_index(&self, name: &str, value: &[u8]) -> Result<impl Iterator<Item = Object> + '_> {
        self.select(b"", Selector::default().index(name, Bytes::copy_from_slice(value)))
    }

    /// The objects whose keys start with `prefix` and that `selector` takes, in the order of their
    /// keys. What no index answers is judged object by object.
    ///
    /// # Errors
    ///
    /// `Invalid` if the selector names an index that is not there, or needs a codec that is not.
    pub fn select(
        &self,
        prefix: &[u8],
        selector: Selector,
    ) -> Result<impl Iterator<Item = Object> + '_> {
        let predicate = self.planner.predicate(Bytes::copy_from_slice(prefix), selector)?;
        let part = self.root.select(&predicate, None).filter_map(Result::ok);
        Ok(part.filter(move |object| predicate.filters(object)))
    }
}

fn under(prefix: &[u8]) -> Predicate {
    Predicate { prefix: Bytes::copy_from_slice(prefix), index: None, filter: None }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = self.root.len();
        f.debug_struct("Snapshot")
            .field("revision", &self.revision)
            .field("objects", &objects)
            .finish_non_exhaustive()
    }
}

//! What a store is opened on.

use std::fmt;
use std::sync::Arc;

use crate::checkpoint::CheckpointStore;
use crate::journal::Journal;

/// The ports that a [`Store`](super::Store) works on.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use std::sync::Arc;
/// use kv_journal::{Components, Config, MemoryCheckpoints, MemoryJournal, PutRequest, Store};
///
/// let journal = Arc::new(MemoryJournal::new());
/// let checkpoints = Arc::new(MemoryCheckpoints::new());
/// let components = Components::new(journal).checkpoints(checkpoints);
/// let (store, driver) = Store::open_with(components, Config::default()).await?;
/// tokio::spawn(driver);
///
/// store.put(PutRequest::new("pods/a", "pending")).await?;
/// assert_eq!(store.checkpoint().await?.revision, 2);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Components {
    /// Where order and durability come from.
    pub journal: Arc<dyn Journal>,
    /// Where whole states are kept. Without it the journal is never trimmed, and a start replays
    /// all of it.
    pub checkpoints: Option<Arc<dyn CheckpointStore>>,
}

impl Components {
    /// A journal alone.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, checkpoints: None }
    }

    /// With a place for checkpoints, which belongs to this journal alone.
    #[must_use]
    pub fn checkpoints(mut self, checkpoints: Arc<dyn CheckpointStore>) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }
}

impl fmt::Debug for Components {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checkpoints = self.checkpoints.is_some();
        f.debug_struct("Components").field("checkpoints", &checkpoints).finish_non_exhaustive()
    }
}

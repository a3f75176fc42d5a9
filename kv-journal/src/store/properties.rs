//! Properties as callers see them.

use bytes::Bytes;

use super::Store;
use super::sequencer::Request;
use crate::core::PropertyChange;
use crate::error::{Error, ErrorKind, Result};

/// Properties: named values beside the keys, for what somebody who serves the store has to remember
/// about it, such as who may read what.
///
/// They have no revisions, and no reader or watcher of keys sees them. Checkpoints and exports hold
/// them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use std::sync::Arc;
/// use kv_journal::{Config, MemoryJournal, PropertyChange, Store};
///
/// let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), Config::default()).await?;
/// tokio::spawn(driver);
///
/// store.set_properties(vec![PropertyChange::set("owner/name", "alice")]).await?;
/// let owner = store.properties(b"owner/")?;
/// assert_eq!(owner, [("owner/name".into(), "alice".into())]);
/// assert_eq!(store.revision(), 1);
/// # Ok(()) }
/// ```
impl Store {
    /// Sets and removes properties, all of them or none. They are durable before this returns.
    ///
    /// # Errors
    /// `Invalid` if there is none, if a name is empty, or if together they are longer than a request
    /// may be; otherwise as [`put`](Self::put), except that the quota does not stop it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the change undone or done whole.
    pub async fn set_properties(&self, changes: Vec<PropertyChange>) -> Result<()> {
        let bytes: usize = changes.iter().map(PropertyChange::byte_len).sum();
        let limit = self.inner.limits.request_bytes;
        if bytes > limit {
            let message = format!("the properties have {bytes} bytes: the limit is {limit}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if changes.is_empty() || changes.iter().any(|change| change.name.is_empty()) {
            let message = "a property has a name, and a change has a property: give both";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.submit(Request::Properties(changes)).await.map(drop)
    }

    /// The properties whose names begin with `prefix`, by name.
    ///
    /// # Errors
    /// `Closed`.
    pub fn properties(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        self.inner.shared.check_open()?;
        Ok(self.inner.shared.with_state(|state| {
            let found = state.properties().starting_with(prefix);
            found.map(|(name, value)| (name.clone(), value.clone())).collect()
        }))
    }
}

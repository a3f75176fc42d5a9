//! The hash of everything, taken beside the other work.

use std::future::poll_fn;
use std::task::Poll;

use super::Store;
use crate::core::{KvHash, KvHasher};
use crate::error::Result;

impl Store {
    /// The hash of everything up to `revision`, 0 for the newest: the same as etcd's `HashKV`. It
    /// is of one moment, and lets other tasks go on while it is taken.
    ///
    /// # Errors
    /// `FutureRevision` or `Compacted` if the revision cannot be read; `Closed`.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn hash_kv(&self, revision: u64) -> Result<KvHash> {
        self.inner.shared.check_open()?;
        let mut hasher = KvHasher::new(self.inner.shared.state(), revision)?;
        let hash = poll_fn(|cx| {
            let ended = hasher.step();
            if ended.is_none() {
                cx.waker().wake_by_ref();
            }
            ended.map_or(Poll::Pending, Poll::Ready)
        });
        Ok(hash.await)
    }
}

//! The revisions that a refusal does not tell.

use bytes::Bytes;

use super::calls::Calls;
use super::failure::Effect;
use crate::core::{KeyRange, RangeRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::etcd_api::etcdserverpb::kv_client::KvClient;
use crate::etcd_api::{key_and_end, range_message, revision_of};
use crate::kv_store::Consistency;

impl Calls {
    /// The same error with the revision that it is about. `range` is one that the caller may read;
    /// what was compacted is surely not readable below `at_least`.
    pub(super) async fn explained(&self, error: Error, range: &KeyRange, at_least: u64) -> Error {
        let key = key_and_end(range).0;
        let kind = match error.kind() {
            ErrorKind::Compacted { .. } => {
                let compact_revision = self.least_readable(&key, at_least.max(1)).await;
                ErrorKind::Compacted { compact_revision }
            }
            ErrorKind::FutureRevision { .. } => {
                let current_revision = self.count_at(&key, 0).await.unwrap_or(0);
                ErrorKind::FutureRevision { current_revision }
            }
            _ => return error,
        };
        error.of_kind(kind)
    }

    /// The least revision from this one on that can be read, by halving. Where that cannot be found
    /// out any further it is what is known.
    async fn least_readable(&self, key: &Bytes, from: u64) -> u64 {
        let (mut least, Ok(mut readable)) = (from, self.count_at(key, 0).await) else {
            return from;
        };
        while least < readable {
            let middle = least + (readable - least) / 2;
            match self.count_at(key, middle).await {
                Ok(_) => readable = middle,
                Err(error) if matches!(error.kind(), ErrorKind::Compacted { .. }) => {
                    least = middle + 1;
                }
                Err(_) => break,
            }
        }
        least
    }

    /// Reads as little as can be read at a revision, 0 for the newest. Returns the newest revision.
    async fn count_at(&self, key: &Bytes, revision: u64) -> Result<u64> {
        let count = RangeRequest::new(KeyRange::key(key.clone())).count_only().at(revision);
        let count = range_message(&count, Consistency::Linearizable);
        let call = |channel, request| async { KvClient::new(channel).range(request).await };
        let counted = self.call(Effect::Reads, count, call).await?;
        Ok(self.saw(revision_of(counted.header.as_ref())))
    }
}

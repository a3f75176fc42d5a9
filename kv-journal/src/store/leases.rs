//! Leases as callers see them, and the table of deadlines that handles and driver share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::Store;
use super::sequencer::Request;
use crate::core::{
    Deadlines, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseListResponse,
    LeaseTimeToLiveResponse, lease_id,
};
use crate::error::{ErrorKind, Result};

/// Each lock is held for some 100 nanoseconds, by one renewal or for one lease of the driver's.
const SHARDS: usize = 64;

/// The deadlines of the leases that are durable, and the clock that they are told by.
pub(super) struct Leases {
    shards: Box<[Mutex<Deadlines>]>,
    opened: Instant,
    /// Under which the store was opened: no other store ever opens under it.
    epoch: u64,
    min_ttl_secs: u64,
    picked: AtomicU64,
    pub(super) expired: AtomicU64,
}

impl Leases {
    /// A table without leases, whose clock begins now.
    pub(super) fn new(epoch: u64, min_ttl_secs: u64) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            opened: Instant::now(),
            epoch,
            min_ttl_secs,
            picked: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        })
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn instant(&self, at_ms: u64) -> Instant {
        let at = self.opened.checked_add(Duration::from_millis(at_ms));
        // A time that the clock cannot tell is centuries ahead: look again in a year.
        at.unwrap_or_else(|| Instant::now() + Duration::from_secs(365 * 24 * 3600))
    }

    /// The part of the table that knows about lease `id`.
    pub(super) fn shard(&self, id: i64) -> MutexGuard<'_, Deadlines> {
        // Ids that count upwards, or in steps, fall on different shards (Knuth, "Sorting and
        // Searching", 6.4: multiplication by the golden ratio).
        let spread = id.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        self.shards[spread as usize].lock()
    }

    fn pick_id(&self) -> i64 {
        lease_id(self.epoch, self.picked.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Every lease, the one that runs out first in front.
    fn by_deadline(&self) -> Vec<i64> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.lock().iter().map(|(id, deadline_ms)| (deadline_ms, id)));
        }
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }
}

/// Leases.
///
/// A lease lives for as many seconds as it was granted, counted from the last renewal. When its
/// time has run out, or it is revoked, the keys that were put under it are deleted in one revision.
/// A store that opens a journal gives every lease its full time again, from the moment of opening.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use std::sync::Arc;
/// use kv_journal::{Config, LeaseGrantRequest, MemoryJournal, PutRequest, Store};
///
/// let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), Config::default()).await?;
/// tokio::spawn(driver);
///
/// let lease = store.lease_grant(LeaseGrantRequest::new(15)).await?;
/// store.put(PutRequest::new("nodes/a", "alive").lease(lease.id)).await?;
/// assert_eq!(store.lease_keep_alive(lease.id)?.ttl_secs, 15);
///
/// store.lease_revoke(lease.id).await?;
/// assert_eq!(store.get(b"nodes/a")?, None);
/// # Ok(()) }
/// ```
impl Store {
    /// Grants a lease. It is durable, and its time begins, before this returns.
    ///
    /// # Errors
    /// `Invalid` if the time is too long; `LeaseExists` if the id was chosen and is taken;
    /// otherwise as [`put`](Self::put): the quota stops grants too.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the grant undone or done.
    pub async fn lease_grant(&self, request: LeaseGrantRequest) -> Result<LeaseGrantResponse> {
        let ttl_secs = request.granted_secs(self.inner.leases.min_ttl_secs)?;
        loop {
            let picks = request.id == 0;
            let id = if picks { self.inner.leases.pick_id() } else { request.id };
            match self.submit(Request::LeaseGrant { id, ttl_secs }).await {
                // Somebody chose the id that was picked: there are others.
                Err(error) if picks && error.kind() == ErrorKind::LeaseExists => {}
                answer => {
                    let revision = answer?.revision;
                    return Ok(LeaseGrantResponse { revision, id, ttl_secs });
                }
            }
        }
    }

    /// Ends a lease and deletes the keys attached to it, in one revision. Without any the revision
    /// stays. Returns the newest revision.
    ///
    /// # Errors
    /// `LeaseNotFound`; otherwise as [`put`](Self::put), except that the quota does not stop it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the revoke undone or done whole.
    pub async fn lease_revoke(&self, id: i64) -> Result<u64> {
        self.submit(Request::LeaseRevoke { id }).await.map(|response| response.revision)
    }

    /// Gives a lease its full time again, counted from now. A lease that does not exist, or whose
    /// time has run out, is answered with a time of 0, as in etcd.
    ///
    /// This never waits and asks nobody: not the journal, and not the driver. A store that has lost
    /// the journal to another one and has not noticed yet renews in vain; where that may be, call
    /// [`read_barrier`](Self::read_barrier) before.
    ///
    /// # Errors
    /// `Closed`.
    pub fn lease_keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse> {
        self.inner.shared.check_open()?;
        let revision = self.revision();
        let now_ms = self.inner.leases.now_ms();
        let ttl_secs = self.inner.leases.shard(id).renew(id, now_ms).unwrap_or(0);
        Ok(LeaseKeepAliveResponse { revision, id, ttl_secs })
    }

    /// What is known of a lease, and with `keys` which keys are attached to it. A lease that does
    /// not exist is answered with a remaining time of -1, as in etcd.
    ///
    /// # Errors
    /// `Closed`.
    pub fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseTimeToLiveResponse> {
        self.inner.shared.check_open()?;
        let leases = &self.inner.leases;
        let remaining_ms = leases.shard(id).remaining_ms(id, leases.now_ms());
        Ok(self.inner.shared.with_state(|state| {
            let granted = state.leases().ttl_secs(id);
            let known = remaining_ms.zip(granted);
            LeaseTimeToLiveResponse {
                revision: state.revision(),
                id,
                ttl_secs: known.map_or(-1, |(ms, _)| i64::try_from(ms / 1000).unwrap_or(i64::MAX)),
                granted_ttl_secs: known.map_or(0, |(_, granted)| granted),
                keys: match known {
                    Some(_) if keys => state.leases().keys(id).cloned().collect(),
                    _ => Vec::new(),
                },
            }
        }))
    }

    /// The leases that exist, the one that runs out first in front.
    ///
    /// # Errors
    /// `Closed`.
    pub fn leases(&self) -> Result<LeaseListResponse> {
        self.inner.shared.check_open()?;
        let revision = self.revision();
        Ok(LeaseListResponse { revision, ids: self.inner.leases.by_deadline() })
    }
}

//! The digest of a cache, and its comparison with the source's from time to time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::time::{Duration, Interval, timeout};

use super::Cache;
use super::fresh::Asked;
use super::list::{At, ListRequest};
use super::run::every;
use super::shared::Shared;
use super::stats::add;
use crate::config::Config;
use crate::core::digest::Digest;
use crate::core::past::Lost;
use crate::core::view::{View, expired};
use crate::error::{Error, ErrorKind, Result};
use crate::source::{RevisionDigest, Source};

impl Cache {
    /// The digest of all objects at a revision, in `O(changes since)`.
    ///
    /// # Errors
    ///
    /// As those of [`list`](Self::list).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn digest(&self, at: At) -> Result<RevisionDigest> {
        let view = self.view_at(at).await?;
        let At::Exactly(revision) = at else {
            return Ok(RevisionDigest { revision: view.revision, digest: view.digest });
        };
        let (view, _pin) = self.shared.pinned_at(revision)?;
        let digest = view.digest_at(revision).map_err(|Lost| expired(revision, view.log_floor))?;
        Ok(RevisionDigest { revision, digest })
    }

    /// The digest of a part of the objects, as current as a consistent list.
    pub(super) async fn digest_of(&self, prefixes: &[Bytes]) -> Result<RevisionDigest> {
        self.ready().await?;
        let newest = self.digest(At::Consistent).await?;
        let mut sorted = prefixes.to_vec();
        sorted.sort();
        if sorted == self.shared.config.prefixes {
            return Ok(newest);
        }
        let revision = newest.revision;
        let mut digest = Digest::default();
        for prefix in sorted {
            let part = ListRequest::new(prefix).at(At::Exactly(revision));
            let mut part = self.list_stream(part).await?;
            while let Some(objects) = part.try_next().await? {
                for object in objects {
                    digest.add(object.key(), object.mod_revision());
                }
            }
        }
        Ok(RevisionDigest { revision, digest })
    }
}

/// What the driver does about comparisons.
pub(super) struct Comparisons {
    due: Option<Interval>,
    state: State,
    /// The epoch that is to end, since it was found different.
    healing: Option<u64>,
    /// How many more comparisons may find a difference before one heals again; and after that.
    spared: u32,
    spares: u32,
}

/// A source whose digest is always different is followed by a listing at each 1024th comparison at last.
const MOST_SPARED: u32 = 1023;

#[derive(Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// The source was asked.
    Asking,
    /// It answered, for a revision that is to be reached.
    Waiting(RevisionDigest),
}

impl Comparisons {
    pub(super) fn new(config: &Config) -> Self {
        let due = config.compare_interval.map(every);
        Self { due, state: State::Idle, healing: None, spared: 0, spares: 0 }
    }

    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> bool {
        self.due.as_mut().is_some_and(|due| due.poll_tick(cx).is_ready())
    }

    /// Whether the source is to be asked now. An answer that still waits is given up for a newer one.
    pub(super) fn begin(&mut self) -> bool {
        std::mem::replace(&mut self.state, State::Asking) != State::Asking
    }

    pub(super) fn hear(&mut self, answer: Option<RevisionDigest>) {
        self.state = answer.map_or(State::Idle, State::Waiting);
    }

    /// The revision that is waited for.
    pub(super) fn wants(&self) -> Option<u64> {
        match self.state {
            State::Waiting(expected) => Some(expected.revision),
            State::Idle | State::Asking => None,
        }
    }

    /// Compares what is waited for, once it is there.
    pub(super) fn compare(&mut self, view: &View, shared: &Shared) {
        let State::Waiting(expected) = self.state else { return };
        if !view.ready || view.revision < expected.revision {
            return;
        }
        self.state = State::Idle;
        // It left the log, the cache began anew, or is about to: nothing can be said of it.
        if view.check(expected.revision).is_err() || self.healing == Some(view.epoch) {
            return;
        }
        self.healing = None;
        let Ok(digest) = view.digest_at(expected.revision) else { return };
        let counters = &shared.counters;
        add(&counters.comparisons, 1);
        if digest == expected.digest {
            counters.compared_revision.store(expected.revision, Ordering::Relaxed);
            (self.spared, self.spares) = (0, 0);
            return;
        }
        add(&counters.inconsistencies, 1);
        if !shared.config.heal {
            return;
        }
        if let Some(left) = self.spared.checked_sub(1) {
            self.spared = left;
            return;
        }
        self.spares = (2 * self.spares + 1).min(MOST_SPARED);
        self.spared = self.spares;
        self.healing = Some(view.epoch);
        shared.anew.notify_one();
    }
}

/// Asks the source for its digest, for as long as until the next time at most.
pub(super) async fn ask_digest(
    source: Arc<dyn Source>,
    prefixes: Vec<Bytes>,
    patience: Duration,
) -> Asked {
    let late = || {
        let message = "the source did not tell its digest in time: raise `compare_interval`";
        Err(Error::new(ErrorKind::Unavailable, message))
    };
    Asked::Digest(timeout(patience, source.digest(&prefixes)).await.unwrap_or_else(|_| late()))
}

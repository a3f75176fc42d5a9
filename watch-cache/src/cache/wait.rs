//! Reads that wait for a revision.

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Cache;
use super::metrics;
use super::run::Command;
use super::shared::{Place, Waiters};
use crate::error::{Error, ErrorKind, Result};

/// Where the driver says that a wait is over.
pub(super) type Reply = oneshot::Sender<Result<()>>;

/// The waits by revision, so that a new revision wakes only those that it ends.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by_revision: BTreeMap<(u64, u64), Reply>,
    next: u64,
    /// Waits whose callers gave up are swept out when the number grows to this.
    sweep_at: usize,
}

impl Waits {
    pub(super) fn add(&mut self, revision: u64, reply: Reply) {
        if self.by_revision.len() >= self.sweep_at {
            self.by_revision.retain(|_, reply| !reply.is_closed());
            self.sweep_at = (2 * self.by_revision.len()).max(1024);
        }
        self.next += 1;
        self.by_revision.insert((revision, self.next), reply);
    }

    /// Ends the waits for `revision` and those before it.
    pub(super) fn reached(&mut self, revision: u64) {
        while let Some(first) = self.by_revision.first_entry() {
            if first.key().0 > revision {
                return;
            }
            // A caller that gave up does not need the answer.
            let _ = first.remove().send(Ok(()));
        }
    }

    /// Whether somebody still waits.
    pub(super) fn wanted(&mut self) -> bool {
        while let Some(first) = self.by_revision.first_entry() {
            if !first.get().is_closed() {
                return true;
            }
            first.remove();
        }
        false
    }
}

impl Cache {
    /// Waits for the first listing, as long as it takes.
    ///
    /// # Errors
    ///
    /// `Closed` if the driver is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn ready(&self) -> Result<()> {
        self.shared.check_open()?;
        if self.shared.view().ready {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Wait { revision: 0, reply })?;
        answer.await.unwrap_or_else(|_| Err(self.shared.closed()))
    }

    /// Waits until the cache has reached `revision`, at most for [`wait_timeout`].
    ///
    /// # Errors
    ///
    /// `TooLarge` if it was not reached in time, `Unavailable` if the first listing was not in by
    /// then, `Exhausted` if too many wait already, `Closed` if the driver is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    ///
    /// [`wait_timeout`]: crate::Config::wait_timeout
    pub async fn wait_for(&self, revision: u64) -> Result<()> {
        self.shared.check_open()?;
        if self.has_reached(revision) {
            return Ok(());
        }
        let done = self.wait(|reply| Command::Wait { revision, reply }).await?;
        done.unwrap_or_else(|| Err(self.late(revision)))
    }

    /// Waits until the cache holds every write that was acknowledged before the call.
    pub(super) async fn wait_fresh(&self) -> Result<()> {
        let begun = Instant::now();
        let done = self.wait(|reply| Command::Fresh { reply }).await?;
        let waited = begun.elapsed();
        self.shared.counters.freshness_waits.add(waited);
        metrics::fresh(waited);
        done.unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Unavailable,
                "the source's current revision was not reached in time: retry later",
            ))
        })
    }

    fn has_reached(&self, revision: u64) -> bool {
        let view = self.shared.view();
        view.ready && view.revision >= revision
    }

    fn late(&self, revision: u64) -> Error {
        let view = self.shared.view();
        if view.ready {
            return view.too_large(revision);
        }
        Error::new(ErrorKind::Unavailable, "the first listing is not in yet: retry later")
    }

    /// The answer to a wait, or none in time.
    async fn wait(&self, command: impl FnOnce(Reply) -> Command) -> Result<Option<Result<()>>> {
        self.shared.check_open()?;
        let _place = Place::<Waiters>::take(&self.shared)?;
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        let answer = timeout(self.shared.config.wait_timeout, answer).await;
        Ok(answer.ok().map(|answer| answer.unwrap_or_else(|_| Err(self.shared.closed()))))
    }

    /// Hands a command to the driver, or to nobody who would answer it.
    pub(super) fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| self.shared.closed())?;
        // What comes into the channel while it is being closed stays there unread, as long as there
        // are handles. With the fence in `Closing::drop`, either that sees the command or this sees
        // the end.
        fence(Ordering::SeqCst);
        if self.commands.is_closed() { Err(self.shared.closed()) } else { Ok(()) }
    }
}

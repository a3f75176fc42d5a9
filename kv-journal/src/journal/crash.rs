//! A journal on a machine that crashes.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::chance::Chance;
use super::memory::Records;
use super::{Entry, Journal, ReadLimits, Tail};
use crate::error::{Error, ErrorKind, Result};

/// A [`Journal`] in memory that keeps just what the contract demands of it across a crash: what
/// was acknowledged is there, and what was not may be there, whole, or not. A seed decides.
///
/// Calls take some turns of the runtime, so that they are under way when the crash comes; an append
/// that nobody waits for any more is decided at the next crash or fence. Clones share the machine,
/// but only the handle that [`crash`](Self::crash) returned last reaches it: the others belong to
/// processes that are gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use bytes::Bytes;
/// use kv_journal::{CrashJournal, ErrorKind, Journal};
///
/// let before = CrashJournal::new(7);
/// before.fence(1).await?;
/// before.append(1, 1, &[Bytes::from("record")]).await?;
/// let after = before.crash();
/// assert_eq!(after.tail().await?.next_seq, 2);
/// assert_eq!(before.tail().await.unwrap_err().kind(), ErrorKind::Closed);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct CrashJournal {
    machine: Arc<Mutex<Machine>>,
    life: u64,
}

struct Machine {
    life: u64,
    disk: Records,
    chance: Chance,
    /// Appends that are neither stored nor lost.
    under_way: Vec<UnderWay>,
    next_id: u64,
}

struct UnderWay {
    id: u64,
    epoch: u64,
    seq: u64,
    batch: Vec<Bytes>,
}

/// A call takes fewer turns than this before it has its effect, and again before it is answered.
const TURNS: usize = 4;

impl CrashJournal {
    /// An empty journal. The seed decides how long calls take and what a crash leaves.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let machine = Machine {
            life: 0,
            disk: Records::default(),
            chance: Chance::new(seed),
            under_way: Vec::new(),
            next_id: 0,
        };
        Self { machine: Arc::new(Mutex::new(machine)), life: 0 }
    }

    /// The machine crashes and comes back. The handle returned is the new process's; every call
    /// of another one fails with `Closed`, those under way too.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut machine = self.machine.lock();
        machine.decide();
        machine.life += 1;
        Self { machine: Arc::clone(&self.machine), life: machine.life }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
        let mut machine = self.machine.lock();
        if machine.life == self.life { act(&mut machine) } else { Err(crashed()) }
    }

    async fn take_turns(&self) {
        let mut turns = self.machine.lock().chance.below(TURNS);
        poll_fn(|cx| {
            if turns == 0 {
                return Poll::Ready(());
            }
            turns -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Machine {
    /// What is under way is stored, if it still can be, or lost.
    fn decide(&mut self) {
        for UnderWay { epoch, seq, batch, .. } in std::mem::take(&mut self.under_way) {
            if self.chance.per_mille(500) {
                let _nobody_waits = self.disk.append(epoch, seq, &batch);
            }
        }
    }

    fn start(&mut self, epoch: u64, seq: u64, batch: &[Bytes]) -> u64 {
        self.next_id += 1;
        self.under_way.push(UnderWay { id: self.next_id, epoch, seq, batch: batch.to_vec() });
        self.next_id
    }

    /// What was started takes effect, unless a fence has decided about it.
    fn store(&mut self, id: u64) -> Result<()> {
        match self.under_way.iter().position(|append| append.id == id) {
            Some(at) => {
                let UnderWay { epoch, seq, batch, .. } = self.under_way.remove(at);
                self.disk.append(epoch, seq, &batch)
            }
            None => Err(Error::new(
                ErrorKind::Unknown,
                "a fence came between: read back what it left of this append",
            )),
        }
    }
}

fn crashed() -> Error {
    Error::new(ErrorKind::Closed, "the machine has crashed: open the journal again")
}

#[async_trait]
impl Journal for CrashJournal {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        self.take_turns().await;
        let fenced = self.with(|machine| {
            if epoch > machine.disk.tail().epoch {
                machine.decide();
            }
            machine.disk.fence(epoch)
        });
        self.take_turns().await;
        fenced
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        let id = self.with(|machine| Ok(machine.start(epoch, expected_seq, batch)))?;
        self.take_turns().await;
        let stored = self.with(|machine| machine.store(id));
        self.take_turns().await;
        self.with(|_| stored)
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        self.with(|machine| machine.disk.read(from_seq, limits))
    }

    async fn tail(&self) -> Result<Tail> {
        self.take_turns().await;
        let tail = self.with(|machine| Ok(machine.disk.tail()));
        self.take_turns().await;
        tail
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.take_turns().await;
        self.with(|machine| {
            machine.disk.trim(before);
            Ok(())
        })
    }
}

impl fmt::Debug for CrashJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashJournal").field("life", &self.life).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn records(journal: &CrashJournal) -> usize {
        let read = journal.read(1, ReadLimits::default()).now_or_never().unwrap();
        read.unwrap().len()
    }

    /// An append that is under way when the crash comes, whole or not at all, and both happen.
    #[tokio::test]
    async fn what_was_not_acknowledged_is_there_whole_or_not_at_all() {
        let mut left = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let journal = CrashJournal::new(seed);
            journal.fence(1).await.unwrap();
            journal.append(1, 1, &["a".into()]).await.unwrap();
            let batch = ["b".into(), "c".into()];
            let mut append = journal.append(1, 2, &batch);
            let acknowledged = (&mut append).now_or_never().is_some();
            let after = journal.crash();
            let found = records(&after);
            assert!(!acknowledged || found == 3);
            left.insert(found);
            assert!(acknowledged || append.await.unwrap_err().kind() == ErrorKind::Closed);
            assert_eq!(records(&after), found);
        }
        assert_eq!(left, [1, 3].into());
    }

    /// Contract item 3, for an append whose future was dropped.
    #[tokio::test]
    async fn nothing_arrives_after_a_fence() {
        for seed in 0..100 {
            let journal = CrashJournal::new(seed);
            journal.fence(1).await.unwrap();
            drop(journal.append(1, 1, &["a".into()]).now_or_never());
            let tail = journal.fence(2).await.unwrap();
            let found = records(&journal);
            assert_eq!(tail.next_seq, 1 + found as u64);
            assert_eq!(records(&journal.crash()), found);
        }
    }
}

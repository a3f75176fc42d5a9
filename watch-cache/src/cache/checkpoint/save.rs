//! Writes the checkpoint.
//!
//! It is written aside under a lock, synced, renamed, and the directory is synced: it is whole or the one
//! before is still there. What is written is synced every few MiB, so that the disk is never busy with
//! all of it at once.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::mem::take;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::{beside, failed, lost, on_thread};
use crate::cache::shared::Shared;
use crate::cache::stats::add;
use crate::config::CheckpointConfig;
use crate::core::checkpoint::{Encoder, Head};
use crate::core::past::Lost;
use crate::core::predicate::Predicate;
use crate::error::{Error, ErrorKind, Result};

type Reply = oneshot::Sender<Result<u64>>;

/// At most one checkpoint is being written, and one more waits for all who ask meanwhile.
pub(in crate::cache) struct Saver {
    shared: Arc<Shared>,
    config: CheckpointConfig,
    running: Option<oneshot::Receiver<Result<u64>>>,
    /// Those whom the running one serves.
    served: Vec<Reply>,
    /// Those who asked after it had begun.
    waiting: Vec<Reply>,
    /// The epoch and the revision of the last one.
    saved: Option<(u64, u64)>,
    /// The epoch that the running one is of, or the one after.
    epoch: u64,
}

impl Saver {
    /// Of a cache whose config has a checkpoint.
    pub(in crate::cache) fn new(shared: &Arc<Shared>) -> Option<Self> {
        let config = shared.config.checkpoint.clone()?;
        let shared = Arc::clone(shared);
        let (served, waiting) = (vec![], vec![]);
        Some(Self { shared, config, running: None, served, waiting, saved: None, epoch: 0 })
    }

    /// Somebody wants one of what is published now.
    pub(in crate::cache) fn ask(&mut self, reply: Reply) {
        self.waiting.push(reply);
        self.begin();
    }

    /// It is time for one, if there is something new and none is being written.
    pub(in crate::cache) fn due(&mut self) {
        let view = self.shared.view();
        let now = (view.epoch, view.revision);
        let ready = view.ready;
        drop(view);
        // The file that the cache began from is as good as one that it wrote.
        let restored = self.shared.counters.restored_revision.load(Ordering::Relaxed);
        let is_new = self.saved.unwrap_or((0, restored)) != now;
        if ready && is_new && self.running.is_none() {
            self.start();
        }
    }

    /// Takes note of one that is done; it is looked at with each wake.
    pub(in crate::cache) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(running) = &mut self.running
            && let Poll::Ready(done) = running.poll_unpin(cx)
        {
            self.done(&done.unwrap_or_else(|gone| Err(lost(gone))));
        }
    }

    /// Writes what is new, after which nothing more comes.
    pub(in crate::cache) async fn finish(&mut self) -> Result<()> {
        loop {
            self.due();
            let Some(running) = &mut self.running else { return Ok(()) };
            let done = running.await.unwrap_or_else(|gone| Err(lost(gone)));
            self.done(&done);
            done?;
        }
    }

    fn begin(&mut self) {
        if self.running.is_none() && !self.waiting.is_empty() {
            self.start();
        }
    }

    fn start(&mut self) {
        self.served = take(&mut self.waiting);
        self.epoch = self.shared.view().epoch;
        let (shared, path) = (Arc::clone(&self.shared), self.config.path.clone());
        self.running = Some(on_thread(&self.config, move || save(&shared, &path)));
    }

    fn done(&mut self, done: &Result<u64>) {
        self.running = None;
        let counters = &self.shared.counters;
        match done {
            Ok(revision) => {
                self.saved = Some((self.epoch, *revision));
                add(&counters.checkpoints, 1);
                counters.checkpoint_revision.store(*revision, Ordering::Relaxed);
                *self.shared.checkpoint_error.lock() = None;
            }
            Err(error) => self.shared.checkpoint_failed(error.clone()),
        }
        for reply in take(&mut self.served) {
            // A caller that gave up does not need the answer.
            let _ = reply.send(done.clone());
        }
        self.begin();
    }
}

fn save(shared: &Arc<Shared>, path: &Path) -> Result<u64> {
    let lock = beside(path, ".lock");
    let lock = File::options().create(true).append(true).open(&lock);
    let lock = lock.map_err(|cause| failed(path, "locked", cause))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = format!(
                "checkpoint {}: another process writes it: give each its own path",
                path.display()
            );
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Err(TryLockError::Error(cause)) => return Err(failed(path, "locked", cause)),
    }
    let aside = beside(path, ".new");
    let revision = write(shared, path, &aside);
    if revision.is_err() {
        // It takes room on a disk that may be full; the next one is written over it otherwise.
        let _ = std::fs::remove_file(&aside);
    }
    revision
}

fn write(shared: &Arc<Shared>, path: &Path, aside: &Path) -> Result<u64> {
    let (view, pin) = shared.pinned_past();
    if !view.ready {
        let message = "checkpoint: the first listing is not in yet: await `ready`";
        return Err(Error::new(ErrorKind::Unavailable, message));
    }
    let head = Head {
        floor: view.log_floor,
        revision: view.revision,
        store: shared.store.get().cloned().flatten(),
        prefixes: shared.config.prefixes.clone(),
        gaps: view.gaps.iter().filter(|gap| gap.after >= view.log_floor).copied().collect(),
    };
    let encode = || -> io::Result<()> {
        let file = Synced { file: File::create(aside)?, since: 0 };
        let mut encoder = Encoder::new(file, &head)?;
        let all = Predicate { prefix: Bytes::new(), index: None, filter: None };
        for object in view.root.select_at(&all, None, head.floor) {
            // Of a revision that is pinned nothing is lost.
            encoder.object(&object.map_err(|Lost| io::Error::other("a version is lost"))?)?;
        }
        drop(pin);
        for (revision, entries) in view.log.from(head.floor + 1) {
            for entry in entries {
                encoder.change(revision, &entry.version)?;
            }
        }
        encoder.finish()?.file.sync_all()?;
        std::fs::rename(aside, path)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    encode().map_err(|cause| failed(path, "written", cause))?;
    Ok(head.revision)
}

/// What a disk of 100 MB/s takes in 80 ms.
const SYNC_BYTES: usize = 8 << 20;

struct Synced {
    file: File,
    since: usize,
}

impl Write for Synced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.since >= SYNC_BYTES {
            self.since = 0;
            self.file.sync_data()?;
        }
        let written = self.file.write(bytes)?;
        self.since += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

//! A journal in a directory of files.
//!
//! ```text
//! LOCK                      held exclusively while the journal is open
//! 00000000000000000001.log  a segment, named after its first record
//! 00000000000000012345.log  the next one; only the last is written to
//! segment.tmp, spare.tmp    segments being made; removed when found at open
//!
//! segment: magic 8 | version u32 | base seq u64 | epoch u64
//!          | base seq u64 and length u64 of the segment before | CRC32C u32  = 48 bytes
//!          then frames: CRC32C u32 | length u32 | seq u64 | index u32 | payload
//!          then, while it is written to, zeros
//! ```
//!
//! All numbers are little-endian. `index` is the record's place in its batch; its top bit marks
//! the batch's last record, so that a batch whose end is missing is not taken for stored. A frame's
//! checksum covers the segment's header, the frame's offset, and everything of it but the checksum,
//! so a frame counts only where it was written. No record has the number 0: zeros are no frame.
//!
//! # Writing
//!
//! A batch is one write and one `fdatasync`, and nothing is written before the batch before it is
//! synced. A segment is allocated whole when it is begun, so that a sync changes no length. Once it
//! is half full another thread makes the next one and writes zeros all over it, so that a sync
//! changes no block map either (`ahead.rs` says what that saves). In a segment that was not made
//! ahead of time, small batches are followed by some zeros now and then, to the same end. Where there
//! is no room for a whole segment, or no way to allocate one, it grows with its batches.
//!
//! A fence begins a segment, which carries the epoch. Segments are made aside, synced and then
//! renamed, so that a header is whole or not there. The header says where the segment before ends:
//! what follows there is room that was not used, and is given back.
//!
//! # Opening
//!
//! Every header is read: a missing, exchanged or shortened segment is found by the links between
//! them. Of the records only those of the last segment are read. After its last whole batch
//!
//! - there are only zeros: the batches ended there, or the next one left nothing on the disk;
//! - there is something else, and no whole record of a batch after the next one: a crash tore the
//!   next batch, in whatever order its sectors reached the disk. It was never acknowledged. It is
//!   cut off and reported, and the cut is synced before anything is written in its place, so that
//!   no batch is ever made of parts of two;
//! - there is a whole record of a later batch: what stands before it was synced once and is damaged
//!   now. The journal is not opened, and segment and offset are named.
//!
//! The last batch is then written again and synced, as it may have been in the system's cache only.
//!
//! Every record is verified whenever it is read, with its number and its place. So damage in an
//! older segment is told by the read that meets it, at the latest when `Store::open` replays it, and
//! by the open itself with [`FileConfig::verify_on_open`]. A batch at the very end of which nothing
//! is left, because the disk lost what it had promised to keep, cannot be told from one that was
//! never written.
//!
//! # Not done
//!
//! `O_DIRECT | O_DSYNC` was measured against a plain write with `fdatasync`, both over zeros, for
//! batches of 332 B, 33 KB and 1.3 MB: no size gained more than the disk's noise, and the largest
//! lost. A vectored write of the 4,096 records of the largest took 300 us, one copy into a buffer
//! and one write 120 us.

mod ahead;
mod disk;
mod frame;
mod fuzz;
mod log;
mod os;
mod read;
mod recover;
mod rollover;
mod scan;
mod segment;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{Entry, Journal, ReadLimits, Tail};
use crate::config::Limit;
use crate::error::{Error, ErrorKind, Result};
use ahead::Ahead;
use disk::Disk;
use log::Log;
use os::OsDisk;

#[doc(hidden)]
pub use frame::fuzz_frames;
#[doc(hidden)]
pub use fuzz::fuzz_segment;

/// Requests that wait for the journal's thread; a store has one append under way.
const QUEUE_LEN: usize = 16;

/// The settings of a [`FileJournal`].
///
/// ```
/// let mut config = kv_journal::FileConfig::default();
/// config.segment_bytes = 16 << 20;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileConfig {
    /// A segment that reaches this size is followed by a new one: [`FileConfig::SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// Whether segments are allocated before they are written to, which makes syncs faster. A
    /// journal under way then takes up to two segments more on disk. Set it to `false` on file
    /// systems that write nothing in place (Btrfs, ZFS), where nothing is gained.
    pub preallocate: bool,
    /// Whether opening reads and verifies every record, and not only those of the last segment.
    /// [`Store::open`](crate::Store::open) reads the records that it needs in any case.
    pub verify_on_open: bool,
    /// The longest record that is written, and believed when read: [`FileConfig::RECORD_BYTES`].
    pub record_bytes: usize,
    /// The name of the thread that does all input and output. While another one prepares the next
    /// segment, that one has this name with `-ahead` after it.
    pub thread_name: String,
}

impl FileConfig {
    /// etcd's segment size. A smaller one makes trimming finer, a larger one files fewer.
    pub const SEGMENT_BYTES: Limit<u64> = Limit { default: 64 << 20, min: 4 << 10, max: 4 << 30 };
    /// Above the largest request that a store can be configured to take.
    pub const RECORD_BYTES: Limit<usize> = Limit { default: 64 << 20, min: 1 << 10, max: 1 << 30 };

    fn check(&self) -> Result<()> {
        Self::SEGMENT_BYTES.check("segment_bytes", self.segment_bytes)?;
        Self::RECORD_BYTES.check("record_bytes", self.record_bytes)
    }
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            segment_bytes: Self::SEGMENT_BYTES.default,
            preallocate: true,
            verify_on_open: false,
            record_bytes: Self::RECORD_BYTES.default,
            thread_name: "kv-journal-file".to_owned(),
        }
    }
}

/// What was found when a journal was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OpenReport {
    /// Segments.
    pub segments: usize,
    /// Records in them.
    pub records: u64,
    /// Their bytes on disk, after the cut.
    pub bytes: u64,
    /// The end of a batch that was being written when the writer died, never acknowledged, and
    /// was cut off: the segment's name, the offset of the cut and the bytes removed.
    pub torn: Option<TornTail>,
}

/// What was cut off the end of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The segment's file name.
    pub segment: String,
    /// Where it was cut.
    pub offset: u64,
    /// How many bytes were removed.
    pub bytes: u64,
}

/// A [`Journal`] in a directory: segments, a checksum for each record, one `fdatasync` for each
/// batch.
///
/// Acknowledged batches survive a crash of the process and of the machine, as far as the disk
/// keeps its promise of `fdatasync`. A batch torn by a crash is cut at the next open and reported.
/// Damage before the last batch is told by [`open`](Self::open) or by the read that meets it, with
/// its place; no damaged record is ever returned. Damage inside the very last batch cannot be told
/// from a torn one.
///
/// On a full disk a batch fails with `Exhausted`, leaves nothing behind, and writes go on once there
/// is room; what was allocated before can still be written.
///
/// All input and output runs on one thread of its own. Dropping the journal waits for what is
/// under way and frees the lock.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use bytes::Bytes;
/// use kv_journal::{FileConfig, FileJournal, Journal};
///
/// # let directory = tempfile::tempdir().unwrap();
/// let journal = FileJournal::open(directory.path(), FileConfig::default()).await?;
/// let tail = journal.fence(1).await?;
/// journal.append(1, tail.next_seq, &[Bytes::from("record")]).await?; // durable from here on
/// assert_eq!(journal.report().torn, None);
/// # Ok(()) }
/// ```
pub struct FileJournal {
    directory: PathBuf,
    report: OpenReport,
    epoch: Arc<AtomicU64>,
    /// `None` only while being dropped.
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Fence(u64, oneshot::Sender<Result<Tail>>),
    Append { epoch: u64, seq: u64, batch: Vec<Bytes>, reply: oneshot::Sender<Result<()>> },
    Read(u64, ReadLimits, oneshot::Sender<Result<Vec<Entry>>>),
    Tail(oneshot::Sender<Result<Tail>>),
    Trim(u64, oneshot::Sender<Result<()>>),
}

impl FileJournal {
    /// Opens the journal in `directory`, which is created if it is not there.
    ///
    /// The headers of all segments and the records of the last one are read and verified; the other
    /// records are verified when they are read, or now with [`FileConfig::verify_on_open`].
    ///
    /// # Errors
    /// `Unavailable` if another process has the directory open or it cannot be read or made;
    /// `Corrupt`, with segment and offset, if what is read is damaged other than at its very end;
    /// `Exhausted` if the journal is new and the disk is full; `Invalid` if a setting is out of its
    /// range.
    ///
    /// # Cancel safety
    /// Dropping the future opens nothing, or opens and closes the journal.
    pub async fn open(directory: impl AsRef<Path> + Send, config: FileConfig) -> Result<Self> {
        let directory = directory.as_ref().to_owned();
        config.check()?;
        let path = directory.clone();
        Self::start(directory, config, move || Ok(Arc::new(OsDisk::lock(path)?))).await
    }

    async fn start(
        directory: PathBuf,
        config: FileConfig,
        lock: impl FnOnce() -> Result<Arc<dyn Disk>> + Send + 'static,
    ) -> Result<Self> {
        let (commands, queue) = mpsc::channel(QUEUE_LEN);
        let (opened, report) = oneshot::channel();
        let epoch = Arc::new(AtomicU64::new(0));
        let current = Arc::clone(&epoch);
        let builder = std::thread::Builder::new().name(config.thread_name.clone());
        let thread = builder
            .spawn(move || {
                let (log, report) = match lock().and_then(|disk| Log::open(disk, config)) {
                    Ok(opened) => opened,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                set_epoch(&current, &log.tail());
                if opened.send(Ok(report)).is_ok() {
                    serve(log, queue, &current);
                }
            })
            .map_err(|cause| {
                Error::new(ErrorKind::Unavailable, "the journal's thread cannot be started")
                    .with_source(cause)
            })?;
        let report = report.await.unwrap_or_else(|_| Err(thread_gone(&directory)))?;
        Ok(Self { directory, report, epoch, commands: Some(commands), thread: Some(thread) })
    }

    /// What was found when it was opened.
    #[must_use]
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command + Send,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let command = command(reply);
        let Some(commands) = &self.commands else {
            return Err(thread_gone(&self.directory));
        };
        let sent = commands.send(command).await;
        sent.map_err(|_| thread_gone(&self.directory))?;
        answer.await.unwrap_or_else(|_| Err(thread_gone(&self.directory)))
    }
}

fn thread_gone(directory: &Path) -> Error {
    let directory = directory.display();
    Error::new(
        ErrorKind::Closed,
        format!("the thread of journal {directory} has ended: open again"),
    )
}

/// A tail that cannot be told is that of a journal that has ended.
fn set_epoch(current: &AtomicU64, tail: &Result<Tail>) {
    if let Ok(tail) = tail {
        current.store(tail.epoch, Ordering::Release);
    }
}

/// The journal's thread: one command after the other until the handle is dropped.
fn serve(mut log: Log, mut queue: mpsc::Receiver<Command>, epoch: &AtomicU64) {
    let mut ahead = Ahead::default();
    while let Some(command) = queue.blocking_recv() {
        ahead.hand_over(&mut log);
        // A caller that has gone away does not want its answer.
        match command {
            Command::Fence(wanted, reply) => {
                let fenced = log.fence(wanted);
                set_epoch(epoch, &log.tail());
                drop(reply.send(fenced));
            }
            Command::Append { epoch, seq, batch, reply } => {
                drop(reply.send(log.append(epoch, seq, &batch)));
            }
            Command::Read(from, limits, reply) => drop(reply.send(log.read(from, limits))),
            Command::Tail(reply) => drop(reply.send(log.tail())),
            Command::Trim(before, reply) => drop(reply.send(log.trim(before))),
        }
        ahead.look_after(&log);
    }
    drop(ahead);
    log.close();
}

#[async_trait]
impl Journal for FileJournal {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        self.ask(|reply| Command::Fence(epoch, reply)).await
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        let batch = batch.to_vec();
        self.ask(|reply| Command::Append { epoch, seq: expected_seq, batch, reply }).await
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        self.ask(|reply| Command::Read(from_seq, limits, reply)).await
    }

    async fn tail(&self) -> Result<Tail> {
        self.ask(Command::Tail).await
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.ask(|reply| Command::Trim(before, reply)).await
    }

    fn local_epoch(&self) -> Option<Arc<AtomicU64>> {
        Some(Arc::clone(&self.epoch))
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // It holds the lock until it ends: whoever opens the directory next must find it free.
            // A panic of the thread was reported when it happened.
            let _panicked = thread.join();
        }
    }
}

impl fmt::Debug for FileJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileJournal")
            .field("directory", &self.directory)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

//! Checkpoints in a directory of files.
//!
//! ```text
//! LOCK                       held exclusively while the directory is open
//! 00000000000000012345.ckpt  a checkpoint, named by its number
//! 00000000000000012345-3.tmp one being written; removed at the next open
//! ```
//!
//! A checkpoint is written aside, synced, renamed, and the directory is synced: it is whole or not
//! there. What is written is synced every few MiB, so that the sync at the end, and the journal's
//! syncs beside it, never wait for a gigabyte.

mod directory;

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{CheckpointInfo, CheckpointStore, CheckpointWriter};
use crate::config::Limit;
use crate::error::{Error, ErrorKind, Result};
use directory::Directory;

/// The settings of [`FileCheckpoints`].
///
/// ```
/// let mut config = kv_journal::FileCheckpointsConfig::default();
/// config.sync_bytes = 4 << 20;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileCheckpointsConfig {
    /// A file being written is synced each time so much was added:
    /// [`FileCheckpointsConfig::SYNC_BYTES`].
    pub sync_bytes: u64,
    /// The name of the thread that does all input and output.
    pub thread_name: String,
}

impl FileCheckpointsConfig {
    /// What a disk of 100 MB/s takes in 80 ms; beside a journal a smaller one disturbs less, a
    /// larger one is done sooner.
    pub const SYNC_BYTES: Limit<u64> = Limit { default: 8 << 20, min: 64 << 10, max: 1 << 30 };
}

impl Default for FileCheckpointsConfig {
    fn default() -> Self {
        Self {
            sync_bytes: Self::SYNC_BYTES.default,
            thread_name: "kv-journal-checkpoints".to_owned(),
        }
    }
}

/// A [`CheckpointStore`] in a directory, which is not the journal's own.
///
/// A committed checkpoint survives a crash of the process and of the machine, as far as the disk
/// keeps its promise of `fdatasync`. One that was being written is gone after it.
///
/// All input and output runs on one thread of its own. Dropping this waits for what is under way
/// and frees the lock; writers that are left fail with `Closed`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use bytes::Bytes;
/// use kv_journal::{CheckpointStore, FileCheckpoints, FileCheckpointsConfig};
///
/// # let directory = tempfile::tempdir().unwrap();
/// let config = FileCheckpointsConfig::default();
/// let checkpoints = FileCheckpoints::open(directory.path(), config).await?;
/// let mut writer = checkpoints.begin(7).await?;
/// writer.write(Bytes::from("state")).await?;
/// writer.commit().await?; // durable from here on
/// assert_eq!(checkpoints.list().await?[0].bytes, 5);
/// # Ok(()) }
/// ```
pub struct FileCheckpoints {
    directory: PathBuf,
    commands: Commands,
    /// `None` only while being dropped.
    thread: Option<JoinHandle<()>>,
}

/// Without a bound, so that a dropped writer or handle can always say so. Every other command is
/// awaited by whoever sent it: there are no more than callers, and a writer has one part in it.
type Commands = mpsc::UnboundedSender<Command>;

type Reply<T> = oneshot::Sender<Result<T>>;

enum Command {
    Begin(u64, Reply<u64>),
    Write(u64, Bytes, Reply<()>),
    Commit(u64, Reply<()>),
    Abandon(u64),
    List(Reply<Vec<CheckpointInfo>>),
    Read { id: u64, offset: u64, len: usize, reply: Reply<Bytes> },
    Remove(u64, Reply<()>),
    Close,
}

impl FileCheckpoints {
    /// Opens the checkpoints in `directory`, which is created if it is not there. What a writer
    /// that died had begun is removed.
    ///
    /// # Errors
    /// `Unavailable` if another process has the directory open or it cannot be read or made;
    /// `Exhausted` if the disk is full; `Invalid` if a setting is out of its range.
    ///
    /// # Cancel safety
    /// Dropping the future opens nothing, or opens and closes the directory.
    pub async fn open(
        directory: impl AsRef<Path> + Send,
        config: FileCheckpointsConfig,
    ) -> Result<Self> {
        let directory = directory.as_ref().to_owned();
        FileCheckpointsConfig::SYNC_BYTES.check("sync_bytes", config.sync_bytes)?;
        let (commands, queue) = mpsc::unbounded_channel();
        let (opened, report) = oneshot::channel();
        let path = directory.clone();
        let builder = std::thread::Builder::new().name(config.thread_name.clone());
        let thread = builder
            .spawn(move || match Directory::open(path, config.sync_bytes) {
                Ok(directory) => {
                    if opened.send(Ok(())).is_ok() {
                        serve(directory, queue);
                    }
                }
                Err(error) => drop(opened.send(Err(error))),
            })
            .map_err(|cause| {
                Error::new(ErrorKind::Unavailable, "the checkpoints' thread cannot be started")
                    .with_source(cause)
            })?;
        report.await.unwrap_or_else(|_| Err(thread_gone()))?;
        Ok(Self { directory, commands, thread: Some(thread) })
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn thread_gone() -> Error {
    Error::new(ErrorKind::Closed, "the thread of the checkpoints has ended: open them again")
}

/// The thread: one command after the other until the handle is dropped.
fn serve(mut directory: Directory, mut queue: mpsc::UnboundedReceiver<Command>) {
    while let Some(command) = queue.blocking_recv() {
        // A caller that has gone away does not want its answer.
        match command {
            Command::Begin(id, reply) => drop(reply.send(directory.begin(id))),
            Command::Write(writer, part, reply) => {
                drop(reply.send(directory.write(writer, &part)));
            }
            Command::Commit(writer, reply) => drop(reply.send(directory.commit(writer))),
            Command::Abandon(writer) => directory.abandon(writer),
            Command::List(reply) => drop(reply.send(directory.list())),
            Command::Read { id, offset, len, reply } => {
                drop(reply.send(directory.read(id, offset, len)));
            }
            Command::Remove(id, reply) => drop(reply.send(directory.remove(id))),
            Command::Close => return,
        }
    }
}

async fn ask<T>(
    commands: &Commands,
    command: impl FnOnce(Reply<T>) -> Command + Send,
) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    commands.send(command(reply)).map_err(|_| thread_gone())?;
    answer.await.unwrap_or_else(|_| Err(thread_gone()))
}

#[async_trait]
impl CheckpointStore for FileCheckpoints {
    async fn begin(&self, id: u64) -> Result<Box<dyn CheckpointWriter>> {
        let commands = self.commands.clone();
        let writer = ask(&commands, |reply| Command::Begin(id, reply)).await?;
        Ok(Box::new(Writer { commands, writer }))
    }

    async fn list(&self) -> Result<Vec<CheckpointInfo>> {
        ask(&self.commands, Command::List).await
    }

    async fn read(&self, id: u64, offset: u64, len: usize) -> Result<Bytes> {
        ask(&self.commands, |reply| Command::Read { id, offset, len, reply }).await
    }

    async fn remove(&self, id: u64) -> Result<()> {
        ask(&self.commands, |reply| Command::Remove(id, reply)).await
    }
}

struct Writer {
    commands: Commands,
    writer: u64,
}

#[async_trait]
impl CheckpointWriter for Writer {
    async fn write(&mut self, part: Bytes) -> Result<()> {
        ask(&self.commands, |reply| Command::Write(self.writer, part, reply)).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        ask(&self.commands, |reply| Command::Commit(self.writer, reply)).await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After a commit there is nothing to abandon, and after the thread's end nobody to ask.
        let _gone = self.commands.send(Command::Abandon(self.writer));
    }
}

impl Drop for FileCheckpoints {
    fn drop(&mut self) {
        let _gone = self.commands.send(Command::Close);
        if let Some(thread) = self.thread.take() {
            // It holds the lock until it ends: whoever opens the directory next must find it free.
            // A panic of the thread was reported when it happened.
            let _panicked = thread.join();
        }
    }
}

impl fmt::Debug for FileCheckpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCheckpoints")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

//! Checkpoints in a file: written while the cache serves, and read before it follows the source.

mod load;
mod save;

use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use super::Cache;
use super::run::Command;
use crate::config::CheckpointConfig;
use crate::error::{Error, ErrorKind, Result};

#[doc(hidden)]
pub use load::fuzz_checkpoint;
pub(super) use load::load;
pub(super) use save::Saver;

/// Runs work that waits for a disk on a thread of its own.
fn on_thread<T: Send + 'static>(
    config: &CheckpointConfig,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> oneshot::Receiver<Result<T>> {
    let (reply, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name(config.thread_name.clone());
    // Without a thread the sender is dropped, as it is after a panic.
    let _ = thread.spawn(move || {
        // Nobody waits for it where the driver is gone.
        let _ = reply.send(work());
    });
    answer
}

/// What an answer is that did not come.
pub(super) fn lost<E>(_: E) -> Error {
    Error::new(ErrorKind::Unavailable, "checkpoint: its thread did not start, or panicked")
}

/// A file beside the checkpoint.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn failed(path: &Path, what: &str, cause: std::io::Error) -> Error {
    let kind = match cause.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("checkpoint {}: it cannot be {what}", path.display()))
        .with_source(cause)
}

impl Cache {
    /// Writes a checkpoint that has at least what is published now, and returns its revision. It
    /// is written in any case from time to time and when the driver ends: see
    /// [`CheckpointConfig`](crate::CheckpointConfig).
    ///
    /// # Errors
    ///
    /// `Invalid` if the config has no checkpoint; `Unavailable` if the first listing is not in, the
    /// file cannot be written or another process writes it just now; `Exhausted` if the disk is full;
    /// `Closed` if the driver is gone. The checkpoint before is then still there.
    ///
    /// # Cancel safety
    ///
    /// A checkpoint that is being written is finished, or not begun.
    pub async fn save_checkpoint(&self) -> Result<u64> {
        self.shared.check_open()?;
        if self.shared.config.checkpoint.is_none() {
            let message = "no checkpoint: set one in the config";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Save { reply })?;
        answer.await.unwrap_or_else(|_| Err(self.shared.closed()))
    }

    /// Why the last checkpoint could not be read or written, if it could not.
    #[must_use]
    pub fn checkpoint_error(&self) -> Option<Error> {
        self.shared.checkpoint_error.lock().clone()
    }
}

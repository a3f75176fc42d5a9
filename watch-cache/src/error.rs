//! The crate's one error type.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What went wrong, sorted by what the caller should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request or the configuration is wrong: correct it, a retry cannot help.
    Invalid,
    /// The revision left the retained history: list again, at `oldest_revision` or later.
    Expired {
        /// The oldest revision that can still be read.
        oldest_revision: u64,
    },
    /// The revision asked for was not reached in time: retry, or read at `current_revision`.
    TooLarge {
        /// The newest revision that can be read.
        current_revision: u64,
    },
    /// A limit is reached: retry later or raise the limit.
    Exhausted,
    /// The other side did not answer or is overloaded: retry later.
    Unavailable,
    /// Stored or received bytes do not match their checksum or format: do not trust them.
    Corrupt,
    /// The driver is gone or has failed: open again.
    Closed,
}

/// A failure of this crate: a kind to act on, a sentence to read, and the cause behind
/// [`source`](StdError::source).
///
/// Cloning is cheap, so that one failure can answer every caller that waited for it.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    retry_after: Option<Duration>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` whose `message` says what to do about it.
    ///
    /// Adapters outside this crate build their errors with it.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None, retry_after: None }
    }

    /// The same error with the failure that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same error with a hint when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// How long to wait before the next try, where something is known of that. Many who were refused
    /// at once should spread their tries over as long again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What the caller should do next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

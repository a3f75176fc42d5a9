//! The crate's one error type.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What went wrong, sorted by what the caller should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request or the configuration is wrong: correct it, a retry cannot help.
    Invalid,
    /// The revision asked for was compacted: read at `compact_revision` or later.
    Compacted {
        /// The oldest revision that can still be read.
        compact_revision: u64,
    },
    /// The revision asked for does not exist yet: wait for it or read at `current_revision`.
    FutureRevision {
        /// The newest revision that can be read.
        current_revision: u64,
    },
    /// The journal no longer has the record asked for: load a checkpoint and read from
    /// `first_seq`.
    Trimmed {
        /// The oldest record that can still be read.
        first_seq: u64,
    },
    /// The key whose value or lease is to be kept does not exist: write it whole.
    KeyNotFound,
    /// The lease does not exist, or no more: grant one and attach to it.
    LeaseNotFound,
    /// A lease with this id exists: choose another id.
    LeaseExists,
    /// Another append came first: read the tail and evaluate again.
    Conflict,
    /// Another writer has taken the journal over: stop writing, open again to take it back.
    Fenced,
    /// The append may or may not be durable: read the journal back before anything else.
    Unknown,
    /// A limit or the disk is full: make room, then retry.
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
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` whose `message` says what to do about it.
    ///
    /// Adapters outside this crate build their errors with it.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same error with the failure that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What the caller should do next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl Error {
    /// The error that callers get once this one has ended the driver.
    pub(crate) fn closed(cause: Option<&Self>) -> Self {
        let closed =
            Self::new(ErrorKind::Closed, "the store's driver has ended: open the store again");
        match cause {
            Some(cause) => closed.with_source(cause.clone()),
            None => closed,
        }
    }

    /// The same error, told more exactly.
    #[cfg(feature = "etcd-store")]
    pub(crate) fn of_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// The same error under another kind and sentence, which has this one as its cause.
    pub(crate) fn behind(self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(kind, message).with_source(self)
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

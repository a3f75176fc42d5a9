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
    /// The blob or the file in it does not exist.
    NotFound,
    /// The format is not one that this crate reads.
    Unsupported,
    /// The source serves other bytes than the index was made from: index it again.
    Changed,
    /// A limit is reached: raise it if the input is trusted.
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
    /// The same error, whose sentence starts with the name of its object.
    #[cfg(feature = "http")]
    pub(crate) fn of(mut self, name: &str) -> Self {
        self.message = format!("{name}: {}", self.message).into();
        self
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

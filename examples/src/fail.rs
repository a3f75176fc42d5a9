//! How a run ends early: one sentence and its causes, on one line.

use std::error::Error;
use std::fmt;

/// The run's error: what was being done and why it failed.
#[derive(Debug)]
pub struct Fail(String);

/// The result of a step of a run.
pub type Result<T, E = Fail> = std::result::Result<T, E>;

impl Fail {
    /// A failure that is `what`.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// An error and its causes on one line.
    #[must_use]
    pub fn chain(error: &dyn Error) -> String {
        let mut line = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Puts what was being done before an error and its chain of causes.
pub trait Context<T> {
    /// The same result, whose error begins with `what`.
    ///
    /// # Errors
    /// The same.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Error> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Fail(format!("{}: {}", what(), Fail::chain(&error))))
    }
}

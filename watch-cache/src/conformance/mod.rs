//! The contract of [`Source`] as checks that every adapter must pass.
//!
//! Each check is one numbered item of the port's contract. [`source_conformance!`] turns them into
//! one `#[test]` each; called directly, a check returns the [`Violation`] that it found, which is
//! how a deliberately broken adapter is shown to fail.
//!
//! [`source_conformance!`]: crate::source_conformance
//!
//! ```
//! use std::sync::Arc;
//! use watch_cache::{MemorySource, conformance};
//!
//! let passed = conformance::run(async {
//!     let store = Arc::new(MemorySource::new());
//!     let subject = conformance::Subject { source: store.clone(), writer: store };
//!     conformance::revisions_are_whole(&subject).await
//! });
//! assert_eq!(passed, Ok(()));
//! ```

mod checks;
mod probe;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::source::{MemorySource, Source, Write};
use async_trait::async_trait;

pub use checks::{
    an_error_is_last, compacted_watch, current_revision, digest_is_true, list_at_a_revision,
    list_is_current, listing_is_exact, progress_is_true, revisions_are_whole, watch_is_complete,
    watch_reaches,
};

/// A broken promise of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The contract item, as numbered in the port's docs.
    pub item: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contract item {}: {}", self.item, self.seen)
    }
}

impl std::error::Error for Violation {}

/// What a check returns.
pub type Checked = Result<(), Violation>;

/// The way into the store behind a source. A check is the only writer while it runs.
#[async_trait]
pub trait Writer: Send + Sync {
    /// Applies all writes at one revision, and returns it once it is acknowledged.
    async fn txn(&self, writes: Vec<Write>) -> u64;

    /// Makes reads below `revision` impossible.
    async fn compact(&self, revision: u64);
}

#[async_trait]
impl Writer for MemorySource {
    async fn txn(&self, writes: Vec<Write>) -> u64 {
        Self::txn(self, writes)
    }

    async fn compact(&self, revision: u64) {
        // A check compacts only what it has written.
        let _ = Self::compact(self, revision);
    }
}

/// A source to check, and the store behind it.
#[derive(Clone)]
pub struct Subject {
    /// The source.
    pub source: Arc<dyn Source>,
    /// Its store.
    pub writer: Arc<dyn Writer>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("freshness", &self.source.freshness())
            .finish_non_exhaustive()
    }
}

/// A check, as a value. It writes under prefixes of its own, and wants nobody else to write.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its function's name.
    pub name: &'static str,
    /// The function.
    pub run: for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = Checked> + Send + 'a>>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// Every check of this module, in the order of the contract's items.
pub const CHECKS: &[Check] = &[
    Check { name: "list_is_current", run: |subject| Box::pin(list_is_current(subject)) },
    Check { name: "listing_is_exact", run: |subject| Box::pin(listing_is_exact(subject)) },
    Check { name: "list_at_a_revision", run: |subject| Box::pin(list_at_a_revision(subject)) },
    Check { name: "watch_is_complete", run: |subject| Box::pin(watch_is_complete(subject)) },
    Check { name: "revisions_are_whole", run: |subject| Box::pin(revisions_are_whole(subject)) },
    Check { name: "compacted_watch", run: |subject| Box::pin(compacted_watch(subject)) },
    Check { name: "progress_is_true", run: |subject| Box::pin(progress_is_true(subject)) },
    Check { name: "current_revision", run: |subject| Box::pin(current_revision(subject)) },
    Check { name: "watch_reaches", run: |subject| Box::pin(watch_reaches(subject)) },
    Check { name: "an_error_is_last", run: |subject| Box::pin(an_error_is_last(subject)) },
    Check { name: "digest_is_true", run: |subject| Box::pin(digest_is_true(subject)) },
];

/// Makes a module of one test for each check.
///
/// The second argument is an expression, evaluated inside a tokio runtime, for a future of a
/// [`Subject`](crate::conformance::Subject) and of what must live as long as it (a server, or `()`).
///
/// ```
/// use std::sync::Arc;
/// use watch_cache::{MemorySource, conformance::Subject, source_conformance};
///
/// source_conformance!(memory, async {
///     let store = Arc::new(MemorySource::new());
///     (Subject { source: store.clone(), writer: store }, ())
/// });
/// ```
#[macro_export]
macro_rules! source_conformance {
    ($module:ident, $fresh:expr) => {
        $crate::source_conformance!(
            @tests $module, $fresh,
            list_is_current listing_is_exact list_at_a_revision watch_is_complete
            revisions_are_whole compacted_watch progress_is_true current_revision watch_reaches
            an_error_is_last digest_is_true
        );
    };
    (@tests $module:ident, $fresh:expr, $($check:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the expression may need what surrounds it")]
            use super::*;
            $(
                #[test]
                fn $check() -> Result<(), $crate::conformance::Violation> {
                    $crate::conformance::run(async {
                        let (subject, _kept) = $fresh.await;
                        $crate::conformance::$check(&subject).await
                    })
                }
            )*
        }
    };
}

/// Runs a check to its end on a runtime of its own.
///
/// # Panics
///
/// If the runtime cannot be made.
pub fn run<F: Future>(check: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    #[expect(clippy::expect_used, reason = "a test without a runtime can only fail")]
    runtime.expect("a runtime").block_on(check)
}

//! The contract of [`Source`] as checks that every adapter must pass.
//!
//! Each check is one numbered item of the port's contract. [`source_conformance!`] turns them
//! into one `#[test]` each; called directly, a check returns the [`Violation`] that it found, which
//! is how a deliberately broken adapter is shown to fail.
//!
//! [`source_conformance!`]: crate::source_conformance
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use lazy_blob::conformance::{self, Subject};
//! use lazy_blob::{MemorySource, Source};
//!
//! struct Memory;
//!
//! #[async_trait::async_trait]
//! impl Subject for Memory {
//!     async fn create(&self, bytes: Bytes) -> Arc<dyn Source> {
//!         Arc::new(MemorySource::new(bytes))
//!     }
//! }
//!
//! assert_eq!(conformance::run(conformance::reads_are_exact(&Memory)), Ok(()));
//! ```

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;

use crate::error::{ErrorKind, Result as SourceResult};
use crate::source::Source;

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

/// The adapter under test: how to put a blob where it reads.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Stores a blob of these bytes and opens a source of it.
    async fn create(&self, bytes: Bytes) -> Arc<dyn Source>;

    /// Replaces the bytes of the blob that was created last, behind its source's back; `false`
    /// where nothing can.
    async fn replace(&self, bytes: Bytes) -> bool {
        drop(bytes);
        false
    }

    /// Opens a source of a blob that does not exist; `None` where there can be no such source.
    async fn missing(&self) -> Option<SourceResult<Arc<dyn Source>>> {
        None
    }
}

/// A check that runs.
pub type Running<'a> = Pin<Box<dyn Future<Output = Checked> + Send + 'a>>;

/// A check, as a value.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its function's name.
    pub name: &'static str,
    /// The function.
    pub run: for<'a> fn(&'a dyn Subject) -> Running<'a>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// Every check of this module, in the order of the contract.
pub const CHECKS: &[Check] = &[
    Check { name: "size_is_stable", run: |subject| Box::pin(size_is_stable(subject)) },
    Check { name: "reads_are_exact", run: |subject| Box::pin(reads_are_exact(subject)) },
    Check { name: "ranges_outside", run: |subject| Box::pin(ranges_outside(subject)) },
    Check { name: "empty_ranges", run: |subject| Box::pin(empty_ranges(subject)) },
    Check { name: "overlapping_calls", run: |subject| Box::pin(overlapping_calls(subject)) },
    Check { name: "dropped_reads", run: |subject| Box::pin(dropped_reads(subject)) },
    Check { name: "one_version", run: |subject| Box::pin(one_version(subject)) },
    Check { name: "missing_blob", run: |subject| Box::pin(missing_blob(subject)) },
];

/// Makes one `#[test]` of each check, in a module of this name, for the [`Subject`] that the
/// future gives together with whatever must outlive it:
/// `source_conformance!(memory, async { (Memory, ()) });`
#[macro_export]
macro_rules! source_conformance {
    ($module:ident, $fresh:expr) => {
        $crate::source_conformance!(
            @tests $module, $fresh,
            size_is_stable reads_are_exact ranges_outside empty_ranges overlapping_calls
            dropped_reads one_version missing_blob
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
    #[expect(clippy::expect_used, reason = "a test without a runtime can't go on")]
    runtime.expect("a tokio runtime").block_on(check)
}

/// Item 1: the size is the blob's, at every call.
///
/// # Errors
///
/// The violation that was found.
pub async fn size_is_stable<S: Subject + ?Sized>(subject: &S) -> Checked {
    for length in [0, 1, 70_000] {
        let source = subject.create(pattern(length, 0)).await;
        for _ in 0..3 {
            let size = source.size().await;
            ensure("1", size.as_ref().ok() == Some(&(length as u64)), || {
                format!("size of a blob of {length} bytes: {size:?}")
            })?;
        }
    }
    Ok(())
}

/// Item 2: exactly the bytes of the range.
///
/// # Errors
///
/// The violation that was found.
pub async fn reads_are_exact<S: Subject + ?Sized>(subject: &S) -> Checked {
    let bytes = pattern(70_000, 0);
    let source = subject.create(bytes.clone()).await;
    for range in [0..1, 0..70_000, 69_999..70_000, 1..69_999, 4_095..4_097, 12_345..54_321] {
        expect_bytes("2", &*source, &bytes, range).await?;
    }
    Ok(())
}

/// Item 3: a range outside the blob is refused.
///
/// # Errors
///
/// The violation that was found.
pub async fn ranges_outside<S: Subject + ?Sized>(subject: &S) -> Checked {
    let source = subject.create(pattern(100, 0)).await;
    #[expect(clippy::reversed_empty_ranges, reason = "refusing those is what is checked")]
    for range in [0..101, 100..101, 101..101, 60..40, u64::MAX - 1..u64::MAX, u64::MAX..0] {
        let answer = source.read(range.clone()).await;
        let kind = answer.as_ref().err().map(crate::Error::kind);
        ensure("3", kind == Some(ErrorKind::Invalid), || {
            format!("range {range:?} of 100 bytes: {answer:?}, not an Invalid error")
        })?;
    }
    Ok(())
}

/// Item 4: an empty range gives nothing.
///
/// # Errors
///
/// The violation that was found.
pub async fn empty_ranges<S: Subject + ?Sized>(subject: &S) -> Checked {
    for (length, at) in [(100, 0), (100, 50), (100, 100), (0, 0)] {
        let source = subject.create(pattern(length, 0)).await;
        expect_bytes("4", &*source, &pattern(length, 0), at..at).await?;
    }
    Ok(())
}

/// Item 5: calls overlap in time, and each gets its own bytes.
///
/// # Errors
///
/// The violation that was found.
pub async fn overlapping_calls<S: Subject + ?Sized>(subject: &S) -> Checked {
    let bytes = pattern(70_000, 0);
    let source = subject.create(bytes.clone()).await;
    let reads = (0..24).map(|number| {
        let start = number * 2_711 % 60_000;
        expect_bytes("5", &*source, &bytes, start..start + 100 * (number + 1))
    });
    join_all(reads).await.into_iter().collect()
}

/// Item 6: a read that is dropped, before or while it works, harms no other.
///
/// # Errors
///
/// The violation that was found.
pub async fn dropped_reads<S: Subject + ?Sized>(subject: &S) -> Checked {
    let bytes = pattern(70_000, 0);
    let source = subject.create(bytes.clone()).await;
    for polls in 0..6 {
        let mut read = source.read(0..70_000);
        for _ in 0..polls {
            let polled = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if polled.is_ready() {
                break;
            }
            // Lets what the adapter waits for move on a little.
            tokio::task::yield_now().await;
        }
        drop(read);
        expect_bytes("6", &*source, &bytes, 100..300).await?;
    }
    Ok(())
}

/// Item 7: bytes of another version are never given.
///
/// # Errors
///
/// The violation that was found.
pub async fn one_version<S: Subject + ?Sized>(subject: &S) -> Checked {
    for length in [70_000, 80_000] {
        let old = pattern(70_000, 0);
        let source = subject.create(old.clone()).await;
        expect_bytes("7", &*source, &old, 0..10).await?;
        if !subject.replace(pattern(length, 1)).await {
            return Ok(());
        }
        for range in [0..10, 500..69_000] {
            let answer = source.read(range.clone()).await;
            let kept = match &answer {
                Ok(bytes) => *bytes == part(&old, &range),
                Err(error) => error.kind() == ErrorKind::Changed,
            };
            ensure("7", kept, || {
                let answer = answer.as_ref().map(Bytes::len);
                format!("range {range:?} after the bytes were replaced: {answer:?}")
            })?;
        }
    }
    Ok(())
}

/// Item 8: a blob that does not exist is told as such.
///
/// # Errors
///
/// The violation that was found.
pub async fn missing_blob<S: Subject + ?Sized>(subject: &S) -> Checked {
    let size = match subject.missing().await {
        None => return Ok(()),
        Some(Ok(source)) => source.size().await,
        Some(Err(error)) => Err(error),
    };
    let kind = size.as_ref().err().map(crate::Error::kind);
    ensure("8", kind == Some(ErrorKind::NotFound), || {
        format!("size of a missing blob: {size:?}, not a NotFound error")
    })
}

async fn expect_bytes(
    item: &'static str,
    source: &dyn Source,
    bytes: &Bytes,
    range: Range<u64>,
) -> Checked {
    let expected = part(bytes, &range);
    match source.read(range.clone()).await {
        Ok(read) if read == expected => Ok(()),
        Ok(read) if read.len() == expected.len() => {
            violated(item, format!("range {range:?}: other bytes than the blob's"))
        }
        Ok(read) => violated(item, format!("range {range:?}: {} bytes", read.len())),
        Err(error) => violated(item, format!("range {range:?}: {error}")),
    }
}

/// Bytes that differ from place to place and between versions.
fn pattern(length: usize, version: u8) -> Bytes {
    let byte = |at: usize| (at % 251).to_le_bytes()[0] ^ (at / 251 % 256).to_le_bytes()[0];
    (0..length).map(|at| byte(at).wrapping_add(version)).collect()
}

fn part(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(range.start)..at(range.end))
}

fn ensure(item: &'static str, kept: bool, seen: impl FnOnce() -> String) -> Checked {
    if kept { Ok(()) } else { violated(item, seen()) }
}

fn violated(item: &'static str, seen: String) -> Checked {
    Err(Violation { item, seen })
}

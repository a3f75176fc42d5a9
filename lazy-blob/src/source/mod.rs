//! The port through which the bytes of a blob come, and its adapters.

mod fault;
mod file;
#[cfg(feature = "http")]
mod http;
mod memory;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

pub use fault::{Fault, FaultSource, FaultStats, ReadCall};
pub use file::FileSource;
#[cfg(feature = "http")]
pub use http::{HttpClient, HttpConfig, HttpSource};
pub use memory::MemorySource;

/// Ranged reads of one immutable blob.
///
/// # Contract
///
/// 1. `size` gives the blob's length in bytes, and the same at every call.
/// 2. `read` gives exactly the bytes of the range, `end - start` of them, or an error; never more,
///    never fewer.
/// 3. A range that ends after the blob, or that ends before it starts, is
///    [`Invalid`](ErrorKind::Invalid).
/// 4. An empty range within the blob, its end included, gives no bytes and no error.
/// 5. Calls may overlap in time; each gets its own bytes.
/// 6. Dropping the future of a `read` leaves the source usable.
/// 7. A source reads one version of the blob. Where the bytes behind it are replaced, later reads
///    fail with [`Changed`](ErrorKind::Changed) or still give the old bytes; they never give the
///    new ones.
/// 8. A blob that does not exist is [`NotFound`](ErrorKind::NotFound), at the latest when its size
///    is asked.
///
/// A source need not verify bytes: the blob checks each span against its digest. One `read` is
/// one request, so callers ask for ranges that are worth a round trip.
#[async_trait]
pub trait Source: Send + Sync + fmt::Debug {
    /// The blob's length in bytes.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) where there is no such blob, and what the adapter says.
    async fn size(&self) -> Result<u64>;

    /// Exactly the bytes of `range`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a range outside the blob,
    /// [`Changed`](ErrorKind::Changed) for a blob that was replaced,
    /// [`Unavailable`](ErrorKind::Unavailable) where a later try may succeed.
    async fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

#[async_trait]
impl<S: Source + ?Sized> Source for Arc<S> {
    async fn size(&self) -> Result<u64> {
        (**self).size().await
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        (**self).read(range).await
    }
}

/// Contract item 3, the same for all adapters: the range's length if it lies within `size`.
fn check_range(range: &Range<u64>, size: u64) -> Result<u64> {
    if range.start <= range.end && range.end <= size {
        return Ok(range.end - range.start);
    }
    let Range { start, end } = range;
    Err(Error::new(
        ErrorKind::Invalid,
        format!("range {start}..{end} of a blob of {size} bytes: ask within the blob"),
    ))
}

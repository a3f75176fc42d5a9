//! A blob in memory.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Source, check_range};
use crate::error::{Error, ErrorKind, Result};

/// A [`Source`] over bytes in memory; a read shares them and copies nothing.
///
/// ```
/// use lazy_blob::{MemorySource, Source};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let source = MemorySource::new("0123456789");
/// assert_eq!(source.read(2..5).await?, "234");
/// # Ok::<(), lazy_blob::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemorySource {
    bytes: Bytes,
}

impl MemorySource {
    /// A source of `bytes`.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into() }
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn size(&self) -> Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        check_range(&range, self.bytes.len() as u64)?;
        // In range, so both ends fit in usize.
        let ends = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let (start, end) =
            ends.ok_or_else(|| Error::new(ErrorKind::Invalid, "range beyond the address space"))?;
        Ok(self.bytes.slice(start..end))
    }
}

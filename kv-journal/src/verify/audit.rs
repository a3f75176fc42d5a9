//! Reading a whole journal and comparing it with a digest.

use super::record::header_of;
use super::tree::{RunningRoot, record_hash};
use super::{Digest, refused};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Entry, Journal, ReadLimits};

/// What an audit has read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AuditReport {
    /// Records that the digest covers: all of them are what it commits to.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records after them, which this digest says nothing about.
    pub newer: u64,
}

/// Reads a journal from its first record and checks that its first `digest.tree_size` records are
/// what the digest commits to, each with the revision after the one before it.
///
/// It needs no store, only the journal: of a store that is closed, or of a copy. It holds one read's
/// worth of records in memory.
///
/// # Errors
/// `Corrupt` if the journal is not what the digest commits to, or cannot be read; `Trimmed` if its
/// beginning is gone: audit a copy that was taken before; and what the journal fails with.
///
/// # Cancel safety
/// Dropping the future has no effect.
pub async fn audit(journal: &dyn Journal, digest: &Digest) -> Result<AuditReport> {
    let tail = journal.tail().await?;
    if tail.first_seq > 1 {
        return Err(trimmed(tail.first_seq));
    }
    let mut reading = Reading { revision: 1, bytes: 0, root: RunningRoot::default() };
    while reading.root.leaves() < digest.tree_size {
        let next = reading.root.leaves() + 1;
        let left = usize::try_from(digest.tree_size - reading.root.leaves()).unwrap_or(usize::MAX);
        let limits = ReadLimits::default();
        let limits = ReadLimits { records: limits.records.min(left), ..limits };
        let entries = journal.read(next, limits).await?;
        if entries.is_empty() || entries.len() > left {
            return Err(refused("the journal has fewer records than the digest"));
        }
        entries.iter().try_for_each(|entry| reading.take(entry))?;
    }
    reading.compare(digest)?;
    Ok(AuditReport {
        records: digest.tree_size,
        bytes: reading.bytes,
        newer: (tail.next_seq - 1).saturating_sub(digest.tree_size),
    })
}

/// What was read so far comes to this.
struct Reading {
    revision: u64,
    bytes: u64,
    root: RunningRoot,
}

impl Reading {
    fn take(&mut self, entry: &Entry) -> Result<()> {
        if entry.seq != self.root.leaves() + 1 {
            return Err(refused("the journal's records are not in their order"));
        }
        let header = header_of(&entry.payload)?;
        let next = self.revision.saturating_add(1);
        if header.revision > next || (header.transaction && header.revision != next) {
            return Err(refused("a revision of the journal does not follow the one before it"));
        }
        self.revision = self.revision.max(header.revision);
        self.bytes += entry.payload.len() as u64;
        self.root.push(record_hash(&entry.payload));
        Ok(())
    }

    fn compare(&self, digest: &Digest) -> Result<()> {
        if self.root.root() != digest.root {
            return Err(refused("the journal's records are not what the digest commits to"));
        }
        if self.revision != digest.revision {
            return Err(refused("the digest's revision is not that of its last record"));
        }
        Ok(())
    }
}

fn trimmed(first_seq: u64) -> Error {
    Error::new(
        ErrorKind::Trimmed { first_seq },
        format!("the journal begins at record {first_seq}: audit a copy that has them all"),
    )
}

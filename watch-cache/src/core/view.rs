//! What readers see: one immutable value, published whole.

use std::sync::Arc;

use cow_tree::{Log, Place};

use super::digest::Digest;
use super::mark::Mark;
use super::object::Object;
use super::past::Lost;
use super::root::Root;
use super::trail::Trail;
use crate::error::{Error, ErrorKind, Result};

/// A watcher that is more revisions of its group behind than that reads all of the log instead.
const FOUND: usize = 1024;

/// A revision concerned a group of watchers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Post {
    pub(crate) group: u32,
    /// The revision before that did; 0 for none since the group is there.
    pub(crate) before: u64,
}

/// One key's change in the event log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) revision: u64,
    pub(crate) version: Object,
    /// With the first change of a revision: the groups that the revision concerned.
    pub(crate) posts: Option<Arc<[Post]>>,
}

impl Place for Entry {
    fn place(&self) -> u64 {
        self.revision
    }
}

/// A revision, and what it changed, in the order of the keys.
pub(crate) type Logged<'a> = (u64, &'a [Entry]);

/// Revisions of which nothing is known, since the source had compacted them: those above `after`
/// and below `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) after: u64,
    pub(crate) until: u64,
}

/// The cache's state as published. Cloning it costs the same at any size, and what a reader does
/// with its clone is nothing to the writer.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// False until the first listing is in.
    pub(crate) ready: bool,
    /// Counts how often all that was said before proved untrustworthy.
    pub(crate) epoch: u64,
    /// The revision that the state is known to hold at; at least that of `root`.
    pub(crate) revision: u64,
    pub(crate) root: Arc<Root>,
    /// Of the objects at `revision`.
    pub(crate) digest: Digest,
    /// The changes of every revision above `log_floor`, and of a few that left it.
    pub(crate) log: Log<Entry>,
    /// How many revisions are in the log.
    pub(crate) log_revisions: usize,
    /// The oldest revision that can be read, and that a watch can go on after.
    pub(crate) log_floor: u64,
    pub(crate) gaps: Arc<[Gap]>,
    pub(crate) trail: Trail,
}

impl View {
    pub(crate) fn new(indexes: usize) -> Self {
        Self {
            ready: false,
            epoch: 0,
            revision: 0,
            root: Arc::new(Root::new(indexes)),
            digest: Digest::default(),
            log: Log::new(),
            log_revisions: 0,
            log_floor: 0,
            gaps: Arc::new([]),
            trail: Trail::default(),
        }
    }

    /// Whether the state at `revision` can be read, and a watch can go on after it.
    pub(crate) fn check(&self, revision: u64) -> Result<()> {
        if revision > self.revision {
            return Err(self.too_large(revision));
        }
        if let Some(gap) = self.gap(revision) {
            return Err(expired(revision, gap.until.max(self.log_floor)));
        }
        if revision < self.log_floor {
            return Err(expired(revision, self.log_floor));
        }
        Ok(())
    }

    /// The gap that a revision is in: what was there then the cache may never have seen.
    pub(crate) fn gap(&self, revision: u64) -> Option<&Gap> {
        self.gaps.iter().find(|gap| revision > gap.after && revision < gap.until)
    }

    pub(crate) fn too_large(&self, revision: u64) -> Error {
        let current_revision = self.revision;
        Error::new(
            ErrorKind::TooLarge { current_revision },
            format!("revision {revision} is not reached yet: retry, or read at {current_revision}"),
        )
    }

    /// The digest of the objects at a retained revision, in `O(changes since)`.
    pub(crate) fn digest_at(&self, revision: u64) -> Result<Digest, Lost> {
        let mut digest = self.digest;
        let since = self.log.from(revision + 1).flat_map(|(_, entries)| entries);
        for Entry { version, .. } in since {
            if !version.is_delete() {
                digest.remove(version.key(), version.mod_revision());
            }
            if let Some(replaced) = version.replaced()? {
                digest.add(replaced.key(), replaced.mod_revision());
            }
        }
        Ok(digest)
    }

    /// At most `limit` revisions above `position`, and the position behind them.
    pub(crate) fn read(&self, position: u64, limit: usize) -> Result<(Vec<Logged<'_>>, u64)> {
        if position < self.log_floor {
            return Err(expired(position, self.log_floor));
        }
        let revisions: Vec<_> = self.log.from(position + 1).take(limit).collect();
        let reached = match revisions.last() {
            Some((last, _)) if revisions.len() == limit => *last,
            _ => self.revision.max(position),
        };
        Ok((revisions, reached))
    }

    /// The revisions above `position`, up to `head`, that concerned the group of `mark`, which was
    /// there before. None if they are so many that reading all is better.
    pub(crate) fn read_posts(
        &self,
        mark: &Mark,
        position: u64,
        head: u64,
    ) -> Result<Option<Vec<Logged<'_>>>> {
        let mut found = Vec::new();
        let mut at = head;
        while at > position {
            if found.len() == FOUND {
                return Ok(None);
            }
            let entries = if at > self.log_floor { self.log.at(at) } else { &[] };
            let posts = entries.first().and_then(|first| first.posts.as_deref());
            let post = posts.unwrap_or_default().iter().find(|post| post.group == mark.id);
            let post = post.ok_or_else(|| expired(position, self.log_floor))?;
            found.push((at, entries));
            at = post.before;
        }
        found.reverse();
        Ok(Some(found))
    }
}

pub(crate) fn expired(revision: u64, oldest_revision: u64) -> Error {
    Error::new(
        ErrorKind::Expired { oldest_revision },
        format!("revision {revision} left the history: list again at {oldest_revision} or later"),
    )
}

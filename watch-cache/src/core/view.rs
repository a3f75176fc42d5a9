//! What readers see: one immutable value, published whole.

use std::ops::Bound;
use std::sync::Arc;

use cow_tree::Tree;

use super::index::Indexed;
use super::interest::Mark;
use super::root::Root;
use crate::error::{Error, ErrorKind, Result};

/// One key's change, as applied.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) old: Option<Arc<Indexed>>,
    pub(crate) new: Option<Arc<Indexed>>,
}

/// One revision of the event log.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) revision: u64,
    pub(crate) changes: Vec<Applied>,
}

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
    /// The kept roots, by the revision that made them. Between two that follow each other lie at
    /// most [`snapshot_changes`](crate::Config::snapshot_changes) changes, or one revision.
    pub(crate) roots: Tree<u64, Arc<Root>>,
    /// The oldest revision that can be listed exactly, at least `log_floor`.
    pub(crate) oldest: u64,
    /// The changes of every revision above `log_floor`.
    pub(crate) log: Tree<u64, Arc<Entry>>,
    pub(crate) log_floor: u64,
    /// The part of the log that touches a group of watchers, by group and revision.
    pub(crate) postings: Tree<(u64, u64), Arc<Entry>>,
    pub(crate) gaps: Arc<[Gap]>,
}

impl View {
    pub(crate) fn new(indexes: usize) -> Self {
        Self {
            ready: false,
            epoch: 0,
            revision: 0,
            root: Arc::new(Root::new(indexes)),
            roots: Tree::new(),
            oldest: 0,
            log: Tree::new(),
            log_floor: 0,
            postings: Tree::new(),
            gaps: Arc::new([]),
        }
    }

    /// How many states can be listed exactly.
    pub(crate) fn snapshots(&self) -> usize {
        let after = (Bound::Excluded(self.oldest), Bound::Unbounded);
        usize::from(self.ready) + self.log.count_of::<u64, _>(after)
    }

    /// The revision that made the state at `revision`, if that can be listed exactly.
    pub(crate) fn state_at(&self, revision: u64) -> Result<u64> {
        if revision > self.revision {
            return Err(self.too_large(revision));
        }
        self.check_known(revision)?;
        if revision < self.oldest {
            return Err(expired(revision, self.oldest));
        }
        Ok(self.made_by(revision))
    }

    /// The revision that made the state at `revision`, which the log must reach back to.
    pub(crate) fn made_by(&self, revision: u64) -> u64 {
        let made_by = self.log.range(..=revision).next_back();
        made_by.map_or(self.log_floor, |(made_by, _)| *made_by)
    }

    /// The root that is nearest to the state that `revision` made, at it or after it.
    pub(crate) fn nearest(&self, revision: u64) -> &Arc<Root> {
        self.roots.range(revision..).next().map_or(&self.root, |(_, root)| root)
    }

    /// The state that `revision` made: the nearest root without what the log has between. The log
    /// holds the objects as they were, so it can be read backwards, and one that was cut short
    /// still serves every revision that it has.
    pub(crate) fn rebuild(&self, revision: u64) -> Root {
        let nearest = self.nearest(revision);
        let mut root = Root::clone(nearest);
        if revision < root.revision {
            let after = (Bound::Excluded(revision), Bound::Included(root.revision));
            let changes = self.log.range(after).rev().flat_map(|(_, entry)| &entry.changes);
            changes.for_each(|change| root.take_back(change));
            root.revision = revision;
        }
        root
    }

    /// Whether a watch can go on after `revision`.
    pub(crate) fn check_resume(&self, revision: u64) -> Result<()> {
        if revision > self.revision {
            return Err(self.too_large(revision));
        }
        self.check_known(revision)?;
        if revision < self.log_floor {
            return Err(expired(revision, self.log_floor));
        }
        Ok(())
    }

    fn check_known(&self, revision: u64) -> Result<()> {
        let within = |gap: &&Gap| revision > gap.after && revision < gap.until;
        match self.gaps.iter().find(within) {
            Some(gap) => Err(expired(revision, gap.until)),
            None => Ok(()),
        }
    }

    pub(crate) fn too_large(&self, revision: u64) -> Error {
        let current_revision = self.revision;
        Error::new(
            ErrorKind::TooLarge { current_revision },
            format!("revision {revision} is not reached yet: retry, or read at {current_revision}"),
        )
    }

    /// At most `limit` entries above `position` that may touch the group of `mark`, and the
    /// position behind them. Without a mark, or where it began later, every entry is given.
    pub(crate) fn read(
        &self,
        mark: Option<&Mark>,
        position: u64,
        limit: usize,
    ) -> Result<(Vec<Arc<Entry>>, u64)> {
        let posted = mark.filter(|mark| mark.posted && position >= mark.since);
        let trimmed = posted.map_or(self.log_floor, |mark| mark.trimmed().min(self.log_floor));
        if trimmed > position {
            return Err(expired(position, self.log_floor));
        }
        let entries: Vec<Arc<Entry>> = if let Some(mark) = posted {
            let from = Bound::Excluded((mark.id, position));
            let range = self.postings.range((from, Bound::Included((mark.id, u64::MAX))));
            range.take(limit).map(|(_, entry)| Arc::clone(entry)).collect()
        } else {
            let range = self.log.range((Bound::Excluded(position), Bound::Unbounded));
            range.take(limit).map(|(_, entry)| Arc::clone(entry)).collect()
        };
        let reached = match entries.last() {
            Some(last) if entries.len() == limit => last.revision,
            _ => self.revision.max(position),
        };
        Ok((entries, reached))
    }
}

pub(crate) fn expired(revision: u64, oldest_revision: u64) -> Error {
    Error::new(
        ErrorKind::Expired { oldest_revision },
        format!("revision {revision} left the history: list again at {oldest_revision} or later"),
    )
}

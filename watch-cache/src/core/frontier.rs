//! Judges what the source's watches say, and joins several into one.

use std::collections::VecDeque;

use bytes::Bytes;

use super::object::MAX_LEN;
use crate::object::{Change, Revision};

/// How many revisions of one lane may wait for the other lanes. An etcd that is asked for progress
/// each 100 ms stays below it up to 40,000 writes a second.
const AHEAD: usize = 4096;

/// A source's word that cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    /// A revision at or below one that was delivered.
    Replayed,
    /// Progress of 0, or back.
    Backward,
    /// A revision that holds nothing, a key outside the prefix or twice, another revision's object
    /// or one that is too large.
    Malformed,
    /// A revision at or below an earlier progress: what was believed since then is wrong.
    Early,
}

/// What the joined watches have reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advance {
    /// Whole revisions over all prefixes, ascending.
    pub(crate) revisions: Vec<Revision>,
    /// Every prefix is complete up to here.
    pub(crate) reached: u64,
}

#[derive(Debug)]
struct Lane {
    prefix: Bytes,
    event: u64,
    reached: u64,
    pending: VecDeque<Revision>,
}

/// One lane for each prefix. A revision is let through once every lane has reached it, since the
/// others may have a part of it.
#[derive(Debug)]
pub(crate) struct Frontier {
    lanes: Vec<Lane>,
    position: u64,
}

impl Frontier {
    /// Watches that begin after `position`.
    pub(crate) fn new(prefixes: &[Bytes], position: u64) -> Self {
        let lane = |prefix: &Bytes| Lane {
            prefix: prefix.clone(),
            event: position,
            reached: position,
            pending: VecDeque::new(),
        };
        Self { lanes: prefixes.iter().map(lane).collect(), position }
    }

    /// Takes a revision from the watch of the prefix at `lane`.
    pub(crate) fn revision(&mut self, lane: usize, revision: Revision) -> Result<(), Breach> {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return Ok(());
        };
        if revision.revision <= lane.event {
            return Err(Breach::Replayed);
        }
        if revision.revision <= lane.reached {
            return Err(Breach::Early);
        }
        if !well_formed(&lane.prefix, &revision) {
            return Err(Breach::Malformed);
        }
        lane.event = revision.revision;
        lane.reached = revision.revision;
        lane.pending.push_back(revision);
        Ok(())
    }

    /// Takes progress from the watch of the prefix at `lane`.
    pub(crate) fn progress(&mut self, lane: usize, revision: u64) -> Result<(), Breach> {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return Ok(());
        };
        if revision == 0 || revision < lane.reached {
            return Err(Breach::Backward);
        }
        lane.reached = revision;
        Ok(())
    }

    /// Whether so much of the lane waits for others that it should not be read on. There is always
    /// a lane that is not: nothing of the one that is furthest behind waits.
    pub(crate) fn is_ahead(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.pending.len() >= AHEAD)
    }

    /// What is complete now, if that is more than before.
    pub(crate) fn advance(&mut self) -> Option<Advance> {
        let reached = self.lanes.iter().map(|lane| lane.reached).min()?;
        if reached <= self.position {
            return None;
        }
        self.position = reached;
        let mut parts: Vec<Revision> = Vec::new();
        for lane in &mut self.lanes {
            let complete = lane.pending.partition_point(|revision| revision.revision <= reached);
            parts.extend(lane.pending.drain(..complete));
        }
        if self.lanes.len() > 1 {
            parts = join(parts);
        }
        Some(Advance { revisions: parts, reached })
    }
}

fn well_formed(prefix: &Bytes, revision: &Revision) -> bool {
    let changes = &revision.changes;
    let right = |change: &Change| {
        let of_revision = match change {
            Change::Put(object) => {
                object.mod_revision == revision.revision
                    && object.key.len() + object.value.len() <= MAX_LEN
            }
            Change::Delete(_) => true,
        };
        of_revision && change.key().starts_with(prefix)
    };
    if changes.len() > 1 {
        let mut keys: Vec<&Bytes> = changes.iter().map(Change::key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|two| matches!(two, [a, b] if a == b)) {
            return false;
        }
    }
    !changes.is_empty() && changes.iter().all(right)
}

/// Sorts by revision, and makes one of the parts of a revision.
fn join(mut parts: Vec<Revision>) -> Vec<Revision> {
    parts.sort_by_key(|part| part.revision);
    let mut joined: Vec<Revision> = Vec::with_capacity(parts.len());
    for part in parts {
        match joined.last_mut() {
            Some(last) if last.revision == part.revision => last.changes.extend(part.changes),
            _ => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::SourceObject;

    fn put(key: &'static str, revision: u64) -> Revision {
        let (key, value) = (Bytes::from(key), Bytes::new());
        let object = SourceObject { key, value, create_revision: revision, mod_revision: revision };
        Revision { revision, changes: vec![Change::Put(object)] }
    }

    fn two() -> Frontier {
        Frontier::new(&[Bytes::from("/a"), Bytes::from("/b")], 5)
    }

    #[test]
    fn a_revision_waits_for_every_prefix_and_is_joined() {
        let mut frontier = two();
        frontier.revision(0, put("/a/1", 6)).unwrap();
        frontier.revision(0, put("/a/1", 7)).unwrap();
        assert_eq!(frontier.advance(), None);
        frontier.revision(1, put("/b/1", 7)).unwrap();
        let advance = frontier.advance().unwrap();
        let shape: Vec<_> =
            advance.revisions.iter().map(|r| (r.revision, r.changes.len())).collect();
        assert_eq!((shape, advance.reached), (vec![(6, 1), (7, 2)], 7));
        frontier.progress(0, 9).unwrap();
        assert_eq!(frontier.advance(), None);
        frontier.progress(1, 8).unwrap();
        assert_eq!(frontier.advance(), Some(Advance { revisions: vec![], reached: 8 }));
    }

    #[test]
    fn a_lane_that_is_far_ahead_waits_and_never_all_do() {
        let mut frontier = two();
        for revision in 6.. {
            if frontier.is_ahead(0) {
                break;
            }
            frontier.revision(0, put("/a/1", revision)).unwrap();
            assert_eq!(frontier.advance(), None);
        }
        assert!(!frontier.is_ahead(1));
        frontier.progress(1, 6).unwrap();
        assert_eq!(frontier.advance().unwrap().revisions.len(), 1);
        assert!(!frontier.is_ahead(0));
    }

    #[test]
    fn every_breach_is_named() {
        let mut frontier = two();
        frontier.revision(0, put("/a/1", 7)).unwrap();
        frontier.progress(0, 9).unwrap();
        assert_eq!(frontier.revision(0, put("/a/1", 7)), Err(Breach::Replayed));
        assert_eq!(frontier.revision(0, put("/a/1", 9)), Err(Breach::Early));
        assert_eq!(frontier.revision(0, put("/b/1", 10)), Err(Breach::Malformed));
        let empty = Revision { revision: 10, changes: vec![] };
        assert_eq!(frontier.revision(0, empty), Err(Breach::Malformed));
        let twice = vec![Change::Delete("/a/1".into()), Change::Delete("/a/1".into())];
        let twice = Revision { revision: 10, changes: twice };
        assert_eq!(frontier.revision(0, twice), Err(Breach::Malformed));
        assert_eq!(frontier.progress(0, 0), Err(Breach::Backward));
        assert_eq!(frontier.progress(0, 8), Err(Breach::Backward));
        assert_eq!(frontier.progress(0, 9), Ok(()));
    }
}

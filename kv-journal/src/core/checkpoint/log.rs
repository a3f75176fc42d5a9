//! The log of events, made again from the versions and from what the order frames say.
#![deny(clippy::indexing_slicing)]

use super::damaged;
use super::header::Header;
use super::order::Listed;
use crate::core::entry::tombstone;
use crate::core::log::{Change, Changes, Log};
use crate::core::retained::log_of;
use crate::error::Result;

type Revision = (u64, Changes);

/// Puts the changes of each revision together, in their order. `changes` come in key order.
pub(super) fn build(header: &Header, changes: Vec<Vec<Change>>, listed: &[Listed]) -> Result<Log> {
    let changes = changes.into_iter().flatten();
    let mut changes: Vec<_> = changes.map(|change| (change.kv.mod_revision(), change)).collect();
    // Stable, so that the changes of a revision stay in key order.
    changes.sort_by_key(|(revision, _)| *revision);
    let mut revisions = group(changes);
    reorder(&mut revisions, listed, header)?;
    let expected = header.revision - header.compact_revision.max(1);
    let logged = revisions.iter().filter(|(revision, _)| *revision > header.compact_revision);
    // The empty store's revision is the one that has no changes.
    let logged = logged.filter(|(revision, _)| *revision > 1).count();
    if logged as u64 == expected { Ok(log_of(revisions)) } else { Err(damaged("a revision less")) }
}

fn group(changes: Vec<(u64, Change)>) -> Vec<Revision> {
    let mut revisions = Vec::new();
    let mut changes = changes.into_iter().peekable();
    while let Some((revision, first)) = changes.next() {
        let more = || changes.next_if(|(next, _)| *next == revision).map(|(_, change)| change);
        let together = std::iter::once(first).chain(std::iter::from_fn(more)).collect();
        revisions.push((revision, together));
    }
    revisions
}

/// Replaces the revisions that are listed.
fn reorder(revisions: &mut Vec<Revision>, listed: &[Listed], header: &Header) -> Result<()> {
    let mut before = header.first_logged() - 1;
    for listed in listed.chunk_by(|a, b| a.revision == b.revision) {
        let revision = listed.first().map_or(0, |first| first.revision);
        if revision <= before || revision > header.revision {
            return Err(damaged("events out of order"));
        }
        before = revision;
        let deletes = revision == header.compact_revision;
        match revisions.binary_search_by_key(&revision, |(revision, _)| *revision) {
            Ok(at) => {
                if let Some((_, changes)) = revisions.get_mut(at) {
                    *changes = in_order(changes.as_slice(), listed, deletes)?;
                }
            }
            // Of the compact revision alone everything may have been deletes: it is the first.
            Err(at) => revisions.insert(at, (revision, in_order(&[], listed, deletes)?)),
        }
    }
    Ok(())
}

/// `changes`, which are in key order, in the order listed. With `deletes` the list has deletes
/// that are not among them.
fn in_order(changes: &[Change], listed: &[Listed], deletes: bool) -> Result<Changes> {
    let mut used = vec![false; changes.len()];
    let ordered = listed.iter().map(|name| {
        if deletes && name.deleted {
            let kv = tombstone(&name.key, name.revision, 0, None);
            return Ok(Change { kv, replaced_bytes: 0 });
        }
        let at = changes.binary_search_by(|change| change.key().cmp(&name.key)).ok();
        let fresh = at.and_then(|at| used.get_mut(at)).filter(|used| !**used);
        let found = fresh.map(|used| *used = true).and(at).and_then(|at| changes.get(at));
        found
            .filter(|change| change.kv.is_delete() == name.deleted)
            .cloned()
            .ok_or_else(|| damaged("an event without a version"))
    });
    let ordered = ordered.collect::<Result<Vec<_>>>()?;
    if used.into_iter().all(|used| used) {
        Ok(ordered.into_iter().collect())
    } else {
        Err(damaged("a version without an event"))
    }
}

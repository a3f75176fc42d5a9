//! The log of events, made again from the versions and from what the order frames say.
#![deny(clippy::indexing_slicing)]

use super::damaged;
use super::header::Header;
use super::order::Listed;
use crate::core::entry::tombstone;
use crate::core::log::Log;
use crate::core::value::KeyValue;
use crate::error::{Error, Result};

/// Puts the changes of each revision together, in their order. `changes` come in key order.
pub(super) fn build(
    header: &Header,
    changes: Vec<Vec<KeyValue>>,
    listed: &[Listed],
) -> Result<Log> {
    let Sorted { mut changes, ends } = Sorted::new(header, changes)?;
    let mut rest = changes.as_mut_slice();
    let mut listed = listed.chunk_by(|a, b| a.revision == b.revision).peekable();
    let mut log = Log::new();
    let mut begin = 0;
    for (revision, end) in (header.first_logged()..).zip(ends) {
        let (of_it, after) = rest.split_at_mut_checked(end - begin).ok_or_else(a_revision_less)?;
        (rest, begin) = (after, end);
        let mut of_it = of_it.iter_mut().filter_map(Option::take).peekable();
        let compacted = revision == header.compact_revision;
        let is_it = |names: &&[Listed]| names.iter().all(|name| name.revision == revision);
        if let Some(names) = listed.next_if(is_it) {
            log.push(in_order(&of_it.collect::<Vec<_>>(), names, compacted)?);
        } else if of_it.peek().is_some() {
            log.push(of_it);
        } else if !compacted {
            // Every revision changed something. Of the compact one it may all be compacted.
            return Err(a_revision_less());
        }
    }
    if listed.next().is_none() { Ok(log) } else { Err(damaged("events out of order")) }
}

fn a_revision_less() -> Error {
    damaged("a revision less")
}

/// Changes in the order of their revisions, and within a revision in key order.
struct Sorted {
    changes: Vec<Option<KeyValue>>,
    /// Where the changes of each revision end, from the first that is logged on.
    ends: Vec<usize>,
}

impl Sorted {
    /// Counts what each revision has, so that each change is moved to its place at once: nothing
    /// else has to be in memory beside all of them.
    fn new(header: &Header, lists: Vec<Vec<KeyValue>>) -> Result<Self> {
        let count = lists.iter().map(Vec::len).sum::<usize>();
        let revisions = header.revision.saturating_add(1).saturating_sub(header.first_logged());
        // A hostile revision cannot make a large list: only the compact one may have no change.
        let revisions = usize::try_from(revisions).ok().filter(|all| *all <= count + 1);
        let mut places = vec![0; revisions.ok_or_else(a_revision_less)?];
        let revision_of = |change: &KeyValue| {
            let revision = change.mod_revision().checked_sub(header.first_logged())?;
            usize::try_from(revision).ok()
        };
        for change in lists.iter().flatten() {
            let place = revision_of(change).and_then(|revision| places.get_mut(revision));
            *place.ok_or_else(a_revision_less)? += 1;
        }
        let mut begin = 0;
        for place in &mut places {
            begin += std::mem::replace(place, begin);
        }
        let mut changes = Vec::new();
        changes.resize_with(count, || None);
        for change in lists.into_iter().flatten() {
            let place = revision_of(&change).and_then(|revision| places.get_mut(revision));
            let place = place.ok_or_else(a_revision_less)?;
            *changes.get_mut(*place).ok_or_else(a_revision_less)? = Some(change);
            *place += 1;
        }
        Ok(Self { changes, ends: places })
    }
}

/// `changes`, which are in key order, in the order listed. With `deletes` the list has deletes
/// that are not among them.
fn in_order(changes: &[KeyValue], listed: &[Listed], deletes: bool) -> Result<Vec<KeyValue>> {
    let mut used = vec![false; changes.len()];
    let ordered = listed.iter().map(|name| {
        if deletes && name.deleted {
            return Ok(tombstone(&name.key, name.revision, 0, None));
        }
        let at = changes.binary_search_by(|change| change.key().cmp(&name.key)).ok();
        let fresh = at.and_then(|at| used.get_mut(at)).filter(|used| !**used);
        let found = fresh.map(|used| *used = true).and(at).and_then(|at| changes.get(at));
        found
            .filter(|change| change.is_delete() == name.deleted)
            .cloned()
            .ok_or_else(|| damaged("an event without a version"))
    });
    let ordered = ordered.collect::<Result<Vec<_>>>()?;
    if used.into_iter().all(|used| used) {
        Ok(ordered)
    } else {
        Err(damaged("a version without an event"))
    }
}

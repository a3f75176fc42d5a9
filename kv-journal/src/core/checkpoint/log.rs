//! The log of events, made again from the versions and from what the order frames say.
#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use super::damaged;
use super::header::Header;
use super::order::Listed;
use crate::core::entry::tombstone;
use crate::core::retained::{Log, log_of};
use crate::core::value::{Event, EventKind};
use crate::error::Result;

type Revision = (u64, Arc<[Event]>);

/// Puts the events of each revision together, in their order. `events` come in key order.
pub(super) fn build(
    header: &Header,
    events: Vec<Vec<(u64, Event)>>,
    listed: &[Listed],
) -> Result<Log> {
    let mut events: Vec<(u64, Event)> = events.into_iter().flatten().collect();
    // Stable, so that the events of a revision stay in key order.
    events.sort_by_key(|(revision, _)| *revision);
    let mut revisions = group(events);
    reorder(&mut revisions, listed, header)?;
    let expected = header.revision - header.compact_revision.max(1);
    let logged = revisions.iter().filter(|(revision, _)| *revision > header.compact_revision);
    // The empty store's revision is the one that has no events.
    let logged = logged.filter(|(revision, _)| *revision > 1).count();
    if logged as u64 == expected { Ok(log_of(revisions)) } else { Err(damaged("a revision less")) }
}

fn group(events: Vec<(u64, Event)>) -> Vec<Revision> {
    let mut revisions = Vec::new();
    let mut events = events.into_iter().peekable();
    while let Some((revision, event)) = events.next() {
        let mut more = || events.next_if(|(next, _)| *next == revision).map(|(_, event)| event);
        let together = match more() {
            None => Arc::new([event]) as Arc<[Event]>,
            Some(second) => [event, second]
                .into_iter()
                .chain(std::iter::from_fn(more))
                .collect::<Vec<_>>()
                .into(),
        };
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
                if let Some((_, events)) = revisions.get_mut(at) {
                    *events = in_order(events, listed, deletes)?;
                }
            }
            // Of the compact revision alone everything may have been deletes: it is the first.
            Err(at) => revisions.insert(at, (revision, in_order(&[], listed, deletes)?)),
        }
    }
    Ok(())
}

/// `events`, which are in key order, in the order listed. With `deletes` the list has deletes
/// that are not among them.
fn in_order(events: &[Event], listed: &[Listed], deletes: bool) -> Result<Arc<[Event]>> {
    let mut used = vec![false; events.len()];
    let ordered = listed.iter().map(|name| {
        if deletes && name.deleted {
            let kv = tombstone(&name.key, name.revision, None);
            return Ok(Event { kind: EventKind::Delete, kv, prev_kv: None });
        }
        let at = events.binary_search_by(|event| event.kv.key().cmp(&name.key)).ok();
        let fresh = at.and_then(|at| used.get_mut(at)).filter(|used| !**used);
        let found = fresh.map(|used| *used = true).and(at).and_then(|at| events.get(at));
        found
            .filter(|event| (event.kind == EventKind::Delete) == name.deleted)
            .cloned()
            .ok_or_else(|| damaged("an event without a version"))
    });
    let ordered = ordered.collect::<Result<Vec<_>>>()?;
    if used.into_iter().all(|used| used) {
        Ok(ordered.into())
    } else {
        Err(damaged("a version without an event"))
    }
}

//! The order that the revisions say, against answers and real time.

use std::collections::BTreeMap;

use super::{Answer, Contradiction, Model, Operation, Outcome, Request, contradiction};
use crate::core::{Event, EventKind};
use crate::oracle::Oracle;

/// Whether every answer fits what `oracle` has at its revision, every revision has one operation
/// that explains it, and the order of revisions is one of real time: nothing sees less than what
/// was answered before it was asked, and nothing sees what was not asked yet.
///
/// `history` must hold every operation that may have changed the store.
///
/// # Errors
/// The first contradiction.
pub fn check_revisions(history: &[Operation], oracle: &Oracle) -> Result<(), Contradiction> {
    let writers = check_content(history, oracle)?;
    check_time(history, &writers)
}

/// The operation that made each revision.
type Writers<'a> = BTreeMap<u64, &'a Operation>;

/// Goes through the revisions with a model of the store; returns who made each.
fn check_content<'a>(
    history: &'a [Operation],
    oracle: &Oracle,
) -> Result<Writers<'a>, Contradiction> {
    let mut answered = by_revision(history);
    let unknown = |operation: &&Operation| operation.outcome == Outcome::Unknown;
    let mut unknown: Vec<_> = history.iter().filter(unknown).collect();
    let mut writers = Writers::new();
    let mut model = Model::default();
    for revision in 1..=oracle.revision() {
        let here = answered.remove(&revision).unwrap_or_default();
        if revision > 1 {
            let claims = here.iter().filter(|(_, answer)| answer.changed());
            let claims: Vec<_> = claims.map(|(operation, _)| *operation).collect();
            let writer = match claims[..] {
                [writer] => writer,
                [] => take_unknown(&mut unknown, &model, oracle.events(revision))
                    .ok_or_else(|| nobody(revision, oracle))?,
                _ => return contradiction(format!("{revision} was answered to all of {claims:?}")),
            };
            if !explains(writer, &mut model, oracle.events(revision)) {
                let events = oracle.events(revision);
                return contradiction(format!("{revision} is {events:?}, not {writer:?}"));
            }
            writers.insert(revision, writer);
        }
        for (operation, answer) in here.into_iter().filter(|(_, answer)| !answer.changed()) {
            if model.clone().apply(&operation.request) != *answer {
                return contradiction(format!("at {revision} there was {model:?}: {operation:?}"));
            }
        }
    }
    match answered.into_values().next() {
        Some(beyond) => contradiction(format!("the revision of {beyond:?} never was")),
        None => Ok(writers),
    }
}

type Answered<'a> = BTreeMap<u64, Vec<(&'a Operation, &'a Answer)>>;

fn by_revision(history: &[Operation]) -> Answered<'_> {
    let mut answered = Answered::new();
    for operation in history {
        if let Some((answer, revision)) = operation.answered() {
            answered.entry(revision).or_default().push((operation, answer));
        }
    }
    answered
}

/// The earliest operation of unknown outcome that does just what the revision did. Of two that do
/// the same the earlier one contradicts real time only where the later one does, too.
fn take_unknown<'a>(
    unknown: &mut Vec<&'a Operation>,
    model: &Model,
    events: &[Event],
) -> Option<&'a Operation> {
    let at =
        unknown.iter().position(|operation| explains(operation, &mut model.clone(), events))?;
    Some(unknown.remove(at))
}

fn nobody(revision: u64, oracle: &Oracle) -> Contradiction {
    let events = oracle.events(revision);
    Contradiction { seen: format!("nobody asked for revision {revision}: {events:?}") }
}

/// Whether `operation`, done on `model`, is `events`. The model is then after it.
fn explains(operation: &Operation, model: &mut Model, events: &[Event]) -> bool {
    let before = model.clone();
    if !model.apply(&operation.request).changed() {
        return false;
    }
    let mut by_events = before;
    for event in events {
        let key = event.kv.key_bytes();
        match event.kind {
            EventKind::Put => by_events.values.insert(key, event.kv.value_bytes()),
            EventKind::Delete => by_events.values.remove(&key),
        };
    }
    by_events == *model && written(&operation.request).is_none_or(|keys| keys == events.len())
}

/// How many events a write makes. A put of the value that is there already is an event, too.
fn written(request: &Request) -> Option<usize> {
    match request {
        Request::Put { .. } | Request::Swap { .. } => Some(1),
        Request::PutAll { keys, .. } => Some(keys.len()),
        _ => None,
    }
}

fn check_time(history: &[Operation], writers: &Writers<'_>) -> Result<(), Contradiction> {
    let made: BTreeMap<u64, u64> =
        writers.iter().map(|(revision, operation)| (operation.call, *revision)).collect();
    let mut moments: Vec<(u64, &Operation, bool)> = Vec::new();
    for operation in history {
        moments.push((operation.call, operation, true));
        moments.extend(operation.end.map(|end| (end, operation, false)));
    }
    moments.sort_by_key(|(time, ..)| *time);
    let mut reached = 0;
    let mut seen_by = BTreeMap::new();
    for (time, operation, is_call) in moments {
        let revision = made.get(&operation.call).copied();
        let Some(revision) = revision.or(operation.answered().map(|answered| answered.1)) else {
            continue;
        };
        let client = seen_by.entry(operation.client).or_insert(0);
        if is_call {
            let least = if operation.serializable { *client } else { reached.max(*client) };
            let makes = made.contains_key(&operation.call);
            if revision < least || (makes && revision == least) {
                return contradiction(format!("{least} was answered before {operation:?}"));
            }
            continue;
        }
        if writers.get(&revision).is_some_and(|writer| writer.call > time) {
            return contradiction(format!("{operation:?} saw a write that was not asked yet"));
        }
        *client = revision.max(*client);
        if !operation.serializable {
            reached = reached.max(revision);
        }
    }
    Ok(())
}

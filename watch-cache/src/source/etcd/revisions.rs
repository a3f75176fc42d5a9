//! Whole revisions out of what etcd sends.

use super::message::{Event, KeyValue, WatchResponse};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Change, Revision, SourceObject};
use crate::source::SourceEvent;

/// The number of a delete among the kinds of events.
const DELETE: i32 = 1;

/// Puts revisions together. A response has whole revisions, unless it is a fragment of one that was
/// too large; then the next one goes on with the last revision.
#[derive(Debug, Default)]
pub(super) struct Revisions {
    open: Option<Revision>,
}

impl Revisions {
    /// What is complete with a response.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it is not what etcd sends.
    pub(super) fn take(&mut self, response: WatchResponse) -> Result<Vec<SourceEvent>> {
        let mut complete = Vec::new();
        let is_progress = response.events.is_empty() && !response.fragment && !response.created;
        for event in response.events {
            self.event(event, &mut complete)?;
        }
        if !response.fragment {
            complete.extend(self.open.take().map(SourceEvent::Revision));
        }
        if is_progress {
            let header = response.header.ok_or_else(|| malformed("a response has no header"))?;
            complete.push(SourceEvent::Progress(revision(header.revision)?));
        }
        Ok(complete)
    }

    fn event(&mut self, event: Event, complete: &mut Vec<SourceEvent>) -> Result<()> {
        let kv = event.kv.ok_or_else(|| malformed("an event has no key"))?;
        let at = revision(kv.mod_revision)?;
        let change =
            if event.kind == DELETE { Change::Delete(kv.key) } else { Change::Put(object(kv)?) };
        if let Some(open) = self.open.take_if(|open| open.revision != at) {
            complete.push(SourceEvent::Revision(open));
        }
        let open = self.open.get_or_insert_with(|| Revision { revision: at, changes: Vec::new() });
        open.changes.push(change);
        Ok(())
    }
}

/// An object as a cache takes it.
pub(super) fn object(kv: KeyValue) -> Result<SourceObject> {
    Ok(SourceObject {
        create_revision: revision(kv.create_revision)?,
        mod_revision: revision(kv.mod_revision)?,
        key: kv.key,
        value: kv.value,
    })
}

pub(super) fn revision(of: i64) -> Result<u64> {
    u64::try_from(of).map_err(|_| malformed("a revision is negative"))
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("etcd's answer is malformed: {what}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::message::Header;
    use super::*;

    fn event(revision: i64, key: u8, kind: i32) -> Event {
        let kv = KeyValue {
            key: Bytes::from(vec![key]),
            create_revision: 1,
            mod_revision: revision,
            value: Bytes::new(),
        };
        Event { kind, kv: Some(kv) }
    }

    fn response(revision: i64, events: Vec<Event>, fragment: bool) -> WatchResponse {
        let header = Some(Header { revision });
        WatchResponse { header, fragment, events, ..WatchResponse::default() }
    }

    /// Revisions of so many changes each, from 2 on.
    fn history(sizes: &[u8]) -> Vec<(i64, Vec<Event>)> {
        let of = |(at, size): (i64, &u8)| {
            (at, (0..*size).map(|key| event(at, key, i32::from(key % 3 == 0))).collect())
        };
        (2..).zip(sizes).map(of).collect()
    }

    proptest! {
        /// However they are put into responses, and those cut into fragments.
        #[test]
        fn revisions_come_out_whole(
            sizes in prop::collection::vec(1_u8..6, 1..20),
            in_response in prop::collection::vec(1_usize..4, 20),
            cut in 1_usize..8,
        ) {
            let mut revisions = Revisions::default();
            let mut told = Vec::new();
            let mut rest = &history(&sizes)[..];
            for count in in_response {
                let (now, later) = rest.split_at(count.min(rest.len()));
                rest = later;
                let events: Vec<Event> = now.iter().flat_map(|(_, events)| events.clone()).collect();
                let parts: Vec<&[Event]> = events.chunks(cut).collect();
                for (at, part) in parts.iter().enumerate() {
                    let fragment = at + 1 < parts.len();
                    told.extend(revisions.take(response(99, part.to_vec(), fragment)).unwrap());
                }
            }
            let shape: Vec<(u64, usize)> = told
                .iter()
                .map(|event| match event {
                    SourceEvent::Revision(of) => (of.revision, of.changes.len()),
                    SourceEvent::Progress(_) => panic!("nobody asked"),
                })
                .collect();
            let expected: Vec<(u64, usize)> =
                (2..).zip(&sizes).map(|(at, size)| (at, usize::from(*size))).collect();
            assert_eq!(shape, expected);
        }

        #[test]
        fn no_response_panics(
            events in prop::collection::vec((any::<i64>(), any::<u8>(), any::<i32>(), any::<bool>()), 0..5),
            flags in any::<(bool, bool, Option<i64>)>(),
        ) {
            let (fragment, created, header) = flags;
            let events = events.into_iter().map(|(at, key, kind, kv)| {
                let event = event(at, key, kind);
                Event { kv: event.kv.filter(|_| kv), ..event }
            });
            let response = WatchResponse {
                header: header.map(|revision| Header { revision }),
                created,
                ..response(0, events.collect(), fragment)
            };
            let mut revisions = Revisions::default();
            // Whether it is refused or not.
            let _ = revisions.take(response.clone());
            let _ = revisions.take(response);
        }
    }

    #[test]
    fn progress_comes_after_what_it_covers() {
        let mut revisions = Revisions::default();
        let part = revisions.take(response(5, vec![event(5, 1, 0)], true)).unwrap();
        assert_eq!(part, []);
        let told = revisions.take(response(7, vec![], false)).unwrap();
        let [SourceEvent::Revision(of), SourceEvent::Progress(7)] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(of.revision, 5);
        let created = WatchResponse { created: true, ..response(9, vec![], false) };
        assert_eq!(revisions.take(created).unwrap(), []);
    }
}

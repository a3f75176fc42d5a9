//! The events that many watchers of a stream are told, written once.

use std::sync::Arc;

use bytes::Bytes;

use crate::core::Event;
use crate::etcd_api::stored::Events;

/// So many revisions may be under way to the watchers of a stream at a time.
const KEPT: usize = 8;

/// What was told lately.
#[derive(Debug, Default)]
pub(super) struct Copies([Option<Copy>; KEPT]);

#[derive(Debug)]
struct Copy {
    events: Arc<[Event]>,
    /// `None` as long as one watcher was told.
    written: Option<Bytes>,
}

impl Copies {
    /// The events of a revision for the next of their watchers. What is told a second time is kept
    /// as it is written.
    pub(super) fn events(&mut self, revision: u64, events: Arc<[Event]>) -> Events {
        #[expect(clippy::cast_possible_truncation, reason = "of the lowest bits")]
        let place = &mut self.0[revision as usize % KEPT];
        match place {
            Some(copy) if Arc::ptr_eq(&copy.events, &events) => {
                let written = copy.written.get_or_insert_with(|| Events::written(&events));
                Events::Written(events, written.clone())
            }
            _ => {
                *place = Some(Copy { events: Arc::clone(&events), written: None });
                Events::Stored(events)
            }
        }
    }

    /// Keeps nothing alive any more.
    pub(super) fn forget(&mut self) {
        self.0 = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::core::{EventKind, KeyValue, Meta};
    use crate::etcd_api::stored::WatchResponse;

    fn events(revision: u64, prev: bool) -> Arc<[Event]> {
        let meta = Meta { create_revision: 1, mod_revision: revision, version: 2, lease: 300 };
        let kv = KeyValue::new(b"key", &[7; 200], meta);
        let prev_kv = prev.then(|| kv.clone());
        let put = Event { kind: EventKind::Put, kv: kv.clone(), prev_kv: prev_kv.clone() };
        Arc::new([put, Event { kind: EventKind::Delete, kv, prev_kv }])
    }

    #[test]
    fn what_is_told_again_is_written_once_and_the_same() {
        let mut copies = Copies::default();
        for (revision, prev) in [(1, true), (2, false), (300, true)] {
            let told = events(revision, prev);
            let response = |events| WatchResponse { watch_id: 7, events, ..Default::default() };
            let first = response(copies.events(revision, Arc::clone(&told)));
            assert!(matches!(first.events, Events::Stored(_)));
            for _ in 0..2 {
                let again = response(copies.events(revision, Arc::clone(&told)));
                assert!(matches!(again.events, Events::Written(..)));
                assert_eq!(again.encode_to_vec(), first.encode_to_vec());
                assert_eq!(again.encoded_len(), first.encoded_len());
                assert_eq!(again, first);
            }
        }
    }

    #[test]
    fn little_is_kept_and_nothing_once_all_is_told() {
        let mut copies = Copies::default();
        let all: Vec<_> = (0..20).map(|revision| events(revision, false)).collect();
        for (revision, told) in (0..).zip(&all) {
            copies.events(revision, Arc::clone(told));
        }
        let kept = || all.iter().filter(|told| Arc::strong_count(told) > 1).count();
        assert_eq!(kept(), KEPT);
        copies.forget();
        assert_eq!(kept(), 0);
    }
}

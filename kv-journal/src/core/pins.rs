//! Which revisions anyone may still read, so that the sweep leaves alone what they need.
//!
//! A state that readers hold is pinned: it names the revisions that can be read from it. The
//! chains of versions are shared by all states, so before a chain is cut behind a version every pin
//! is asked. It needs the link if it has the version, and a revision before it. What a pin keeps is
//! noted with it, and cut when it is gone.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::value::KeyValue;

/// The pins of all states that come of one another.
#[derive(Default)]
pub(super) struct Pins {
    pinned: Mutex<Pinned>,
    /// Told when there is something to cut because a pin is gone.
    released: Arc<Notify>,
}

#[derive(Default)]
struct Pinned {
    pins: BTreeMap<u64, Keeps>,
    next: u64,
    /// What pins kept that are gone.
    released: VecDeque<VecDeque<KeyValue>>,
}

struct Keeps {
    revisions: RangeInclusive<u64>,
    /// Versions whose past was left linked because of it.
    kept: VecDeque<KeyValue>,
}

impl Keeps {
    fn needs_past_of(&self, kv: &KeyValue) -> bool {
        (*self.revisions.start() + 1..=*self.revisions.end()).contains(&kv.mod_revision())
    }
}

/// Keeps revisions readable until it is dropped.
pub(super) struct Pin {
    pins: Arc<Pins>,
    number: u64,
}

impl Pins {
    pub(super) fn pin(self: &Arc<Self>, revisions: RangeInclusive<u64>) -> Pin {
        let mut pinned = self.pinned.lock();
        let number = pinned.next;
        pinned.next += 1;
        pinned.pins.insert(number, Keeps { revisions, kept: VecDeque::new() });
        Pin { pins: Arc::clone(self), number }
    }

    /// Frees what was before these changes, which a compaction has made unreadable, except for what
    /// a pin needs: that is done when the pin is gone. The writer holds nobody up with a few.
    pub(super) fn sweep(&self, changes: &[KeyValue]) {
        let mut pinned = self.pinned.lock();
        for change in changes {
            pinned.sweep(change);
        }
    }

    /// Goes on with at most `budget` versions that were kept for pins that are gone, and says
    /// whether that was all.
    pub(super) fn sweep_released(&self, budget: usize) -> bool {
        let mut pinned = self.pinned.lock();
        for _ in 0..budget {
            let Some(kept) = pinned.released.front_mut() else {
                return true;
            };
            match kept.pop_front() {
                Some(kv) => pinned.sweep(&kv),
                None => drop(pinned.released.pop_front()),
            }
        }
        pinned.released.is_empty()
    }

    /// How many versions have a past that was compacted and is kept, or still to be cut.
    pub(super) fn held(&self) -> usize {
        let pinned = self.pinned.lock();
        let kept = pinned.pins.values().map(|keeps| keeps.kept.len());
        kept.chain(pinned.released.iter().map(VecDeque::len)).sum()
    }

    /// Told when there is something for [`sweep_released`](Self::sweep_released).
    pub(super) fn released(&self) -> Arc<Notify> {
        Arc::clone(&self.released)
    }
}

impl Pinned {
    fn sweep(&mut self, kv: &KeyValue) {
        // The newest of those that need it is likely to be there for the longest.
        match self.pins.values_mut().rev().find(|keeps| keeps.needs_past_of(kv)) {
            Some(keeps) => keeps.kept.push_back(kv.clone()),
            None => kv.past().cut(),
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.pins.pinned.lock();
        let kept = pinned.pins.remove(&self.number).map(|keeps| keeps.kept);
        if let Some(kept) = kept.filter(|kept| !kept.is_empty()) {
            pinned.released.push_back(kept);
            self.pins.released.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::thread;

    use bytes::Bytes;
    use proptest::prelude::*;

    use crate::core::mvcc::State;
    use crate::core::past::chain;
    use crate::core::{KeyRange, KeyValue, Mutation, Record};

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8),
        Delete(u8),
        /// A delete of all keys and a put in one revision.
        Replace(u8),
        /// To a revision, by its place between the oldest and the newest.
        Compact(prop::sample::Index),
        Sweep(usize),
        Pin,
        Unpin(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = 0..4u8;
        let step = prop_oneof![
            6 => key.clone().prop_map(Step::Put),
            2 => key.clone().prop_map(Step::Delete),
            1 => key.prop_map(Step::Replace),
            2 => any::<prop::sample::Index>().prop_map(Step::Compact),
            2 => (0..6usize).prop_map(Step::Sweep),
            2 => Just(Step::Pin),
            2 => any::<prop::sample::Index>().prop_map(Step::Unpin),
        ];
        prop::collection::vec(step, 1..120)
    }

    type Keys = BTreeMap<Bytes, Bytes>;

    /// What the keys were at every revision.
    struct Model {
        at: Vec<Keys>,
    }

    impl Model {
        fn apply(&mut self, state: &mut State, mutations: Vec<Mutation>) {
            let mut keys = self.at.last().unwrap().clone();
            for mutation in &mutations {
                match mutation {
                    Mutation::Put { key, value, .. } => {
                        keys.insert(key.clone(), value.clone());
                    }
                    Mutation::Delete { range, .. } => keys.retain(|key, _| !range.contains(key)),
                }
            }
            let revision = state.revision() + 1;
            state.apply(&Record::Transaction { revision, mutations }).unwrap();
            self.at.push(keys);
        }

        /// Every revision that can be read from the state is as it was, and so is its log.
        fn check(&self, state: &State) {
            for revision in state.compact_revision().max(1)..=state.revision() {
                let expected = &self.at[usize::try_from(revision).unwrap()];
                let found: Keys = state
                    .iter_at(&KeyRange::all(), revision)
                    .map(|kv| (kv.key_bytes(), kv.value_bytes()))
                    .collect();
                assert_eq!(&found, expected, "at {revision}");
            }
            for logged in state.log(state.compact_revision() + 1) {
                let before = &self.at[usize::try_from(logged.revision - 1).unwrap()];
                for event in &*logged.events() {
                    let previous = event.prev_kv.as_ref().map(KeyValue::value);
                    assert_eq!(previous, before.get(event.kv.key()).map(|value| &value[..]));
                }
            }
        }

        /// What is left in memory once all is swept: all that a readable revision sees, and the
        /// deletes.
        fn retained(&self, state: &State) -> u64 {
            let first = state.compact_revision().max(1);
            let at = |revision: u64| &self.at[usize::try_from(revision).unwrap()];
            let changes = (first + 1..=state.revision())
                .map(|now| state.log(now).next().map_or(0, |logged| logged.changes.len()));
            at(first).len() as u64 + changes.sum::<usize>() as u64
        }
    }

    fn key(number: u8) -> Bytes {
        format!("k{number}").into()
    }

    #[test]
    fn readers_of_pinned_states_go_on_while_others_write_and_sweep() {
        let put = |revision: u64| {
            let (key, value) =
                (key(u8::try_from(revision % 5).unwrap()), Bytes::from(revision.to_string()));
            Record::Transaction {
                revision,
                mutations: vec![Mutation::Put { key, value, lease: 0 }],
            }
        };
        let read = |state: &State| {
            for revision in state.compact_revision().max(6)..=state.revision() {
                let found = state.iter_at(&KeyRange::all(), revision);
                let found: Vec<u64> = found.map(|kv| kv.mod_revision()).collect();
                assert_eq!(found.iter().max(), Some(&revision));
                assert_eq!((found.len(), found.iter().min()), (5, Some(&(revision - 4))));
            }
        };
        let mut state = State::new();
        (2..=100).for_each(|revision| state.apply(&put(revision)).unwrap());
        thread::scope(|scope| {
            for round in 1..60u64 {
                let pinned = state.pinned();
                scope.spawn(move || (0..20).for_each(|_| read(&pinned)));
                for _ in 0..20 {
                    state.apply(&put(state.revision() + 1)).unwrap();
                }
                state.apply(&Record::Compaction { revision: 20 * round + 60 }).unwrap();
                while !state.sweep(3) {}
            }
        });
        while !state.sweep(3) {}
        read(&state);
        assert_eq!(state.versions(), 5 + state.revision() - state.compact_revision());
    }

    #[test]
    fn a_pinned_state_keeps_no_more_than_it_sees() {
        let put = |revision: u64| Record::Transaction {
            revision,
            mutations: vec![Mutation::Put { key: key(0), value: Bytes::new(), lease: 0 }],
        };
        let mut state = State::new();
        (2..=10).for_each(|revision| state.apply(&put(revision)).unwrap());
        let pinned = state.pinned();
        for revision in 11..=200 {
            state.apply(&put(revision)).unwrap();
            state.apply(&Record::Compaction { revision }).unwrap();
            assert!(state.sweep(1000));
        }
        assert_eq!(state.held(), 9);
        let range = KeyRange::all();
        let seen = |state: &State| {
            chain(state.iter(&range).next().unwrap().clone()).map(|kv| kv.mod_revision()).collect()
        };
        let (now, then): (Vec<_>, Vec<_>) = (seen(&state), seen(&pinned));
        assert_eq!((now, then), (vec![200], (2..=10).rev().collect()));
        let newest = pinned.iter(&range).next().unwrap().clone();
        drop(pinned);
        assert!(state.sweep(1000));
        assert_eq!((chain(newest).count(), state.held()), (1, 0));
    }

    #[test]
    fn a_revision_of_many_changes_is_swept_in_steps() {
        let mut state = State::new();
        let keys = || (0..200u8).map(key);
        let puts = keys().map(|key| Mutation::Put { key, value: "v".into(), lease: 0 });
        let record = Record::Transaction { revision: 2, mutations: puts.collect() };
        state.apply(&record).unwrap();
        let mutations = vec![Mutation::Delete { range: KeyRange::all(), deleted: 200 }];
        state.apply(&Record::Transaction { revision: 3, mutations }).unwrap();
        state.apply(&Record::Compaction { revision: 3 }).unwrap();
        let mut steps = 0;
        while !state.sweep(7) {
            steps += 1;
        }
        assert!(steps >= 400 / 7, "{steps}");
        assert_eq!((state.versions(), state.bytes(), state.newest_after(None).count()), (0, 0, 0));
        assert_eq!(state.log(0).map(|logged| logged.changes.len()).collect::<Vec<_>>(), [200]);
    }

    proptest! {
        #[test]
        fn whatever_is_swept_a_pinned_state_reads_as_it_did(steps in steps()) {
            let mut state = State::new();
            // Revision 0 is none, 1 the empty store.
            let mut model = Model { at: vec![Keys::new(), Keys::new()] };
            let mut pinned = Vec::new();
            for (number, step) in steps.iter().enumerate() {
                let value = Bytes::from(number.to_string());
                let put = |at: u8| Mutation::Put { key: key(at), value: value.clone(), lease: 0 };
                let delete = |range: KeyRange| {
                    let deleted = state.count(&range);
                    (deleted > 0).then_some(Mutation::Delete { range, deleted })
                };
                match step {
                    Step::Put(at) => model.apply(&mut state, vec![put(*at)]),
                    Step::Delete(at) => {
                        if let Some(delete) = delete(KeyRange::key(key(*at))) {
                            model.apply(&mut state, vec![delete]);
                        }
                    }
                    Step::Replace(at) => {
                        let others = KeyRange::range(key(at + 1), "l");
                        let mutations = delete(others).into_iter().chain([put(*at)]).collect();
                        model.apply(&mut state, mutations);
                    }
                    Step::Compact(to) => {
                        let oldest = state.compact_revision() + 1;
                        let span = usize::try_from(state.revision() + 1 - oldest).unwrap();
                        if span > 0 {
                            let revision = oldest + to.index(span) as u64;
                            state.apply(&Record::Compaction { revision }).unwrap();
                        }
                    }
                    Step::Sweep(budget) => {
                        state.sweep(*budget);
                    }
                    Step::Pin => pinned.push(state.pinned()),
                    Step::Unpin(at) => {
                        if !pinned.is_empty() {
                            pinned.swap_remove(at.index(pinned.len()));
                        }
                    }
                }
            }
            model.check(&state);
            for state in &pinned {
                model.check(state);
            }
            while !state.sweep(7) {}
            model.check(&state);
            for state in &pinned {
                model.check(state);
            }
            prop_assert_eq!(state.versions(), model.retained(&state));
            pinned.clear();
            while !state.sweep(7) {}
            model.check(&state);
            // What was deleted and made again keeps the delete, which nobody sees, until that is
            // compacted, too.
            let hidden = |kv: &KeyValue| {
                kv.is_delete() && kv.mod_revision() <= state.compact_revision()
            };
            let newest = state.newest_after(None);
            let linked = newest.flat_map(|newest| chain(newest.clone()));
            let linked = linked.filter(|kv| !hidden(kv)).count();
            prop_assert_eq!(linked as u64, state.versions());
        }
    }
}

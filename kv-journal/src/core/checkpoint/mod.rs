//! The bytes of a checkpoint: everything that a state retains, at one place of the journal.
//!
//! All numbers are little-endian. A checkpoint is a sequence of frames:
//!
//! ```text
//! frame: CRC32C u32 | length u32 | index u32 | kind u8 | payload           (frame.rs)
//! kind 1, header, the first:  "kvckpt\r\n" | version u32 = 2 | revision u64
//!                             | compact revision u64 | next seq u64        (header.rs)
//! kind 2, versions:           every retained version, in order of key and revision (versions.rs)
//! kind 3, order:              the keys of revisions whose events are not in key order (order.rs)
//! kind 4, leases:             which leases there are, for how long (leases.rs)
//! kind 5, ledger:             a part of the bytes of the ledger over the journal (../ledger/state.rs)
//! kind 6, properties:         what is remembered beside the keys (properties.rs)
//! kind 255, footer, the last: frames u32 | versions u64 | listed events u64 | bytes u64
//! ```
//!
//! A frame decodes by itself, so that frames are decoded side by side. Its checksum goes on from
//! the header's, and covers its index: a frame of another checkpoint, or one out of its place, is
//! damage. The log of events is not written: it follows from the versions, except for the order
//! within a revision and for what was deleted at the compact revision.

mod decode;
mod encode;
mod frame;
mod header;
mod leases;
mod log;
mod order;
mod properties;
mod versions;

pub(crate) use decode::{Assembly, Part, Restored, decode};
pub(crate) use encode::{Encoder, Step};
pub(crate) use frame::{Checked, FrameOrder, HEAD_LEN, Head, Resealer, Splitter};
pub(crate) use header::Header;

use crate::error::{Error, ErrorKind};

const HEADER: u8 = 1;
const VERSIONS: u8 = 2;
const ORDER: u8 = 3;
const LEASES: u8 = 4;
const LEDGER: u8 = 5;
const PROPERTIES: u8 = 6;
const FOOTER: u8 = 255;

fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the checkpoint has {what}: use the one before it or a backup"),
    )
}

/// Reads `bytes` as a checkpoint, and as the content of each kind of frame, for the fuzzer.
#[doc(hidden)]
pub fn fuzz_checkpoint(bytes: &[u8]) {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    let mut splitter = Splitter::default();
    let mut assembly = None;
    let frames = splitter.push(&bytes).unwrap_or_default();
    for frame in frames {
        if let Ok(part) = decode(&frame) {
            let header = frame.header();
            assembly.get_or_insert_with(|| Assembly::new(header)).add(frame.index(), part);
        }
    }
    if let Some(assembly) = assembly {
        let _restored = assembly.finish(1);
    }
    let header = Header { revision: 1 << 20, compact_revision: 3, next_seq: 1 };
    let mut assembly = Assembly::new(header);
    if let Ok(chunk) = versions::decode(&bytes, &header) {
        assembly.add(1, Part::Versions(chunk));
    }
    if let Ok(listed) = order::decode(&bytes) {
        assembly.add(2, Part::Order(listed));
    }
    if let Ok(granted) = leases::decode(&bytes) {
        assembly.add(3, Part::Leases(granted));
    }
    if let Ok(properties) = properties::decode(&bytes) {
        assembly.add(4, Part::Properties(properties));
    }
    let _restored = assembly.finish(1);
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "the tests made these bytes")]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::core::{KeyRange, Mutation, PropertyChange, Record, State};
    use crate::error::Result;

    fn state() -> State {
        let mut state = State::new();
        for id in (-40..40).filter(|id| *id != 0) {
            state.apply(&Record::LeaseGrant { revision: 1, id, ttl_secs: 60 }).unwrap();
        }
        for revision in 2..40u64 {
            let key = |number: u64| format!("k{}", number % 5).into();
            let put = |number| Mutation::Put {
                key: key(number),
                value: vec![7; usize::try_from(number).unwrap()].into(),
                lease: (number % 4).cast_signed(),
            };
            let mutations = match revision % 7 {
                0 => {
                    let range = KeyRange::key(key(revision - 1));
                    vec![Mutation::Delete { range, deleted: 1 }, put(revision)]
                }
                _ => vec![put(revision)],
            };
            state.apply(&Record::Transaction { revision, mutations }).unwrap();
        }
        state.apply(&Record::Compaction { revision: 11 }).unwrap();
        let changes =
            (0..40).map(|at| PropertyChange::set(format!("p{at}"), vec![7; at])).collect();
        state.apply(&Record::Properties { revision: 39, changes }).unwrap();
        state
    }

    fn frames(state: State, budget: usize) -> Vec<Bytes> {
        let mut encoder = Encoder::new(Arc::new(state), 300);
        let mut frames = Vec::new();
        loop {
            match encoder.step(budget, 64) {
                Step::Frame(frame) => frames.push(frame),
                Step::More => {}
                Step::End => return frames,
            }
        }
    }

    #[test]
    fn small_steps_make_the_same_frames() {
        let whole = frames(state(), usize::MAX);
        assert!(whole.len() > 8, "{}", whole.len());
        for budget in [1, 2, 3, 10] {
            assert_eq!(frames(state(), budget), whole);
        }
        // Before and after the sweep.
        let mut swept = state();
        assert!(swept.sweep(usize::MAX));
        assert_eq!(frames(swept, usize::MAX), whole);
    }

    #[test]
    fn frames_decode_in_any_order() {
        let mut splitter = Splitter::default();
        let mut checked = splitter.push(&frames(state(), 5).concat()).unwrap();
        let mut assembly = Assembly::new(checked[0].header());
        checked.reverse();
        for frame in &checked {
            assembly.add(frame.index(), decode(frame).unwrap());
        }
        let again = assembly.finish(2).unwrap().state;
        let mut expected = state();
        expected.sweep(usize::MAX);
        assert_eq!(again.bytes(), expected.bytes());
        assert_eq!(again.next_seq(), expected.next_seq());
        let logged = |state: &State| -> Vec<_> {
            state.log(0).map(|logged| (logged.revision, logged.events())).collect()
        };
        assert_eq!(logged(&again), logged(&expected));
        assert!(again.leases().iter().eq(expected.leases().iter()));
        assert!(again.properties().after(None).eq(expected.properties().after(None)));
        assert_eq!(again.properties().after(None).count(), 40);
        for id in 1..4 {
            assert!(again.leases().keys(id).eq(expected.leases().keys(id)));
            assert!(again.leases().attached(id) > 0);
        }
        assert_eq!(frames(again, usize::MAX), frames(expected, usize::MAX));
    }

    #[test]
    fn a_frame_that_is_missing_twice_there_or_of_an_unknown_kind_is_damage() {
        let frames = frames(state(), usize::MAX);
        for left_out in 0..frames.len() {
            let mut some = frames.clone();
            some.remove(left_out);
            assert_damaged(&some);
            let mut twice = frames.clone();
            twice.insert(left_out, frames[left_out].clone());
            assert_damaged(&twice);
        }
        let mut unknown = Resealer::default();
        let header = Header { revision: 1, compact_revision: 0, next_seq: 1 };
        let first = unknown.header(&header);
        let mut splitter = Splitter::default();
        splitter.push(&first).unwrap();
        let kind = unknown.of_kind(99);
        let frame = splitter.push(&kind).unwrap().remove(0);
        assert_eq!(decode(&frame).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_key_without_its_lease_is_damage_and_so_are_leases_out_of_order() {
        let (state, range) = (state(), KeyRange::all());
        let keys = state.iter(&range).map(|kv| (kv.lease(), kv.key_bytes()));
        let attached: Vec<_> = keys.filter(|(lease, _)| *lease != 0).collect();
        let all = vec![(1, 60), (2, 60), (3, 60)];
        assert_eq!(leases::build(all.clone(), attached.clone()).unwrap().len(), 3);
        for (left_out, twice) in [(0, 1), (1, 2), (2, 0)] {
            let mut some = all.clone();
            some[left_out] = all[twice];
            assert!(leases::build(some.clone(), attached.clone()).is_err());
            some.remove(left_out);
            assert!(leases::build(some, attached.clone()).is_err());
        }
        assert!(leases::build(vec![(0, 60), (1, 60), (2, 60), (3, 60)], attached.clone()).is_err());
    }

    #[test]
    fn a_frame_that_unfolds_to_too_much_is_damage() {
        let key = vec![b'k'; 1 << 20];
        let payload = |versions: u32| {
            let mut payload = versions.to_le_bytes().to_vec();
            for at in 0..versions {
                let (deletes, same) = (at % 2 == 1, at > 0);
                payload.push(u8::from(deletes) | if same { 4 } else { 0 });
                payload.extend(u64::from(at + 2).to_le_bytes());
                if !same {
                    payload.extend(u32::try_from(key.len()).unwrap().to_le_bytes());
                    payload.extend(&key);
                }
                if !deletes {
                    payload.extend(u64::from(at + 2).to_le_bytes());
                    payload.extend(1u64.to_le_bytes());
                    payload.extend(0i64.to_le_bytes());
                    payload.extend(0u32.to_le_bytes());
                }
            }
            payload
        };
        let header = Header { revision: 1 << 20, compact_revision: 0, next_seq: 1 };
        assert!(versions::decode(&payload(64), &header).is_ok());
        let refused = versions::decode(&payload(66), &header).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_long_key_of_many_versions_takes_many_frames() {
        let key = Bytes::from(vec![b'k'; 1 << 20]);
        let mut state = State::new();
        for revision in 2..200 {
            let put = Mutation::Put { key: key.clone(), value: Bytes::new(), lease: 0 };
            state.apply(&Record::Transaction { revision, mutations: vec![put] }).unwrap();
        }
        let mut encoder = Encoder::new(Arc::new(state), 512 << 20);
        let mut splitter = Splitter::default();
        let mut kinds = Vec::new();
        loop {
            match encoder.step(1000, usize::MAX) {
                Step::Frame(frame) => {
                    for frame in splitter.push(&frame).unwrap() {
                        decode(&frame).unwrap();
                        kinds.push(frame.kind());
                    }
                }
                Step::More => {}
                Step::End => break,
            }
        }
        kinds.retain(|kind| *kind == VERSIONS);
        assert_eq!(kinds.len(), 4);
    }

    fn assert_damaged(frames: &[Bytes]) {
        let mut splitter = Splitter::default();
        let checked = splitter.push(&frames.concat()).and_then(|frames| {
            splitter.finish()?;
            frames.iter().map(decode).collect::<Result<Vec<_>>>()
        });
        assert_eq!(checked.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    proptest! {
        #[test]
        fn hostile_bytes_end_in_an_error_or_a_state(
            tail in prop::collection::vec(prop_oneof![0..8u8, any::<u8>()], 0..200),
            kept in any::<prop::sample::Index>(),
        ) {
            fuzz_checkpoint(&tail);
            let whole = frames(state(), usize::MAX).concat();
            let mut bytes = whole[..kept.index(whole.len())].to_vec();
            bytes.extend(tail);
            fuzz_checkpoint(&bytes);
        }
    }
}

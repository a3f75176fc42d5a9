//! The bytes of a checkpoint: the oldest state that is retained, and the changes that led from it to
//! the newest.
//!
//! ```text
//! file    = "wchckpt1" frame…
//! frame   = kind:u8 length:u32 crc32c:u32 payload     the checksum is of the kind and the payload
//! head    = floor:u64 revision:u64 is_of_store:u8 store:bytes
//!           count:u32 prefix:bytes… count:u32 (after:u64 until:u64)…
//! objects = object…                                   as at the floor, in the order of their keys
//! changes = (revision:u64 is_delete:u8 object)…       above the floor, in the order of revisions and keys
//! object  = key_length:u32 value_length:u32 create_revision:u64 mod_revision:u64 key value
//! end     = objects:u64 changes:u64
//! bytes   = length:u32 content
//! ```
//!
//! Numbers are little-endian. There is one head, then frames of objects, then frames of changes, then
//! one end, and nothing after it. Each frame of objects and of changes can be read for itself.

mod decode;
mod encode;

use bytes::Bytes;

use super::object::Object;
use super::view::Gap;
use crate::error::{Error, ErrorKind};
use crate::object::{Change, Revision};

pub(crate) use decode::{Frame, Part, changes, end, head, is_before, objects};
pub(crate) use encode::Encoder;

/// A later format has another number at the end.
pub(crate) const MAGIC: &[u8; 8] = b"wchckpt1";
/// Kind, length and checksum of a frame.
pub(crate) const FRAME_HEAD: usize = 9;

/// What a frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Head = 1,
    Objects = 2,
    Changes = 3,
    End = 4,
}

/// What a checkpoint is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The oldest revision that can be read.
    pub(crate) floor: u64,
    pub(crate) revision: u64,
    /// The source's store, where it said which that is.
    pub(crate) store: Option<Bytes>,
    /// In ascending order, as in an open cache.
    pub(crate) prefixes: Vec<Bytes>,
    pub(crate) gaps: Vec<Gap>,
}

/// What a cache begins with in place of a listing.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) head: Head,
    /// As at the floor, in the order of their keys.
    pub(crate) objects: Vec<Object>,
    /// What came after.
    pub(crate) log: Vec<Revision>,
}

/// A change, and the revision that did it.
pub(crate) type Logged = (u64, Change);

/// Puts changes that come in the order of revisions together.
pub(crate) fn revisions(changes: impl IntoIterator<Item = Logged>) -> Vec<Revision> {
    let mut revisions: Vec<Revision> = Vec::new();
    for (revision, change) in changes {
        match revisions.last_mut().filter(|last| last.revision == revision) {
            Some(last) => last.changes.push(change),
            None => revisions.push(Revision { revision, changes: vec![change] }),
        }
    }
    revisions
}

pub(crate) fn corrupt(what: &str) -> Error {
    let message = format!("the checkpoint is damaged: {what}: it is not used");
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::object::SourceObject;

    fn object(key: u16, mod_revision: u64, len: usize) -> Object {
        let (key, value) = (format!("/a/{key:05}").into(), vec![b'v'; len].into());
        Object::from(&SourceObject { key, value, create_revision: 1, mod_revision })
    }

    fn head_of(gaps: Vec<Gap>) -> Head {
        let prefixes = vec![Bytes::from("/a/"), Bytes::from("/b/")];
        Head { floor: 10, revision: 99, store: Some(Bytes::from("s")), prefixes, gaps }
    }

    /// The frames of a file, each whole.
    fn frames(mut file: &[u8]) -> Vec<Frame> {
        file = file.strip_prefix(MAGIC).unwrap();
        let mut frames = Vec::new();
        while !file.is_empty() {
            let (start, rest) = file.split_first_chunk::<FRAME_HEAD>().unwrap();
            let (mut frame, len) = Frame::new(start).unwrap();
            let (payload, rest) = rest.split_at(len);
            frame.payload = payload.into();
            file = rest;
            frames.push(frame);
        }
        frames
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            keys in prop::collection::btree_set(any::<u16>(), 0..40),
            log in prop::collection::btree_set((11u64..=99, any::<u16>(), any::<bool>()), 0..40),
            long in 0usize..2,
        ) {
            let head = head_of(vec![Gap { after: 20, until: 30 }]);
            let mut encoder = Encoder::new(Vec::new(), &head).unwrap();
            let kept: Vec<Object> =
                keys.iter().map(|key| object(*key, 7, long * 700_000)).collect();
            for object in &kept {
                encoder.object(object).unwrap();
            }
            let mut last = None;
            let log: Vec<_> = log
                .into_iter()
                .filter(|(revision, key, _)| last.replace((*revision, *key)) != Some((*revision, *key)))
                .collect();
            for (revision, key, is_delete) in &log {
                let version = object(*key, *revision, 3);
                let version = if *is_delete { version.delete(*revision) } else { version };
                encoder.change(*revision, &version).unwrap();
            }
            let file = encoder.finish().unwrap();
            let frames = frames(&file);
            let (mut read, mut changed) = (Vec::new(), Vec::new());
            let (first, rest) = frames.split_first().unwrap();
            prop_assert_eq!(&super::head(&first.clone().checked().unwrap()).unwrap(), &head);
            for frame in rest {
                let payload = frame.clone().checked().unwrap();
                match frame.kind {
                    Kind::Head => prop_assert!(false, "a second head"),
                    Kind::Objects => {
                        read.extend(objects(&head, &[], payload).unwrap());
                    }
                    Kind::Changes => changed.extend(changes(&head, payload).unwrap()),
                    Kind::End => {
                        let counts = (read.len() as u64, changed.len() as u64);
                        prop_assert_eq!(end(&payload).unwrap(), counts);
                    }
                }
            }
            prop_assert_eq!(read, kept);
            let back: Vec<_> = changed
                .iter()
                .map(|(revision, change)| {
                    (*revision, change.key().clone(), matches!(change, Change::Delete(_)))
                })
                .collect();
            let written: Vec<_> = log
                .iter()
                .map(|(revision, key, gone)| {
                    (*revision, Bytes::from(format!("/a/{key:05}")), *gone)
                })
                .collect();
            prop_assert_eq!(back, written);
        }

        /// No bit of a frame can be another without being noticed.
        #[test]
        fn a_flipped_bit_is_noticed(at: prop::sample::Index, bit in 0u8..8) {
            let mut encoder = Encoder::new(Vec::new(), &head_of(vec![])).unwrap();
            encoder.object(&object(3, 7, 20)).unwrap();
            let file = encoder.finish().unwrap();
            for frame in frames(&file) {
                let mut payload = frame.payload.to_vec();
                let at = at.index(payload.len());
                payload[at] ^= 1 << bit;
                let frame = Frame { payload: payload[..].into(), ..frame };
                prop_assert_eq!(frame.checked().unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
    }

    #[test]
    fn what_is_out_of_order_or_outside_is_refused() {
        let head = head_of(vec![]);
        let objects_of = |written: &[Object]| {
            let mut encoder = Encoder::new(Vec::new(), &head).unwrap();
            for object in written {
                encoder.object(object).unwrap();
            }
            let frame = frames(&encoder.finish().unwrap()).remove(1);
            objects(&head, &[], frame.checked().unwrap())
        };
        let outside = SourceObject::from(&object(1, 7, 1));
        let outside = Object::from(&SourceObject { key: "/c".into(), ..outside });
        assert!(objects_of(&[object(1, 7, 1), object(2, 7, 1)]).is_ok());
        for wrong in [
            vec![object(2, 7, 1), object(1, 7, 1)],
            vec![object(1, 7, 1), object(1, 7, 1)],
            vec![object(1, 11, 1)],
            vec![outside],
        ] {
            assert_eq!(objects_of(&wrong).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        let changes_of = |written: &[(u64, Object)]| {
            let mut encoder = Encoder::new(Vec::new(), &head).unwrap();
            for (revision, version) in written {
                encoder.change(*revision, version).unwrap();
            }
            let frame = frames(&encoder.finish().unwrap()).remove(1);
            changes(&head, frame.checked().unwrap())
        };
        assert!(changes_of(&[(11, object(1, 11, 1)), (12, object(1, 12, 1))]).is_ok());
        for wrong in [
            vec![(10, object(1, 10, 1))],
            vec![(100, object(1, 100, 1))],
            vec![(12, object(1, 12, 1)), (11, object(1, 11, 1))],
            vec![(11, object(1, 11, 1)), (11, object(1, 11, 1))],
            vec![(11, object(1, 12, 1))],
        ] {
            assert_eq!(changes_of(&wrong).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        for gaps in [
            vec![Gap { after: 20, until: 20 }],
            vec![Gap { after: 9, until: 20 }],
            vec![Gap { after: 20, until: 100 }],
            vec![Gap { after: 20, until: 40 }, Gap { after: 30, until: 50 }],
        ] {
            let file = Encoder::new(Vec::new(), &head_of(gaps)).unwrap().finish().unwrap();
            let frame = frames(&file).remove(0).checked().unwrap();
            assert_eq!(super::head(&frame).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}

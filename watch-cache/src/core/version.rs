//! One version of an object, or the delete that ended it, linked to what was before.
//!
//! Every version that the log retains refers to the one before it, so that any retained revision is
//! read from the newest versions by going back, and neither states nor indexes have to be kept for
//! it. A second link jumps further back: with both, going back over `n` versions costs `O(log n)`
//! (Myers, "An applicative random-access stack", 1983).
//!
//! When a revision leaves the log its versions are [cut](Version::cut) from what was before. Readers
//! of older states may go along the same links meanwhile: they are told that it is [`Lost`].

use std::fmt;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::index::Index;
use crate::object::Object;

/// What was asked for has left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// Cloning counts a reference.
#[derive(Clone)]
pub(crate) struct Version(Arc<Inner>);

struct Inner {
    /// The revision that did it, or the listing's that brought it.
    revision: u64,
    /// Versions since the first that is linked.
    depth: u32,
    /// Whether the object was there just before.
    replaces: bool,
    body: Body,
    past: Mutex<Past>,
}

enum Body {
    /// With its value in each index, taken once.
    Put(Arc<Object>, Box<[Option<Bytes>]>),
    Delete(Bytes),
}

#[derive(Default)]
enum Past {
    /// Nothing at any retained revision.
    #[default]
    Nothing,
    Linked {
        before: Version,
        jump: Version,
    },
    Cut,
}

impl Version {
    /// A put at `revision` after what was there, if anything was at a retained revision.
    pub(crate) fn put(
        object: Arc<Object>,
        indexes: &[Index],
        revision: u64,
        before: Option<&Self>,
    ) -> Self {
        let values = indexes.iter().map(|index| index.value(&object)).collect();
        Self::new(Body::Put(object, values), revision, before)
    }

    /// A delete at `revision` of the object that `before` put.
    pub(crate) fn delete(before: &Self, revision: u64) -> Self {
        Self::new(Body::Delete(before.key().clone()), revision, Some(before))
    }

    /// Nothing but a key, to keep between other versions.
    pub(crate) fn separator(&self) -> Self {
        Self::new(Body::Delete(Bytes::copy_from_slice(self.key())), 0, None)
    }

    fn new(body: Body, revision: u64, before: Option<&Self>) -> Self {
        let past = before.map_or(Past::Nothing, |before| Past::Linked {
            before: before.clone(),
            jump: before.jump(),
        });
        Self(Arc::new(Inner {
            revision,
            depth: before.map_or(0, |before| before.0.depth + 1),
            replaces: before.is_some_and(|before| !before.is_delete()),
            body,
            past: Mutex::new(past),
        }))
    }

    /// Where the version after this one jumps to.
    fn jump(&self) -> Self {
        let Some(first) = self.jumped() else { return self.clone() };
        let Some(second) = first.jumped() else { return self.clone() };
        if self.0.depth - first.0.depth == first.0.depth - second.0.depth {
            second
        } else {
            self.clone()
        }
    }

    fn jumped(&self) -> Option<Self> {
        match &*self.0.past.lock() {
            Past::Linked { jump, .. } => Some(jump.clone()),
            Past::Nothing | Past::Cut => None,
        }
    }

    pub(crate) fn key(&self) -> &Bytes {
        match &self.0.body {
            Body::Put(object, _) => &object.key,
            Body::Delete(key) => key,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.0.revision
    }

    /// The object that was put; none for a delete.
    pub(crate) fn object(&self) -> Option<&Arc<Object>> {
        match &self.0.body {
            Body::Put(object, _) => Some(object),
            Body::Delete(_) => None,
        }
    }

    /// The object's value in the index at a position.
    pub(crate) fn value(&self, index: usize) -> Option<&Bytes> {
        self.values().get(index)?.as_ref()
    }

    /// The object's value in each index; empty for a delete.
    pub(crate) fn values(&self) -> &[Option<Bytes>] {
        match &self.0.body {
            Body::Put(_, values) => values,
            Body::Delete(_) => &[],
        }
    }

    pub(crate) fn is_delete(&self) -> bool {
        matches!(self.0.body, Body::Delete(_))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The version of the object that this replaced or deleted; none if the object was not there.
    pub(crate) fn replaced(&self) -> Result<Option<Self>, Lost> {
        if !self.0.replaces {
            return Ok(None);
        }
        match &*self.0.past.lock() {
            Past::Linked { before, .. } => Ok(Some(before.clone())),
            Past::Nothing | Past::Cut => Err(Lost),
        }
    }

    /// What the object whose newest version this is was at `revision`; none if it was not there.
    pub(crate) fn at(&self, revision: u64) -> Result<Option<Self>, Lost> {
        let mut at = self.clone();
        while at.revision() > revision {
            at = match at.back(revision)? {
                Some(before) => before,
                None => return Ok(None),
            };
        }
        Ok(Some(at).filter(|at| !at.is_delete()))
    }

    /// One step back towards `revision`, not beyond the first version at or before it.
    fn back(&self, revision: u64) -> Result<Option<Self>, Lost> {
        match &*self.0.past.lock() {
            Past::Linked { jump, .. } if jump.revision() > revision => Ok(Some(jump.clone())),
            Past::Linked { before, .. } => Ok(Some(before.clone())),
            Past::Nothing => Ok(None),
            Past::Cut => Err(Lost),
        }
    }

    /// Lets go of everything before.
    pub(crate) fn cut(&self) {
        let mut past = self.0.past.lock();
        if matches!(*past, Past::Linked { .. }) {
            let before = mem::replace(&mut *past, Past::Cut);
            // What it held is freed after the lock is let go of.
            drop(past);
            drop(before);
        }
    }

    /// The bytes that this version takes: those of its object, and the structures around them.
    pub(crate) fn bytes(&self) -> usize {
        /// With what an allocator and the reference counts take.
        const OVERHEAD: usize = size_of::<Inner>() + size_of::<Object>() + 64;
        let object = self.object().map_or(0, |object| object.value.len());
        let values = size_of_val(self.values());
        self.key().len() + object + values + OVERHEAD
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("key", self.key())
            .field("revision", &self.revision())
            .field("object", &self.object())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    /// Frees what was before in a loop: one call for each version would overflow the stack.
    fn drop(&mut self) {
        let mut past = mem::take(self.past.get_mut());
        let mut aside = Vec::new();
        loop {
            let next = match past {
                Past::Linked { before, jump } => {
                    if !before.is_same(&jump) {
                        aside.push(jump);
                    }
                    Some(before)
                }
                Past::Nothing | Past::Cut => aside.pop(),
            };
            let Some(Version(next)) = next else { return };
            // If others let go of it at this moment, it is the last of them who goes on.
            past = match Arc::into_inner(next) {
                Some(mut inner) => mem::take(inner.past.get_mut()),
                None => Past::Nothing,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(revision: u64) -> Arc<Object> {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::new());
        Arc::new(Object { key, value, create_revision: 2, mod_revision: revision })
    }

    /// Versions at the even revisions from 2 on, all of them, the oldest first.
    fn versions(count: u64) -> Vec<Version> {
        let mut all: Vec<Version> = Vec::new();
        for number in 1..=count {
            let next = Version::put(object(2 * number), &[], 2 * number, all.last());
            all.push(next);
        }
        all
    }

    fn steps(newest: &Version, revision: u64) -> usize {
        let (mut at, mut steps) = (newest.clone(), 0);
        while at.revision() > revision {
            at = at.back(revision).unwrap().unwrap();
            steps += 1;
        }
        steps
    }

    #[test]
    fn every_revision_is_found_in_few_steps() {
        let all = versions(100_000);
        let newest = all.last().unwrap();
        for revision in [2, 3, 512, 65_535, 65_536, 131_073, 199_998, 199_999, 200_000, 300_000] {
            let found = newest.at(revision).unwrap().unwrap();
            assert_eq!(found.revision(), revision.min(200_000) & !1);
            assert!(steps(newest, revision) < 60, "{revision}: {}", steps(newest, revision));
        }
        assert!(newest.at(1).unwrap().is_none());
    }

    #[test]
    fn what_was_cut_is_lost_and_the_rest_is_there() {
        let all = versions(1000);
        let newest = all.last().unwrap();
        all[..500].iter().for_each(Version::cut);
        for number in 1..=1000u64 {
            let found = newest.at(2 * number);
            // The 500th is cut from those before it, and is itself the first that is left.
            let expected = (number >= 500).then_some(2 * number);
            match expected {
                Some(revision) => assert_eq!(found.unwrap().unwrap().revision(), revision),
                // A longer link may still lead to one.
                None => assert!(found.is_err() || found.unwrap().unwrap().revision() == 2 * number),
            }
        }
        assert_eq!(all[499].replaced().unwrap_err(), Lost);
        assert_eq!(all[500].replaced().unwrap().unwrap().revision(), 1000);
    }

    #[test]
    fn a_cut_frees_all_but_a_few() {
        let mut all = versions(10_000);
        let weak: Vec<_> = all.iter().map(|version| Arc::downgrade(&version.0)).collect();
        all[..9_000].iter().for_each(Version::cut);
        all.drain(..9_000);
        all[0].cut();
        let held = weak[..9_000].iter().filter(|weak| weak.strong_count() > 0).count();
        assert!(held < 20, "{held}");
        assert_eq!(all[0].replaced().unwrap_err(), Lost);
    }

    #[test]
    fn a_long_chain_is_freed_without_recursion() {
        let mut all = versions(1_000_000);
        let newest = all.pop();
        drop(all);
        drop(newest);
    }

    #[test]
    fn a_delete_is_nothing_to_read_and_replaces_what_was_there() {
        let put = Version::put(object(2), &[], 2, None);
        let deleted = Version::delete(&put, 3);
        let again = Version::put(object(5), &[], 5, Some(&deleted));
        assert!(deleted.replaced().unwrap().unwrap().is_same(&put));
        assert!(again.replaced().unwrap().is_none());
        let at = |revision| again.at(revision).unwrap().map(|version| version.revision());
        assert_eq!([1, 2, 3, 4, 5, 6].map(at), [None, Some(2), None, None, Some(5), Some(5)]);
    }
}

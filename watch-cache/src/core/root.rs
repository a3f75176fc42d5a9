//! The objects as trees that are shared with every earlier state.

use std::cmp::Ordering;
use std::iter;
use std::ops::Bound;

use bytes::Bytes;
use cow_tree::Tree;

use super::index::Index;
use super::object::{Builder, Newest, Object};
use super::past::Lost;
use super::posting::{Posting, Postings};
use super::predicate::Predicate;
use super::text::Text;
use crate::object::{SourceObject, prefix_end};

/// So many objects are judged by a filter before other tasks have their turn.
pub(crate) const JUDGED: usize = 512;

/// A persistent version of the state: cloning it is `O(indexes)`.
///
/// Which objects there are, and in which index under which value, is as it was. What they are is
/// not: a write to an object that is there changes its newest version in every state that shares
/// its place. So all who read say at which revision, and find the version by going back.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) revision: u64,
    live: Tree<Text, Newest>,
    /// The deletes of objects that were there at a retained revision.
    deleted: Tree<Text, Object>,
    indexes: Vec<Postings>,
}

impl Root {
    pub(crate) fn new(indexes: usize) -> Self {
        Self {
            revision: 0,
            live: Tree::new(),
            deleted: Tree::new(),
            indexes: vec![Postings::default(); indexes],
        }
    }

    /// The state of a listing, whose objects come in the order of their keys.
    pub(crate) fn of_listing(revision: u64, objects: Vec<Object>, indexes: usize) -> Self {
        let indexes = (0..indexes).map(|index| Postings::of(&objects, index)).collect();
        let entry = |object: Object| (object.key_text().clone(), Newest::new(object));
        let live = Tree::from_sorted(objects.into_iter().map(entry));
        Self { revision, live, deleted: Tree::new(), indexes }
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// The object at a key, as it is in this state.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Object>, Lost> {
        match self.live.get(key) {
            Some(newest) => newest.get().at(self.revision),
            None => Ok(None),
        }
    }

    /// The newest versions, for the one who writes them.
    pub(crate) fn newest(&self) -> impl Iterator<Item = Object> {
        self.live.values().map(Newest::get)
    }

    /// Puts an object in.
    pub(crate) fn put(
        &mut self,
        object: &SourceObject,
        indexes: &[Index],
        revision: u64,
        builder: &mut Builder,
    ) -> Object {
        let key = &object.key[..];
        if let Some(newest) = self.live.get(key) {
            let old = newest.get();
            let new = builder.put(object, indexes, revision, Some(&old));
            newest.set(new.clone());
            self.reindex(Some(&old), &new);
            return new;
        }
        // An object that is not there may have been before.
        let deleted = self.deleted.remove(key);
        let new = builder.put(object, indexes, revision, deleted.as_ref());
        self.live.insert(new.key_text().clone(), Newest::new(new.clone()));
        self.reindex(None, &new);
        new
    }

    /// Takes an object out; one that is not there changes nothing.
    pub(crate) fn delete(&mut self, key: &[u8], revision: u64) -> Option<Object> {
        let old = self.live.remove(key)?.get();
        let delete = old.delete(revision);
        self.deleted.insert(delete.key_text().clone(), delete.clone());
        self.reindex(Some(&old), &delete);
        Some(delete)
    }

    fn reindex(&mut self, old: Option<&Object>, new: &Object) {
        for (index, postings) in self.indexes.iter_mut().enumerate() {
            let old = old.and_then(|old| old.index_value(index));
            let value = new.index_value(index);
            if old != value {
                postings.change(new.key_text(), old, value, new.revision());
            }
        }
    }

    /// Forgets what was kept of a delete for the states before it, whose revision leaves the log.
    pub(crate) fn forget_delete(&mut self, version: &Object) {
        if version.is_delete()
            && self.deleted.get(version.key()).is_some_and(|delete| delete.is_same(version))
        {
            self.deleted.remove(version.key());
        }
    }

    /// How many entries the indexes have, without those that ended.
    pub(crate) fn postings(&self) -> usize {
        self.indexes.iter().map(|postings| postings.now.len()).sum()
    }

    /// How many postings are kept that ended.
    pub(crate) fn ended(&self) -> usize {
        self.indexes.iter().map(|postings| postings.past.len()).sum()
    }

    /// Looks at some of the postings that ended in each index, and forgets what ended up to a
    /// revision.
    pub(crate) fn sweep_ended(&mut self, floor: u64, count: usize) {
        for postings in &mut self.indexes {
            postings.sweep(floor, count);
        }
    }

    /// The objects that the prefix and the index of `predicate` select in this state, if it reads
    /// one.
    pub(crate) fn posted(&self, predicate: &Predicate) -> impl Iterator<Item = Object> {
        let part = predicate.index.is_some().then(|| self.select(predicate, None));
        // Of a state that is pinned nothing is lost.
        part.into_iter().flatten().filter_map(Result::ok)
    }

    /// The keys that the prefix and the index of `predicate` selected before and do not now, and
    /// since when.
    pub(crate) fn posted_before(
        &self,
        predicate: &Predicate,
    ) -> impl Iterator<Item = (&[u8], u64)> {
        let index = predicate.index.as_ref();
        let found = index.and_then(|(index, value)| {
            let postings = self.indexes.get(*index)?;
            Some((
                postings,
                postings.past.range::<Posting, _>(Keys::new(predicate, None).under(value)),
            ))
        });
        found.into_iter().flat_map(|(postings, past)| {
            let gone = past.filter(|(posting, _)| postings.now.get(posting).is_none());
            gone.map(|(posting, ended)| (posting.key(), *ended))
        })
    }

    /// Deletes, and ended postings.
    #[cfg(test)]
    pub(crate) fn kept_for_the_past(&self) -> (usize, usize) {
        (self.deleted.len(), self.ended())
    }

    /// What the prefix and the index of `predicate` select in this state, after the key `after` where
    /// one is given; its filter is left to the caller.
    pub(crate) fn select(&self, predicate: &Predicate, after: Option<&Bytes>) -> Part<'_> {
        let keys = Keys::new(predicate, after);
        // A predicate is only made of an index that is there.
        let posted = predicate.index.as_ref();
        let posted = posted.and_then(|(index, value)| Some((self.indexes.get(*index)?, value)));
        let found = match posted {
            Some((postings, value)) => {
                Found::Posted(postings.now.range::<Posting, _>(keys.under(value)))
            }
            None => Found::Keys(self.live.range::<[u8], _>(keys.bounds())),
        };
        Part { root: self, found }
    }

    /// What `predicate` selected at a retained revision before this state, after the key `after`
    /// where one is given.
    pub(crate) fn select_at<'a>(
        &'a self,
        predicate: &'a Predicate,
        after: Option<&Bytes>,
        revision: u64,
    ) -> impl Iterator<Item = Result<Object, Lost>> + 'a {
        let newest = self.newest_of_all(predicate, after);
        newest.filter_map(move |newest| match newest.at(revision) {
            Ok(version) => version.filter(|version| predicate.matches(version)).map(Ok),
            Err(lost) => Some(Err(lost)),
        })
    }

    /// The first of what `predicate` selects at a revision that this state shows, after the key
    /// `after` where one is given: at most `limit` objects, for which at most `judged` are looked at.
    pub(crate) fn step(
        &self,
        predicate: &Predicate,
        after: Option<&Bytes>,
        revision: u64,
        limit: usize,
        judged: usize,
    ) -> Result<Step, Lost> {
        if revision >= self.revision {
            let part = self.select(predicate, after);
            let taken = part.map(|object| object.map(|object| (object.clone(), Some(object))));
            Step::of(taken, |object| predicate.filters(object), limit, judged)
        } else {
            let newest = self.newest_of_all(predicate, after);
            let at = newest.map(|newest| newest.at(revision).map(|version| (newest, version)));
            Step::of(at, |version| predicate.matches(version), limit, judged)
        }
    }

    /// The newest versions, or the deletes, of all that the prefix and the index of `predicate` select
    /// or have selected.
    fn newest_of_all<'a>(
        &'a self,
        predicate: &Predicate,
        after: Option<&Bytes>,
    ) -> Box<dyn Iterator<Item = Object> + 'a> {
        let keys = Keys::new(predicate, after);
        match &predicate.index {
            None => {
                let live = self.live.range::<[u8], _>(keys.bounds());
                let deleted = self.deleted.range::<[u8], _>(keys.bounds());
                let live = live.map(|(key, newest)| (key, Head::Live(newest)));
                let deleted = deleted.map(|(key, delete)| (key, Head::Deleted(delete)));
                Box::new(merge(live, deleted).map(|(_, head)| match head {
                    Head::Live(newest) => newest.get(),
                    Head::Deleted(delete) => delete.clone(),
                }))
            }
            Some((index, value)) => {
                let postings = self.indexes.get(*index).into_iter();
                let bounds = keys.under(value);
                let posted = postings.flat_map(move |postings| {
                    let now = postings.now.range::<Posting, _>(bounds.clone());
                    let past = postings.past.range::<Posting, _>(bounds.clone());
                    merge(now, past.map(|(posting, _)| (posting, &())))
                });
                Box::new(posted.filter_map(|(posting, ())| self.newest_of(posting.key())))
            }
        }
    }

    /// The newest version of a key, or its delete.
    fn newest_of(&self, key: &[u8]) -> Option<Object> {
        let newest = self.live.get(key).map(Newest::get);
        newest.or_else(|| self.deleted.get(key).cloned())
    }
}

/// Some of what a predicate selects, in the order of the keys.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) objects: Vec<Object>,
    /// The key to go on after; none if that was all.
    pub(crate) after: Option<Bytes>,
}

impl Step {
    /// Of candidates, each with the version that is to be judged.
    fn of(
        candidates: impl Iterator<Item = Result<(Object, Option<Object>), Lost>>,
        takes: impl Fn(&Object) -> bool,
        limit: usize,
        judged: usize,
    ) -> Result<Self, Lost> {
        let mut candidates = candidates.peekable();
        let mut step = Self::default();
        let mut last = None;
        for _ in 0..judged {
            let Some(candidate) = candidates.next() else { break };
            let (candidate, version) = candidate?;
            step.objects.extend(version.filter(&takes));
            last = Some(candidate);
            if step.objects.len() >= limit {
                break;
            }
        }
        let last = last.filter(|_| candidates.peek().is_some());
        step.after = last.map(|last| Bytes::copy_from_slice(last.key()));
        Ok(step)
    }
}

/// The keys of a predicate, from a key on.
struct Keys {
    start: Bound<Bytes>,
    end: Option<Bytes>,
}

impl Keys {
    fn new(predicate: &Predicate, after: Option<&Bytes>) -> Self {
        let start = match after {
            Some(key) => Bound::Excluded(key.clone()),
            None => Bound::Included(predicate.prefix.clone()),
        };
        Self { start, end: prefix_end(&predicate.prefix) }
    }

    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        (self.start.as_ref().map(|key| &key[..]), end)
    }

    /// The postings of a value.
    fn under(&self, value: &[u8]) -> (Bound<Posting>, Bound<Posting>) {
        let end = match &self.end {
            Some(end) => Posting::new(value, end),
            None => Posting::new(&next_value(value), &[]),
        };
        (self.start.as_ref().map(|key| Posting::new(value, key)), Bound::Excluded(end))
    }
}

/// The least value above `value`.
fn next_value(value: &[u8]) -> Vec<u8> {
    [value, b"\0"].concat()
}

/// What is known of a key last.
enum Head<'a> {
    Live(&'a Newest),
    Deleted(&'a Object),
}

/// What is in one of two sequences in ascending order of their keys or in both, once.
fn merge<K: Ord, T>(
    one: impl Iterator<Item = (K, T)>,
    other: impl Iterator<Item = (K, T)>,
) -> impl Iterator<Item = (K, T)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(a), Some(b)) => match a.0.cmp(&b.0) {
            Ordering::Less => one.next(),
            Ordering::Greater => other.next(),
            Ordering::Equal => {
                other.next();
                one.next()
            }
        },
        (Some(_), None) => one.next(),
        (None, _) => other.next(),
    })
}

/// The part of a state that a predicate selects: its objects in ascending order of their keys. How
/// many there are is known from the start.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    root: &'a Root,
    found: Found<'a>,
}

#[derive(Debug)]
enum Found<'a> {
    Keys(cow_tree::Range<'a, Text, Newest>),
    Posted(cow_tree::Range<'a, Posting, ()>),
}

impl Iterator for Part<'_> {
    type Item = Result<Object, Lost>;

    fn next(&mut self) -> Option<Self::Item> {
        let newest = match &mut self.found {
            Found::Keys(range) => range.next()?.1,
            Found::Posted(range) => self.root.live.get(range.next()?.0.key())?,
        };
        // It is there at the revision of the state, or else the version has been forgotten.
        Some(newest.get().at(self.root.revision).and_then(|version| version.ok_or(Lost)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.found {
            Found::Keys(range) => range.size_hint(),
            Found::Posted(range) => range.size_hint(),
        }
    }
}

impl ExactSizeIterator for Part<'_> {}

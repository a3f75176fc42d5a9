//! The objects as trees that are shared with every earlier state.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hint::black_box;
use std::iter::{self, Peekable};
use std::ops::Bound;

use bytes::Bytes;
use cow_tree::{Key, Tree};

use super::index::Index;
use super::object::{Builder, Object};
use super::past::Lost;
use super::posting::{Posting, Postings};
use super::predicate::Predicate;
use crate::object::{SourceObject, prefix_end};

/// The newest version of a key, ordered by the key.
#[derive(Debug, Clone)]
pub(crate) struct Newest(Object);

type Newests = Tree<Newest, ()>;
/// A persistent version of the state: cloning it is `O(indexes)`.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) revision: u64,
    live: Newests,
    /// The deletes of objects that were there at a retained revision.
    deleted: Newests,
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
        Self {
            revision,
            indexes: (0..indexes).map(|index| Postings::of(&objects, index)).collect(),
            live: Tree::from_sorted(objects.into_iter().map(|object| (Newest(object), ()))),
            deleted: Tree::new(),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Object> {
        Some(&self.live.get_key_value(key)?.0.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.live.keys().map(|newest| &newest.0)
    }

    /// Puts an object in.
    pub(crate) fn put(
        &mut self,
        object: &SourceObject,
        indexes: &[Index],
        revision: u64,
        builder: &mut Builder,
    ) -> Object {
        let deleted = &mut self.deleted;
        let (replaced, new) = self.live.replace_with(&object.key[..], |old| {
            // An object that is not there may have been before.
            let gone = || Some(deleted.remove_entry(&object.key[..])?.0.0);
            let old = old.map(|(newest, ())| newest.0.clone()).or_else(gone);
            let new = builder.put(object, indexes, revision, old.as_ref());
            ((Newest(new.clone()), ()), new)
        });
        let replaced = replaced.map(|(newest, ())| newest.0);
        self.reindex(replaced.as_ref(), &new);
        new
    }

    /// Takes an object out; one that is not there changes nothing.
    pub(crate) fn delete(&mut self, key: &[u8], revision: u64) -> Option<Object> {
        let (Newest(old), ()) = self.live.remove_entry(key)?;
        let delete = old.delete(revision);
        self.deleted.insert(Newest(delete.clone()), ());
        self.reindex(Some(&old), &delete);
        Some(delete)
    }

    fn reindex(&mut self, old: Option<&Object>, new: &Object) {
        for (index, postings) in self.indexes.iter_mut().enumerate() {
            let old = old.and_then(|old| old.index_value(index));
            let value = new.index_value(index);
            if old != value {
                postings.change(new.key(), old, value, new.revision());
            }
        }
    }

    /// Lets go of what was before a version, whose revision leaves the log.
    pub(crate) fn forget_before(&mut self, version: &Object) {
        if let Ok(Some(replaced)) = version.replaced() {
            for (index, postings) in self.indexes.iter_mut().enumerate() {
                let old = replaced.index_value(index);
                if let Some(old) = old.filter(|old| version.index_value(index) != Some(old)) {
                    postings.forget(version.key(), old, version.revision());
                }
            }
        }
        let is_it = |(newest, ()): (&Newest, &())| newest.0.is_same(version);
        if version.is_delete() && self.deleted.get_key_value(version.key()).is_some_and(is_it) {
            self.deleted.remove(version.key());
        }
        version.past().cut();
    }

    /// Deletes, and ended postings.
    #[cfg(test)]
    pub(crate) fn kept_for_the_past(&self) -> (usize, usize) {
        (self.deleted.len(), self.indexes.iter().map(|postings| postings.past.len()).sum())
    }

    /// What `predicate` selects now, after the key `after` where one is given.
    pub(crate) fn select(&self, predicate: &Predicate, after: Option<&Bytes>) -> Part<'_> {
        let keys = Keys::new(predicate, after);
        // A predicate is only made of an index that is there.
        let posted = predicate.index.as_ref();
        let posted = posted.and_then(|(index, value)| Some((self.indexes.get(*index)?, value)));
        match posted {
            Some((postings, value)) => {
                Part::Values(&self.live, postings.now.range::<Posting, _>(keys.under(value)))
            }
            None => Part::Keys(self.live.range::<[u8], _>(keys.bounds())),
        }
    }

    /// What `predicate` selected at `revision`, after the key `after` where one is given.
    pub(crate) fn select_at<'a>(
        &'a self,
        predicate: &'a Predicate,
        after: Option<&Bytes>,
        revision: u64,
    ) -> impl Iterator<Item = Result<Object, Lost>> + 'a {
        let keys = Keys::new(predicate, after);
        let newests: Box<dyn Iterator<Item = &'a Object> + 'a> = match &predicate.index {
            None => {
                let live = self.live.range::<[u8], _>(keys.bounds()).map(|(newest, ())| newest);
                let deleted = self.deleted.range::<[u8], _>(keys.bounds());
                let deleted = deleted.map(|(newest, ())| newest);
                Box::new(merge(live, deleted).map(|newest| &newest.0))
            }
            Some((index, value)) => {
                let postings = self.indexes.get(*index).into_iter();
                let bounds = keys.under(value);
                let posted = postings.flat_map(move |postings| {
                    let now = postings.now.range::<Posting, _>(bounds.clone());
                    let past = postings.past.range::<Posting, _>(bounds.clone());
                    merge(now.map(|(posting, ())| posting), past.map(|(posting, _)| posting))
                });
                Box::new(posted.filter_map(|posting| self.newest(posting.key())))
            }
        };
        newests.filter_map(move |newest| match newest.at(revision) {
            Ok(version) => version.filter(|version| predicate.matches(version)).map(Ok),
            Err(lost) => Some(Err(lost)),
        })
    }

    /// The newest version of a key, or its delete.
    fn newest(&self, key: &[u8]) -> Option<&Object> {
        let newest = self.live.get_key_value(key).or_else(|| self.deleted.get_key_value(key));
        newest.map(|(newest, ())| &newest.0)
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
    fn under(&self, value: &Bytes) -> (Bound<Posting>, Bound<Posting>) {
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

/// What is in one of two ascending sequences or in both, once.
fn merge<'a, T: Ord + 'a>(
    one: impl Iterator<Item = &'a T>,
    other: impl Iterator<Item = &'a T>,
) -> impl Iterator<Item = &'a T> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(a), Some(b)) => match a.cmp(b) {
            Ordering::Less => one.next(),
            Ordering::Greater => other.next(),
            Ordering::Equal => both(&mut one, &mut other),
        },
        (Some(_), None) => one.next(),
        (None, _) => other.next(),
    })
}

fn both<'a, T: 'a>(
    one: &mut Peekable<impl Iterator<Item = &'a T>>,
    other: &mut Peekable<impl Iterator<Item = &'a T>>,
) -> Option<&'a T> {
    other.next();
    one.next()
}

/// The part of the newest state that a predicate selects: its objects in ascending order of their
/// keys. How many there are is known from the start.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    Keys(cow_tree::Range<'a, Newest, ()>),
    Values(&'a Newests, cow_tree::Range<'a, Posting, ()>),
}

impl<'a> Iterator for Part<'a> {
    type Item = &'a Object;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Keys(range) => Some(&range.next()?.0.0),
            Self::Values(live, range) => {
                let posting = range.next()?.0;
                Some(&live.get_key_value(posting.key())?.0.0)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Keys(range) => range.size_hint(),
            Self::Values(_, range) => range.size_hint(),
        }
    }
}

impl ExactSizeIterator for Part<'_> {}

impl Borrow<[u8]> for Newest {
    fn borrow(&self) -> &[u8] {
        self.0.key()
    }
}

impl PartialEq for Newest {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for Newest {}

impl PartialOrd for Newest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Newest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key().cmp(other.0.key())
    }
}

impl Key for Newest {
    fn shared(&self, other: &Self) -> usize {
        self.0.key().shared(other.0.key())
    }

    fn head(&self, skip: usize) -> u64 {
        self.0.key().head(skip)
    }

    fn touch(&self) {
        black_box(self.0.revision());
    }

    /// With memory of its own: the version there may go before it does.
    fn separator(&self) -> Self {
        Self(self.0.separator())
    }
}

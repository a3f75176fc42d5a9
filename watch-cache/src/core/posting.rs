//! The keys of an index, by their values.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::ops::Bound;

use cow_tree::{Key, Tree};

use super::object::Object;
use super::text::Text;

/// A value, and a key that has it.
#[derive(Clone)]
pub(crate) struct Posting {
    value: Text,
    key: Text,
}

impl Posting {
    pub(crate) fn new(value: &[u8], key: &[u8]) -> Self {
        Self { value: Text::new(value), key: Text::new(key) }
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.key.bytes()
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        (self.value.bytes(), self.key.bytes())
    }
}

/// The keys by their values in one index. An object that is written without changing its value
/// changes nothing here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Postings {
    pub(crate) now: Tree<Posting, ()>,
    /// Those that were at a retained revision, and the last revision that ended them. They may be
    /// there again.
    pub(crate) past: Tree<Posting, u64>,
    round: Round,
}

/// One walk over the past, some of it at a time.
#[derive(Debug, Clone, Default)]
struct Round {
    /// What ended up to here is forgotten.
    floor: u64,
    /// Whether there is more to look at, and behind which posting.
    goes_on: bool,
    behind: Option<Posting>,
}

impl Postings {
    /// Those of a position among the indexes, of objects in the order of their keys.
    pub(crate) fn of(objects: &[Object], index: usize) -> Self {
        // Values are put together before they are sorted: they are fewer, and far apart in memory.
        let mut by_value: HashMap<&[u8], Vec<&Text>> = HashMap::new();
        for object in objects {
            if let Some(value) = object.index_value(index) {
                by_value.entry(value).or_default().push(object.key_text());
            }
        }
        let mut by_value: Vec<_> = by_value.into_iter().collect();
        by_value.sort_unstable_by_key(|(value, _)| *value);
        let of_value = by_value.into_iter().flat_map(|(value, keys)| {
            let value = Text::new(value);
            let posting =
                move |key: &Text| (Posting { value: value.clone(), key: key.clone() }, ());
            keys.into_iter().map(posting)
        });
        Self { now: Tree::from_sorted(of_value), past: Tree::new(), round: Round::default() }
    }

    /// The value of an object changes at a revision.
    pub(crate) fn change(
        &mut self,
        key: &Text,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
        revision: u64,
    ) {
        if let Some(old) = old {
            let posting = Posting { value: Text::new(old), key: key.clone() };
            let posting = self.now.remove_entry(&posting).map_or(posting, |(there, ())| there);
            self.past.insert(posting, revision);
        }
        if let Some(new) = new {
            self.now.insert(Posting { value: self.value(new), key: key.clone() }, ());
        }
    }

    /// A value, in the memory of another posting if one has it.
    fn value(&self, value: &[u8]) -> Text {
        let first = Posting::new(value, &[]);
        let same = self.now.range(&first..).next().map(|(there, ())| &there.value);
        same.filter(|there| there.bytes() == value).cloned().unwrap_or(first.value)
    }

    /// Looks at some of the past, and forgets of it what ended up to a revision. A round goes on to
    /// its end with the revision that it began with; the next one begins once there is a later.
    pub(crate) fn sweep(&mut self, floor: u64, count: usize) {
        if !self.round.goes_on {
            if floor <= self.round.floor {
                return;
            }
            self.round = Round { floor, goes_on: true, behind: None };
        }
        let Round { floor, behind, .. } = &self.round;
        let start = behind.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.past.range((start, Bound::Unbounded));
        let mut ended = Vec::new();
        let mut last = behind.as_ref();
        for (posting, at) in rest.by_ref().take(count) {
            ended.extend((at <= floor).then(|| posting.clone()));
            last = Some(posting);
        }
        let (behind, goes_on) = (last.cloned(), rest.next().is_some());
        (self.round.behind, self.round.goes_on) = (behind, goes_on);
        for posting in ended {
            self.past.remove(&posting);
        }
    }
}

impl fmt::Debug for Posting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt(f)
    }
}

impl PartialEq for Posting {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Posting {}

impl PartialOrd for Posting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Posting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

/// The symbols of the value, then those of the key.
impl Key for Posting {
    fn shared(&self, other: &Self) -> usize {
        self.parts().shared(&other.parts())
    }

    fn head(&self, skip: usize) -> u64 {
        self.parts().head(skip)
    }

    fn touch(&self) {
        self.value.touch();
        self.key.touch();
    }
}

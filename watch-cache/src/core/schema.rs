//! What a cache knows of its objects, and how it answers a selector with that.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::filter::{Condition, Filter, Wanted};
use super::index::{Attribute, Index};
use super::predicate::Predicate;
use super::selector::Selector;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};

/// What a cache knows of its objects: how to read their attributes, and which of them it indexes.
///
/// A list of indexes is one without a codec.
///
/// ```
/// use watch_cache::{Codec, Index, Schema};
///
/// fn of_pods(codec: impl Codec) -> Schema {
///     Schema::new(codec).index(Index::field("spec.nodeName")).index(Index::label("app"))
/// }
/// let without_codec = Schema::from(vec![Index::new("key", |pod| Some((&pod.key[..]).into()))]);
/// ```
#[derive(Clone, Default)]
pub struct Schema {
    codec: Option<Arc<dyn Codec>>,
    indexes: Vec<Index>,
}

impl Schema {
    /// Objects that `codec` reads, without an index.
    pub fn new(codec: impl Codec) -> Self {
        Self { codec: Some(Arc::new(codec)), indexes: vec![] }
    }

    /// One more index. Where a selector gives values to several indexes, the one that was given
    /// first is read: give those first that have few objects under each value.
    #[must_use]
    pub fn index(mut self, index: Index) -> Self {
        self.indexes.push(index);
        self
    }

    /// Ready to be used.
    pub(crate) fn planner(self) -> Result<Planner> {
        let Self { codec, indexes } = self;
        check(&indexes, codec.is_some())?;
        let indexes = indexes.into_iter().map(|index| match &codec {
            Some(codec) => index.with_codec(codec),
            None => index,
        });
        Ok(Planner { indexes: indexes.collect(), codec })
    }
}

impl From<Vec<Index>> for Schema {
    fn from(indexes: Vec<Index>) -> Self {
        Self { codec: None, indexes }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("indexes", &self.indexes).finish_non_exhaustive()
    }
}

fn check(indexes: &[Index], codec: bool) -> Result<()> {
    if indexes.len() > usize::from(u16::MAX) {
        return Err(invalid(format!(
            "{} indexes are given: give at most {}",
            indexes.len(),
            u16::MAX
        )));
    }
    for (position, index) in indexes.iter().enumerate() {
        let name = index.name();
        if indexes.iter().take(position).any(|other| other.name() == name) {
            return Err(invalid(format!("index {name:?} is given twice: give each its own name")));
        }
        if index.attribute().is_some() && !codec {
            return Err(invalid(format!("index {name:?} needs a codec: open with a schema")));
        }
    }
    Ok(())
}

/// Turns selectors into predicates.
#[derive(Clone)]
pub(crate) struct Planner {
    pub(crate) indexes: Arc<[Index]>,
    codec: Option<Arc<dyn Codec>>,
}

impl Planner {
    /// The predicate of a selector: the first index that has a value in it is read, the rest is a
    /// filter. The same selector always has the same predicate, so that its pages are of one list
    /// and its watchers are one group.
    pub(crate) fn predicate(&self, prefix: Bytes, selector: Selector) -> Result<Predicate> {
        if selector.is_all() {
            return Ok(Predicate { prefix, index: None, filter: None });
        }
        let mut conditions = self.conditions(selector)?;
        let values = conditions.iter().enumerate().filter_map(|(at, condition)| {
            Some((condition.index?, at, condition.wanted.equality()?))
        });
        let index = values.min_by_key(|(index, at, _)| (*index, *at)).map(|(index, at, value)| {
            conditions.remove(at);
            (index, value)
        });
        let filter = Filter::new(conditions, self.codec.clone()).map(Arc::new);
        Ok(Predicate { prefix, index, filter })
    }

    fn conditions(&self, selector: Selector) -> Result<Vec<Condition>> {
        let Selector { mut indexes, fields, labels } = selector;
        indexes.sort();
        indexes.dedup();
        let mut conditions = Vec::new();
        for (name, value) in indexes {
            let index = Some(self.find(&name)?);
            conditions.push(Condition { wanted: Wanted::Value(value), index });
        }
        let fields = fields.requirements().cloned().map(Wanted::Field);
        let labels = labels.requirements().cloned().map(Wanted::Label);
        for wanted in fields.chain(labels) {
            let index = wanted.attribute().and_then(|attribute| self.covers(&attribute));
            if self.codec.is_none() {
                return Err(invalid(
                    "the cache has no codec: select by an index, or open it with a schema".into(),
                ));
            }
            conditions.push(Condition { wanted, index });
        }
        Ok(conditions)
    }

    fn find(&self, name: &str) -> Result<usize> {
        self.indexes.iter().position(|index| index.name() == name).ok_or_else(|| {
            let known = &self.indexes;
            invalid(format!("there is no index {name:?}: name one of {known:?}"))
        })
    }

    fn covers(&self, attribute: &Attribute) -> Option<usize> {
        self.indexes.iter().position(|index| index.attribute() == Some(attribute))
    }
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planner").field("indexes", &self.indexes).finish_non_exhaustive()
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

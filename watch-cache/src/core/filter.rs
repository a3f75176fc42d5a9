//! The requirements of a selector that no index answers, judged object by object.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use super::index::Attribute;
use super::object::Object;
use super::selector::{FieldRequirement, LabelRequirement};
use crate::codec::Codec;

/// A conjunction of conditions; never without one.
pub(crate) struct Filter {
    conditions: Vec<Condition>,
    codec: Option<Arc<dyn Codec>>,
}

/// What one attribute, or the value in one index, is to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Condition {
    pub(crate) wanted: Wanted,
    /// The index that has the value; without one it is taken from the object's bytes.
    pub(crate) index: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    Value(Bytes),
    Field(FieldRequirement),
    Label(LabelRequirement),
}

impl Wanted {
    fn is_met(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Value(wanted) => value.is_some_and(|value| value == wanted),
            Self::Field(requirement) => requirement.is_met(value),
            Self::Label(requirement) => requirement.is_met(value),
        }
    }

    /// What it is about, where that is known to a codec.
    pub(crate) fn attribute(&self) -> Option<Attribute> {
        match self {
            Self::Value(_) => None,
            Self::Field(requirement) => Some(Attribute::Field(requirement.name().into())),
            Self::Label(requirement) => Some(Attribute::Label(requirement.name().into())),
        }
    }

    /// The one value of an index that has all objects which meet this, if there is one.
    pub(crate) fn equality(&self) -> Option<Bytes> {
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Field(requirement) => requirement.equality().map(text),
            Self::Label(requirement) => requirement.equality().map(text),
        }
    }
}

/// As an index of it and its value are told apart in a fingerprint.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Wanted::Value(value) => write!(f, "index {:?} {value:?}", self.index),
            Wanted::Field(requirement) => write!(f, "field {requirement}"),
            Wanted::Label(requirement) => write!(f, "label {requirement}"),
        }
    }
}

impl Filter {
    /// None without a condition.
    pub(crate) fn new(conditions: Vec<Condition>, codec: Option<Arc<dyn Codec>>) -> Option<Self> {
        (!conditions.is_empty()).then(|| Self { conditions, codec })
    }

    pub(crate) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Whether a version that is no delete meets all conditions.
    pub(crate) fn takes(&self, version: &Object) -> bool {
        self.conditions.iter().all(|condition| {
            let value = self.value(condition, version);
            condition.wanted.is_met(value.as_deref())
        })
    }

    fn value<'a>(&self, condition: &Condition, version: &'a Object) -> Option<Cow<'a, [u8]>> {
        if let Some(index) = condition.index {
            return version.index_value(index).map(Cow::Borrowed);
        }
        let codec = self.codec.as_deref()?;
        match &condition.wanted {
            Wanted::Value(_) => None,
            Wanted::Field(requirement) => codec.field(version.into(), requirement.name()),
            Wanted::Label(requirement) => codec.label(version.into(), requirement.name()),
        }
    }
}

/// The codec is the cache's, and so the same for all.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.conditions == other.conditions
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.conditions.hash(state);
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.conditions.iter().map(Condition::to_string)).finish()
    }
}

//! Secondary indexes: a name, and how to take the value from an object.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::codec::{Codec, Encoded};
use crate::object::SourceObject;

type Extract = dyn Fn(&SourceObject) -> Option<Cow<'_, [u8]>> + Send + Sync;

/// What a codec finds in an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Attribute {
    Field(Arc<str>),
    Label(Arc<str>),
}

impl Attribute {
    pub(crate) fn of<'a>(&self, codec: &dyn Codec, object: Encoded<'a>) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Field(name) => codec.field(object, name),
            Self::Label(name) => codec.label(object, name),
        }
    }
}

/// A secondary index of a cache.
///
/// Its value is taken once for each version of an object, by the driver. A value that is borrowed
/// from the object takes no memory of its own; one that is made is kept beside the object.
///
/// ```
/// use std::borrow::Cow;
/// use watch_cache::Index;
///
/// // The value is "node/…" in this example.
/// let by_node = Index::new("node", |object| {
///     object.value.strip_prefix(b"node/").map(Cow::Borrowed)
/// });
/// assert_eq!(by_node.name(), "node");
/// // What a codec finds.
/// assert_eq!(Index::field("spec.nodeName").name(), "spec.nodeName");
/// assert_eq!(Index::label("app").name(), "label:app");
/// ```
#[derive(Clone)]
pub struct Index {
    name: Arc<str>,
    take: Take,
}

/// Where the value comes from.
#[derive(Clone)]
enum Take {
    Function(Arc<Extract>),
    /// A codec, which an index of an open cache has.
    Codec(Attribute, Option<Arc<dyn Codec>>),
}

impl Index {
    /// An index called `name` over the values that `extract` finds; objects for which it finds
    /// none are not in the index. It is used by who selects by its name.
    ///
    /// The function must depend on nothing but the object, and must not panic: a panic ends the
    /// driver.
    pub fn new(
        name: impl Into<Arc<str>>,
        extract: impl Fn(&SourceObject) -> Option<Cow<'_, [u8]>> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), take: Take::Function(Arc::new(extract)) }
    }

    /// An index over the values of a field, as the cache's [`Codec`] finds them. It has the field's
    /// name, and is also used where a [`FieldSelector`](crate::FieldSelector) says what the field
    /// is.
    pub fn field(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self { take: Take::Codec(Attribute::Field(Arc::clone(&name)), None), name }
    }

    /// An index over the values of a label, as the cache's [`Codec`] finds them. It is called
    /// `label:` and the label's name, and is also used where a
    /// [`LabelSelector`](crate::LabelSelector) says what the label is.
    pub fn label(name: impl Into<Arc<str>>) -> Self {
        let label = name.into();
        let name = format!("label:{label}").into();
        Self { name, take: Take::Codec(Attribute::Label(label), None) }
    }

    /// The name that requests select by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it covers of what a codec finds.
    pub(crate) fn attribute(&self) -> Option<&Attribute> {
        match &self.take {
            Take::Codec(attribute, _) => Some(attribute),
            Take::Function(_) => None,
        }
    }

    /// The same index with the codec that it asks.
    pub(crate) fn with_codec(self, codec: &Arc<dyn Codec>) -> Self {
        let take = match self.take {
            Take::Codec(attribute, _) => Take::Codec(attribute, Some(Arc::clone(codec))),
            function @ Take::Function(_) => function,
        };
        Self { take, ..self }
    }

    pub(crate) fn value<'a>(&self, object: &'a SourceObject) -> Option<Cow<'a, [u8]>> {
        match &self.take {
            Take::Function(extract) => extract(object),
            Take::Codec(attribute, codec) => attribute.of(&**codec.as_ref()?, object.into()),
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Index").field(&self.name).finish()
    }
}

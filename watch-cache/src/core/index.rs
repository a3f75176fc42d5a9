//! Secondary indexes: a name, and how to take the value from an object.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::object::Object;

type Extract = dyn Fn(&Object) -> Option<Bytes> + Send + Sync;

/// A secondary index of a cache.
///
/// The function is called once for each version of an object, by the driver. It must depend on
/// nothing but the object, and must not panic: a panic ends the driver.
///
/// ```
/// use watch_cache::{Index, Object};
///
/// // The value is "node/…" in this example.
/// let by_node = Index::new("spec.nodeName", |object: &Object| {
///     object.value.starts_with(b"node/").then(|| object.value.slice(5..))
/// });
/// assert_eq!(by_node.name(), "spec.nodeName");
/// ```
#[derive(Clone)]
pub struct Index {
    name: Arc<str>,
    extract: Arc<Extract>,
}

impl Index {
    /// An index called `name` over the values that `extract` finds; objects for which it finds
    /// none are not in the index.
    pub fn new(
        name: impl Into<Arc<str>>,
        extract: impl Fn(&Object) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), extract: Arc::new(extract) }
    }

    /// The name that requests select by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Index").field(&self.name).finish()
    }
}

/// An object with its value in each index, taken once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) object: Arc<Object>,
    pub(crate) values: Box<[Option<Bytes>]>,
}

impl Indexed {
    pub(crate) fn new(object: Arc<Object>, indexes: &[Index]) -> Arc<Self> {
        let values = indexes.iter().map(|index| (index.extract)(&object)).collect();
        Arc::new(Self { object, values })
    }

    pub(crate) fn value(&self, index: usize) -> Option<&Bytes> {
        self.values.get(index)?.as_ref()
    }

    /// The bytes that this version of the object takes: its own, and the structures around them.
    pub(crate) fn bytes(&self) -> usize {
        const OVERHEAD: usize = size_of::<Indexed>() + size_of::<Object>() + 32;
        self.object.key.len() + self.object.value.len() + OVERHEAD
    }
}

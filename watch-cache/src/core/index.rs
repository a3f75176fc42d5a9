//! Secondary indexes: a name, and how to take the value from an object.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::object::SourceObject;

type Extract = dyn Fn(&SourceObject) -> Option<Cow<'_, [u8]>> + Send + Sync;

/// A secondary index of a cache.
///
/// The function is called once for each version of an object, by the driver. It must depend on
/// nothing but the object, and must not panic: a panic ends the driver. A value that it borrows from
/// the object takes no memory of its own; one that it makes is kept beside the object.
///
/// ```
/// use std::borrow::Cow;
/// use watch_cache::Index;
///
/// // The value is "node/…" in this example.
/// let by_node = Index::new("spec.nodeName", |object| {
///     object.value.strip_prefix(b"node/").map(Cow::Borrowed)
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
        extract: impl Fn(&SourceObject) -> Option<Cow<'_, [u8]>> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), extract: Arc::new(extract) }
    }

    /// The name that requests select by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn value<'a>(&self, object: &'a SourceObject) -> Option<Cow<'a, [u8]>> {
        (self.extract)(object)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Index").field(&self.name).finish()
    }
}

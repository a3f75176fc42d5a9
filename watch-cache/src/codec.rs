//! The port to what an object's bytes say.

use std::borrow::Cow;
use std::sync::Arc;

use crate::core::object::Object;
use crate::object::SourceObject;

/// The bytes of one version of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// The object's key.
    pub key: &'a [u8],
    /// The object's value.
    pub value: &'a [u8],
}

impl<'a> From<&'a SourceObject> for Encoded<'a> {
    fn from(object: &'a SourceObject) -> Self {
        Self { key: &object.key, value: &object.value }
    }
}

impl<'a> From<&'a Object> for Encoded<'a> {
    fn from(object: &'a Object) -> Self {
        Self { key: object.key(), value: object.value() }
    }
}

/// How fields and labels are taken from an object's bytes, so that requests can select by them and
/// indexes can cover them.
///
/// A cache asks for what a selector names that no index covers, once for each object that it
/// judges, and for what an index covers once for each version of an object. So a codec should find
/// one attribute without decoding the rest.
///
/// ```
/// use std::borrow::Cow;
/// use watch_cache::{Codec, Encoded};
///
/// /// Values are lines of `name=value`; those of labels begin with a dot.
/// struct Lines;
///
/// fn find<'a>(object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
///     let mut lines = object.value.split(|byte| *byte == b'\n');
///     let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
///     value.map(Cow::Borrowed)
/// }
///
/// impl Codec for Lines {
///     fn field<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
///         find(object, name)
///     }
///
///     fn label<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
///         find(object, &format!(".{name}"))
///     }
/// }
///
/// let pod = Encoded { key: b"/pods/a", value: b"spec.nodeName=n1\n.app=web" };
/// assert_eq!(Lines.field(pod, "spec.nodeName").as_deref(), Some(&b"n1"[..]));
/// assert_eq!(Lines.label(pod, "app").as_deref(), Some(&b"web"[..]));
/// assert_eq!(Lines.label(pod, "tier"), None);
/// ```
///
/// # Contract
///
/// 1. The answer depends on nothing but the object's bytes and the name.
/// 2. It is none if the object does not have it, or has bytes that are not understood. A codec must
///    not panic: within an index or a watch a panic ends the cache's driver.
pub trait Codec: Send + Sync + 'static {
    /// The value of the field `name`. A field that is empty and one that is not there are the same
    /// to selectors.
    fn field<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>>;

    /// The value of the label `name`. A label may be there and empty.
    fn label<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>>;
}

impl<C: Codec + ?Sized> Codec for Arc<C> {
    fn field<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
        (**self).field(object, name)
    }

    fn label<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
        (**self).label(object, name)
    }
}

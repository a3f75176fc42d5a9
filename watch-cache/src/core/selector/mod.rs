//! What a reader selects within a prefix: plain data and its text.

mod fields;
mod labels;
mod lexer;

use bytes::Bytes;

pub use fields::{FieldRequirement, FieldSelector};
pub use labels::{LabelRequirement, LabelSelector};

use crate::error::{Error, ErrorKind, Result};

/// What a reader selects within its prefix: the objects that meet every requirement. The default
/// selects all.
///
/// ```
/// use watch_cache::Selector;
///
/// let selector = Selector::parse("app in (web, api), !canary", "spec.nodeName=n1")?;
/// assert_eq!(selector.labels.to_string(), "app in (api,web),!canary");
/// assert!(Selector::parse("", "")?.is_all());
/// # Ok::<_, watch_cache::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Selector {
    /// Values in indexes, by the indexes' names.
    pub indexes: Vec<(String, Bytes)>,
    /// What fields are to be.
    pub fields: FieldSelector,
    /// What labels are to be.
    pub labels: LabelSelector,
}

impl Selector {
    /// By the text of a label selector and of a field selector; empty ones select all.
    ///
    /// # Errors
    ///
    /// `Invalid` with the place in the text; see [`LabelSelector`] and [`FieldSelector`].
    pub fn parse(labels: &str, fields: &str) -> Result<Self> {
        Ok(Self { indexes: vec![], fields: fields.parse()?, labels: labels.parse()? })
    }

    /// Also only objects with `value` in the index `name`.
    #[must_use]
    pub fn index(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.indexes.push((name.into(), value.into()));
        self
    }

    /// Whether there is no requirement.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.indexes.is_empty() && self.fields.is_empty() && self.labels.is_empty()
    }
}

/// An error of the text of a selector, that says where.
fn invalid_at(what: &str, at: usize, found: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} at byte {at}: {}", found.as_ref()))
}

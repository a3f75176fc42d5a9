//! What a pod or a pool asks of a node's labels.

use std::fmt;
use std::sync::Arc;

/// How a [`Requirement`] compares a label with its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// The label is present with one of the values.
    In,
    /// The label is absent, or present with none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above the one value.
    Gt,
    /// The label is an integer below the one value.
    Lt,
}

/// A condition on one label of a node; a pod's requirements must all hold.
///
/// The semantics are those of Kubernetes' node affinity.
///
/// ```
/// use binpack::{Domain, Requirement};
///
/// let zone = Requirement::is_in("zone", ["a", "b"]);
/// let not_a = Requirement::not_in("zone", ["a"]);
/// let both = Domain::of(&zone)?.intersect(&Domain::of(&not_a)?);
/// assert!(both.allows(Some("b")) && !both.allows(Some("a")) && !both.allows(None));
/// # Ok::<(), binpack::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// The label's key.
    pub key: Arc<str>,
    /// How the label is compared.
    pub operator: Operator,
    /// At least one for `In` and `NotIn`, exactly one integer for `Gt` and `Lt`, else none.
    pub values: Vec<Arc<str>>,
}

impl Requirement {
    /// The label `key` has one of `values`.
    pub fn is_in<V: Into<Arc<str>>>(
        key: impl Into<Arc<str>>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::with(key, Operator::In, values)
    }

    /// The label `key` has none of `values`.
    pub fn not_in<V: Into<Arc<str>>>(
        key: impl Into<Arc<str>>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::with(key, Operator::NotIn, values)
    }

    /// The label `key` is present.
    pub fn exists(key: impl Into<Arc<str>>) -> Self {
        Self { key: key.into(), operator: Operator::Exists, values: Vec::new() }
    }

    /// The label `key` is absent.
    pub fn does_not_exist(key: impl Into<Arc<str>>) -> Self {
        Self { key: key.into(), operator: Operator::DoesNotExist, values: Vec::new() }
    }

    /// The label `key` is an integer above `bound`.
    pub fn greater_than(key: impl Into<Arc<str>>, bound: i64) -> Self {
        Self::with(key, Operator::Gt, [bound.to_string()])
    }

    /// The label `key` is an integer below `bound`.
    pub fn less_than(key: impl Into<Arc<str>>, bound: i64) -> Self {
        Self::with(key, Operator::Lt, [bound.to_string()])
    }

    /// Whether a label with this value, or without one, satisfies it. A malformed requirement is
    /// satisfied by nothing.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|listed| &**listed == value);
        let compare = |by: fn(&i64, &i64) -> bool| {
            let bound = self.values.first().and_then(|bound| bound.parse::<i64>().ok());
            let number = value.and_then(|value| value.parse::<i64>().ok());
            number.zip(bound).is_some_and(|(number, bound)| by(&number, &bound))
        };
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compare(i64::gt),
            Operator::Lt => compare(i64::lt),
        }
    }

    fn with<V: Into<Arc<str>>>(
        key: impl Into<Arc<str>>,
        operator: Operator,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self { key: key.into(), operator, values: values.into_iter().map(Into::into).collect() }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.key, self.operator)?;
        if self.values.is_empty() {
            return Ok(());
        }
        write!(f, " [{}]", self.values.join(", "))
    }
}

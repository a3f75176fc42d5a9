//! Taints that keep pods away from nodes, and tolerations that let them in.

use std::fmt;
use std::sync::Arc;

/// What a taint does to a pod that doesn't tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// The pod is not placed there.
    NoSchedule,
    /// The pod is placed there only where nothing else is free.
    PreferNoSchedule,
    /// The pod is not placed there, and one that runs there is evicted.
    NoExecute,
}

/// A mark on a node that keeps pods away.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taint {
    /// The taint's key.
    pub key: Arc<str>,
    /// The taint's value, which may be empty.
    pub value: Arc<str>,
    /// What it does.
    pub effect: Effect,
}

impl Taint {
    /// A taint.
    pub fn new(key: impl Into<Arc<str>>, value: impl Into<Arc<str>>, effect: Effect) -> Self {
        Self { key: key.into(), value: value.into(), effect }
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{:?}", self.key, self.value, self.effect)
    }
}

/// How a [`Toleration`] compares a taint with itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TolerationOperator {
    /// Key and value are equal.
    Equal(Arc<str>),
    /// The key is equal, whatever the value.
    Exists,
}

/// A pod's permission to be placed on nodes with certain taints.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Toleration {
    /// The taint's key; `None` tolerates every key and goes with [`TolerationOperator::Exists`].
    pub key: Option<Arc<str>>,
    /// How the taint's value is compared.
    pub operator: TolerationOperator,
    /// The taint's effect; `None` tolerates every effect.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// Tolerates taints with this key and value, of every effect.
    pub fn equal(key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self {
            key: Some(key.into()),
            operator: TolerationOperator::Equal(value.into()),
            effect: None,
        }
    }

    /// Tolerates taints with this key, whatever their value and effect.
    pub fn exists(key: impl Into<Arc<str>>) -> Self {
        Self { key: Some(key.into()), operator: TolerationOperator::Exists, effect: None }
    }

    /// Tolerates every taint.
    #[must_use]
    pub fn everything() -> Self {
        Self { key: None, operator: TolerationOperator::Exists, effect: None }
    }

    /// The same, of this effect only.
    #[must_use]
    pub fn for_effect(mut self, effect: Effect) -> Self {
        self.effect = Some(effect);
        self
    }
}

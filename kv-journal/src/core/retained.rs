//! A state made of parts that were built apart.

use cow_tree::Tree;

use super::entry::{Keys, Newest};
use super::lease::LeaseSet;
use super::log::Log;
use super::mvcc::State;
use super::property::Properties;
use super::value::KeyValue;

/// What a state is made of.
pub(crate) struct Parts {
    pub(crate) revision: u64,
    pub(crate) compact_revision: u64,
    /// The journal's number of the record that follows.
    pub(crate) next_seq: u64,
    /// The newest versions of keys that exist, each linked to those before it.
    pub(crate) live: Keys,
    /// The deletes of keys that do not exist, each linked to the versions before it.
    pub(crate) deleted: Keys,
    pub(crate) log: Log,
    pub(crate) leases: LeaseSet,
    pub(crate) properties: Properties,
    /// How many versions and deletes there are, and the bytes of their keys and values.
    pub(crate) versions: u64,
    pub(crate) bytes: u64,
}

impl State {
    /// A state of trees that were built apart.
    pub(crate) fn from_parts(parts: Parts) -> Self {
        let mut state = Self::new();
        state.restore(parts);
        state
    }
}

/// Builds a tree of keys from their newest versions in key order.
pub(crate) fn keys_of(versions: impl IntoIterator<Item = KeyValue>) -> Keys {
    Tree::from_sorted(versions.into_iter().map(|kv| (Newest(kv), ())))
}

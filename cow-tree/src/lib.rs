//! A persistent (copy-on-write) ordered map: a B+tree whose nodes are shared between clones.
//!
//! [`Tree`] has the interface of [`BTreeMap`](std::collections::BTreeMap), and
//!
//! - a clone costs `O(1)`, is a snapshot that no later write changes, and can be read by other
//!   threads while the original is written to;
//! - a write changes nodes in place where nobody shares them, and copies the path to the entry
//!   where somebody does;
//! - counts, ranks and positions of keys and ranges cost `O(log n)`, and so do sums of anything
//!   that adds up ([`Summary`]): bytes, hashes, maxima;
//! - the difference between two clones is found in the order of what changed, not of what is there
//!   ([`Tree::diff`]);
//! - a search compares a few bits of each key that lie in the node, not the keys ([`Key`]).
//!
//! ```
//! use cow_tree::{Change, Tree};
//!
//! let mut pods: Tree<String, u32> = (0..1000).map(|i| (format!("/pods/{i:03}"), i)).collect();
//! let snapshot = pods.clone(); // O(1)
//!
//! pods.insert("/pods/500/eph".into(), 1);
//! pods.remove("/pods/007");
//! pods.update("/pods/123", |value| *value = 0);
//!
//! assert_eq!(snapshot.get("/pods/007"), Some(&7)); // the snapshot is as it was
//! assert_eq!(pods.count_of("/pods/5".to_string().."/pods/6".to_string()), 101); // O(log n)
//! assert_eq!(pods.nth(7).map(|(key, _)| key.as_str()), Some("/pods/008"));
//!
//! let changed: Vec<&str> = snapshot.diff(&pods).map(|change| change.key().as_str()).collect();
//! assert_eq!(changed, ["/pods/007", "/pods/123", "/pods/500/eph"]);
//! assert!(matches!(snapshot.diff(&pods).next(), Some(Change::Removed { value: 7, .. })));
//! ```
//!
//! [`Log`] is the other way round: what was added in order, by place, with the same cheap clones.
//!
//! # Panics
//!
//! Nothing here panics by itself. Clones of a tree are never affected by a panic in the caller's
//! code. The tree itself is in order after one in `Ord` or in the closure of [`Tree::update`]; after
//! one in `Clone` or [`Summary`] during a write, what it holds is unspecified.
#![forbid(unsafe_code)]

mod bulk;
#[cfg(test)]
mod check;
mod diff;
mod edit;
mod heads;
mod join;
mod key;
mod log;
#[cfg(test)]
mod model;
mod node;
mod range;
mod summary;
mod tree;

pub use diff::{Change, Diff};
pub use key::Key;
pub use log::{Log, Place};
pub use range::Range;
pub use summary::Summary;
pub use tree::Tree;

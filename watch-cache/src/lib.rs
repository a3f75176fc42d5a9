//! A revision-consistent cache between one revisioned source and very many readers and watchers.
//!
//! A [`Cache`] lists a [`Source`] once and then follows it. It answers gets, lists at exact
//! revisions, lists by a secondary index, and watches, without asking the source again: for a
//! consistent read it asks one cheap question on behalf of all who wait.
//!
//! ```
//! use std::sync::Arc;
//!
//! use futures_util::StreamExt;
//! use watch_cache::{Cache, Config, Index, ListRequest, MemorySource};
//! use watch_cache::{Start, WatchEvent, WatchRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> watch_cache::Result<()> {
//! let source = Arc::new(MemorySource::new());
//! let by_node = Index::new("node", |pod| Some((&pod.value[..]).into()));
//! let (cache, driver) = Cache::open(source.clone(), vec![by_node], Config::default())?;
//! tokio::spawn(driver);
//! cache.ready().await?;
//!
//! let request = WatchRequest::new("/pods/").index("node", "n1").from(Start::Initial);
//! let mut watcher = cache.watch(request)?;
//! let end = watcher.next().await.unwrap()?;
//! assert!(matches!(end, WatchEvent::Bookmark { initial_end: true, .. }));
//!
//! source.put("/pods/a", "n2"); // of no interest to this watcher
//! let revision = source.put("/pods/b", "n1");
//! let added = watcher.next().await.unwrap()?;
//! assert!(matches!(&added, WatchEvent::Added { object, .. } if object.key() == b"/pods/b"));
//! assert_eq!(added.revision(), revision);
//!
//! let pods = cache.list(ListRequest::new("/pods/")).await?;
//! assert_eq!((pods.revision, pods.objects.len()), (revision, 2));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod cache;
mod codec;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod core;
mod error;
mod object;
pub mod oracle;
mod source;

#[doc(hidden)]
pub use cache::fuzz_checkpoint;
pub use cache::{
    At, Cache, Delivery, Driver, Flow, Latency, ListRequest, ListResponse, ListStream, Pump, Sink,
    Snapshot, Start, Stats, Subscription, Verification, WatchRequest, Watcher,
};
pub use codec::{Codec, Encoded};
pub use config::{CheckpointConfig, Config, Limit};
pub use core::digest::Digest;
pub use core::event::WatchEvent;
pub use core::footprint::Footprint;
pub use core::index::Index;
pub use core::object::Object;
pub use core::schema::Schema;
pub use core::selector::{
    FieldRequirement, FieldSelector, LabelRequirement, LabelSelector, Selector,
};
pub use core::token::ContinueToken;
pub use error::{Error, ErrorKind, Result};
pub use object::{Change, Revision, SourceObject};
pub use source::{
    CurrentRevision, Events, FaultSource, Freshness, Listing, MemorySource, ProgressMode,
    RequestProgress, RevisionDigest, Source, SourceEvent, Write,
};
#[cfg(feature = "etcd")]
pub use source::{EtcdConfig, EtcdProgress, EtcdSource};
#[cfg(feature = "kubernetes")]
pub use source::{KubernetesAnswer, KubernetesClient, KubernetesConfig, KubernetesSource};

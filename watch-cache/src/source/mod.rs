//! The port to the store that a cache follows.

#[cfg(feature = "etcd")]
mod etcd;
mod fault;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod memory;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::core::digest::Digest;
use crate::error::Result;
use crate::object::{Revision, SourceObject};

#[cfg(feature = "etcd")]
pub use etcd::{EtcdConfig, EtcdProgress, EtcdSource};
pub use fault::FaultSource;
#[cfg(feature = "kubernetes")]
pub use kubernetes::{KubernetesAnswer, KubernetesClient, KubernetesConfig, KubernetesSource};
pub use memory::{MemorySource, ProgressMode, Write};

/// The state of a prefix at one revision, in batches.
pub struct Listing {
    /// The revision of every object in the listing.
    pub revision: u64,
    /// The objects in ascending order of their keys.
    pub objects: BoxStream<'static, Result<Vec<SourceObject>>>,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// The digest of a state, and the revision that it is the state of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevisionDigest {
    /// The revision.
    pub revision: u64,
    /// The digest of the objects at it.
    pub digest: Digest,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// One whole revision, cut to the watched prefix.
    Revision(Revision),
    /// Every revision up to this one that touches the prefix was delivered before.
    Progress(u64),
}

/// A watch of a [`Source`].
pub type Events = BoxStream<'static, Result<SourceEvent>>;

/// How a reader learns that its watch has reached a revision which changed nothing under its
/// prefix. A consistent read asks for the current revision and waits until its watch is there.
#[derive(Clone, Copy)]
pub enum Freshness<'a> {
    /// Every watch is told of progress as revisions move (kv-journal).
    Pushed(&'a dyn CurrentRevision),
    /// A watch is told of progress when asked to (etcd).
    OnRequest(&'a dyn RequestProgress),
    /// A watch knows of revisions that touch its prefix, and a listing is the one fresh read
    /// (the Kubernetes API). A cache then lists to answer consistent reads, one list at a time for
    /// all who wait.
    ListOnly,
}

impl fmt::Debug for Freshness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pushed(_) => "Pushed",
            Self::OnRequest(_) => "OnRequest",
            Self::ListOnly => "ListOnly",
        })
    }
}

/// The cheap question behind a consistent read.
#[async_trait]
pub trait CurrentRevision: Send + Sync {
    /// A revision that is at least that of every write acknowledged before the call, and that the
    /// source has reached.
    async fn current_revision(&self) -> Result<u64>;
}

/// A [`CurrentRevision`] whose watches speak of progress on request.
#[async_trait]
pub trait RequestProgress: CurrentRevision {
    /// Asks that each open watch be told of its progress.
    async fn request_progress(&self) -> Result<()>;
}

/// A revisioned store that a cache lists once and then watches.
///
/// Errors carry the kind that says what to do: `Expired` makes a cache list again, `Invalid` and
/// `Closed` end it, and after all others it tries again with backoff. A cache does not give up on a
/// list or on a silent watch: an adapter over a network bounds its calls and notices a dead
/// connection itself.
///
/// # Contract
///
/// 1. `list(prefix, None)` answers at a revision that is at least that of every write acknowledged
///    before the call.
/// 2. A listing holds exactly the objects under the prefix at its revision, in ascending order of
///    their keys, each once, with `1 ≤ create_revision ≤ mod_revision ≤ revision`.
/// 3. `list(prefix, Some(r))` answers exactly the state at `r`, `Expired` if `r` was compacted, and
///    `TooLarge` if `r` was not reached.
/// 4. `watch(prefix, after)` delivers each revision above `after` that touches the prefix exactly
///    once, in ascending order, first those of the past, then those to come.
/// 5. Revisions are whole: all that one transaction changed under the prefix comes in one event,
///    each key once, with `mod_revision` equal to the event's revision, and nothing else.
/// 6. A watch after a compacted revision says `Expired`, from the call or as its first item.
/// 7. `Progress(r)` comes only after every event up to `r`, is at least 1, and never goes back.
/// 8. A current revision is at least that of every write acknowledged before the question, and one
///    that the source has reached.
/// 9. `Pushed`: a watch reaches each current revision, by an event or by progress, without being
///    asked. `OnRequest`: it does when asked after the answer.
/// 10. An error is the last item of a watch.
/// 11. A digest is that of what a list of its revision holds under the prefixes, and as current as a
///     list at no revision.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The objects under `prefix` at revision `at`, or at a current one.
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing>;

    /// The revisions above `after` that touch `prefix`.
    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events>;

    /// Which store this is, for as long as its revisions go on, as etcd's cluster has an id; none if it
    /// cannot tell. A cache does not begin from a checkpoint of another store, and asks with a prefix
    /// that it reads.
    async fn store(&self, prefix: &Bytes) -> Result<Option<Bytes>> {
        let _ = prefix;
        Ok(None)
    }

    /// The digest of the objects under `prefixes`, none of which is within another, all at one revision.
    /// None if the source does not know it with less than a listing of them. A cache compares it with its
    /// own from time to time: see [`compare_interval`](crate::Config::compare_interval).
    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        let _ = prefixes;
        Ok(None)
    }

    /// How a watch learns of progress; the same on every call.
    fn freshness(&self) -> Freshness<'_>;
}

#[async_trait]
impl<S: Source + ?Sized> Source for Arc<S> {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        (**self).list(prefix, at).await
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        (**self).watch(prefix, after).await
    }

    async fn store(&self, prefix: &Bytes) -> Result<Option<Bytes>> {
        (**self).store(prefix).await
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        (**self).digest(prefixes).await
    }

    fn freshness(&self) -> Freshness<'_> {
        (**self).freshness()
    }
}

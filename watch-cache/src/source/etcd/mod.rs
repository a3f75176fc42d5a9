//! Any etcd as a [`Source`].

mod calls;
mod channel;
mod config;
mod failure;
mod join;
mod list;
mod login;
mod messages;
mod tls;
mod version;
mod watch;

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use self::calls::{Calls, EVERYTHING};
use super::{CurrentRevision, Events, Freshness, Listing, RequestProgress, RevisionDigest, Source};
use crate::error::Result;

pub use config::{EtcdConfig, EtcdProgress};

/// An etcd of version 3.4 or newer, or whatever serves its API, as a [`Source`].
///
/// - A list is read in pages, all at the revision of the first. It holds one page at a time.
/// - Its digest is made of a list of the keys alone.
/// - Each watch has a stream of its own, so one that is read slowly holds up no other, and a request
///   for progress goes to each of them.
/// - A watch that begins in a revision of which etcd may have compacted a part is
///   [`Expired`](crate::ErrorKind::Expired); one that begins after a revision that is not there yet, as
///   after a restored backup, is [`TooLarge`](crate::ErrorKind::TooLarge).
/// - How true a server's progress is depends on its version: see [`EtcdProgress`].
/// - A connection that is dead is noticed, and after a failure the next endpoint is used. Reads are
///   tried once at each; a cache does what else there is to retry.
/// - A token that has run out is renewed. A user needs to read no more than what is cached: the current
///   revision is that of a read of the key that is the prefix which was listed or watched first, and of
///   the key `\0` before that.
/// - An answer of another cluster than the first is [`Invalid`](crate::ErrorKind::Invalid).
///
/// What etcd compacts while it has not yet sent it to a slow watch may be lost before 3.4.31 and 3.5.13
/// (etcd#17529); with [`EtcdProgress::AllKeys`], as by default with those versions, that is noticed.
///
/// ```no_run
/// use std::sync::Arc;
/// use watch_cache::{Cache, Config, EtcdConfig, EtcdSource, ListRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> watch_cache::Result<()> {
/// let etcd = EtcdConfig::new(["http://127.0.0.1:2379"]);
/// let source = EtcdSource::new(etcd, |connection| drop(tokio::spawn(connection)))?;
/// let mut config = Config::default();
/// config.prefixes = vec!["/registry/pods/".into(), "/registry/nodes/".into()];
/// let (cache, driver) = Cache::open(Arc::new(source), vec![], config)?;
/// tokio::spawn(driver);
/// cache.ready().await?;
/// let pods = cache.list(ListRequest::new("/registry/pods/")).await?;
/// println!("{} pods at {}", pods.objects.len(), pods.revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EtcdSource {
    calls: Arc<Calls>,
    /// The prefix that was asked for first: its key may surely be read.
    readable: Arc<OnceLock<Bytes>>,
}

impl EtcdSource {
    /// A source whose connections are run by `spawn`. Nothing is connected before the first call.
    ///
    /// # Errors
    ///
    /// `Invalid` if a setting is out of its range, there is no endpoint or one is not a URL, or
    /// something about TLS is wrong or missing.
    pub fn new(
        config: EtcdConfig,
        spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
    ) -> Result<Self> {
        let calls = Arc::new(Calls::new(config, Arc::new(spawn))?);
        Ok(Self { calls, readable: Arc::default() })
    }

    fn readable(&self, prefix: &Bytes) {
        self.readable.get_or_init(|| prefix.clone());
    }
}

#[async_trait]
impl Source for EtcdSource {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        self.readable(prefix);
        list::list(Arc::clone(&self.calls), prefix.clone(), at).await
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        self.readable(prefix);
        watch::watch(Arc::clone(&self.calls), prefix.clone(), after).await
    }

    async fn store(&self, prefix: &Bytes) -> Result<Option<Bytes>> {
        self.readable(prefix);
        let cluster = self.calls.cluster(prefix).await?;
        Ok(Some(Bytes::copy_from_slice(&cluster.to_be_bytes())))
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        list::digest(&self.calls, prefixes).await
    }

    fn freshness(&self) -> Freshness<'_> {
        Freshness::OnRequest(self)
    }
}

#[async_trait]
impl CurrentRevision for EtcdSource {
    async fn current_revision(&self) -> Result<u64> {
        self.calls.current_revision(self.readable.get().unwrap_or(&EVERYTHING)).await
    }
}

#[async_trait]
impl RequestProgress for EtcdSource {
    async fn request_progress(&self) -> Result<()> {
        self.calls.request_progress();
        Ok(())
    }
}

impl fmt::Debug for EtcdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdSource").field("config", &self.calls.config).finish_non_exhaustive()
    }
}

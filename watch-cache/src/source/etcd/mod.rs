//! Any etcd as a source: of release 3.4 or later, or whatever speaks its v3 API.

mod client;
mod message;
mod revisions;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch::Sender;

use self::client::{Client, User};
use self::message::{Empty, RangeRequest, RangeResponse, StatusResponse};
use self::revisions::{object, revision};
use super::{CurrentRevision, Events, Freshness, Listing, RequestProgress, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{SourceObject, prefix_end};

pub use client::Channel;

/// How to use an etcd.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EtcdConfig {
    /// The user to be, if etcd asks for one.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// How long the answer to one request may take.
    pub request_timeout: Duration,
    /// How many objects one request of a listing asks for.
    pub page: usize,
    /// Whether answers to requests for progress are believed. Without a word the release says it:
    /// before 3.4.25 and 3.5.8 such an answer could come before events that it covers
    /// (etcd-io/etcd#15220). A source that does not believe them declares
    /// [`Freshness::ListOnly`]: consistent reads then list.
    pub believe_progress: Option<bool>,
}

impl Default for EtcdConfig {
    fn default() -> Self {
        Self {
            user: None,
            password: None,
            request_timeout: Duration::from_secs(10),
            page: 5_000,
            believe_progress: None,
        }
    }
}

/// An etcd as a source of whole revisions.
///
/// Each watch has a stream of its own. The channel is the caller's: endpoints, TLS, and that a dead
/// connection is noticed (`http2_keep_alive_interval`), belong to it.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use tonic::transport::Endpoint;
/// use watch_cache::{Cache, Config, EtcdConfig, EtcdSource};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let etcd = Endpoint::from_static("http://127.0.0.1:2379")
///     .http2_keep_alive_interval(Duration::from_secs(10))
///     .keep_alive_while_idle(true)
///     .connect_lazy();
/// let source = EtcdSource::open(etcd, EtcdConfig::default()).await?;
/// let mut config = Config::default();
/// config.prefixes = vec!["/registry/".into()];
/// let (cache, driver) = Cache::open(Arc::new(source), vec![], config)?;
/// tokio::spawn(driver);
/// cache.ready().await?;
/// # Ok(())
/// # }
/// ```
pub struct EtcdSource<T> {
    client: Arc<Client<T>>,
    page: i64,
    believes_progress: bool,
    /// How often progress was requested, for each open watch to hear.
    requests: Sender<u64>,
}

impl<T: Channel> EtcdSource<T> {
    /// An etcd behind a channel, once it has said its release.
    ///
    /// # Errors
    ///
    /// `Invalid` if the configuration is wrong or etcd refuses the user, `Unavailable` if etcd can't
    /// be reached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn open(channel: T, config: EtcdConfig) -> Result<Self> {
        let invalid = |message| Error::new(ErrorKind::Invalid, message);
        let page = i64::try_from(config.page).ok().filter(|page| *page > 0);
        let page =
            page.ok_or_else(|| invalid("etcd: page is 0 or too large: set it to 1 or more"))?;
        let mut client = Client::new(channel, config.request_timeout);
        client.user = match (config.user, config.password) {
            (Some(name), Some(password)) => Some(User { name, password }),
            (None, None) => None,
            _ => return Err(invalid("etcd: a user and a password belong together: give both")),
        };
        let believes_progress = if let Some(believes) = config.believe_progress {
            believes
        } else {
            let path = "/etcdserverpb.Maintenance/Status";
            let status: StatusResponse = client.call(path, Empty {}).await?;
            is_progress_sound(&status.version)
        };
        let (requests, _) = tokio::sync::watch::channel(0);
        Ok(Self { client: Arc::new(client), page, believes_progress, requests })
    }
}

/// Whether a release answers requests for progress after the events that the answer covers.
fn is_progress_sound(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    match (next(), next(), next()) {
        (3, 4, patch) => patch >= 25,
        (3, 5, patch) => patch >= 8,
        (major, minor, _) => (major, minor) > (3, 5),
    }
}

/// The range of a prefix, as etcd has it; the empty one has every key.
fn range_of(prefix: &Bytes) -> (Bytes, Bytes) {
    let all = Bytes::from_static(b"\0");
    let key = if prefix.is_empty() { all.clone() } else { prefix.clone() };
    (key, prefix_end(prefix).unwrap_or(all))
}

/// A page of a listing: its objects, and the key that the next one begins with.
struct Page {
    objects: Vec<SourceObject>,
    revision: u64,
    next: Option<Bytes>,
}

impl<T: Channel> Client<T> {
    async fn current_revision(&self) -> Result<u64> {
        // Of no object, so that it costs a round through the members and nothing else.
        let key = Bytes::from_static(b"\0");
        let request = RangeRequest { key, count_only: true, ..RangeRequest::default() };
        let answer: RangeResponse = self.range(request).await?;
        revision(answer.header.unwrap_or_default().revision)
    }

    /// The next page of a range; at a current revision if none is given.
    async fn page(&self, key: Bytes, end: Bytes, limit: i64, at: Option<u64>) -> Result<Page> {
        let at = i64::try_from(at.unwrap_or(0)).unwrap_or(i64::MAX);
        let request = RangeRequest { key, range_end: end, limit, revision: at, count_only: false };
        let answer: RangeResponse = self.range(request).await?;
        let header = answer.header.unwrap_or_default();
        let objects = answer.kvs.into_iter().map(object).collect::<Result<Vec<_>>>()?;
        let last = objects.last().filter(|_| answer.more);
        // The first key that is above it.
        let next = last.map(|last| Bytes::from([&last.key[..], b"\0"].concat()));
        Ok(Page { revision: revision(header.revision)?, next, objects })
    }
}

#[async_trait]
impl<T: Channel> Source for EtcdSource<T> {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        let (key, end) = range_of(prefix);
        let first = self.client.page(key, end.clone(), self.page, at).await?;
        let at = at.unwrap_or(first.revision);
        let rest = (Arc::clone(&self.client), first.next, self.page);
        let rest = stream::try_unfold(rest, move |(client, next, limit)| {
            let end = end.clone();
            async move {
                let Some(key) = next else { return Ok(None) };
                let page = client.page(key, end, limit, Some(at)).await?;
                Ok(Some((page.objects, (client, page.next, limit))))
            }
        });
        let objects = stream::once(async { Ok(first.objects) }).chain(rest).boxed();
        Ok(Listing { revision: at, objects })
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        let (key, range_end) = range_of(prefix);
        if self.client.user.is_some() {
            // A watch with a token that is not valid any more is cancelled as if the user may not.
            self.client.current_revision().await?;
        }
        watch::open(&self.client, key, range_end, after, &self.requests).await
    }

    fn freshness(&self) -> Freshness<'_> {
        if self.believes_progress { Freshness::OnRequest(self) } else { Freshness::ListOnly }
    }
}

#[async_trait]
impl<T: Channel> CurrentRevision for EtcdSource<T> {
    async fn current_revision(&self) -> Result<u64> {
        self.client.current_revision().await
    }
}

#[async_trait]
impl<T: Channel> RequestProgress for EtcdSource<T> {
    async fn request_progress(&self) -> Result<()> {
        self.requests.send_modify(|requests| *requests += 1);
        Ok(())
    }
}

impl<T> fmt::Debug for EtcdSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdSource")
            .field("believes_progress", &self.believes_progress)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_whose_progress_is_sound_are_told_apart() {
        let sound = ["3.4.25", "3.5.8", "3.5.13", "3.6.0", "3.6.0-rc.1", "3.7.0", "4.0.0"];
        assert!(sound.iter().all(|version| is_progress_sound(version)));
        let not = ["3.3.27", "3.4.23", "3.4.24", "3.5.0", "3.5.7", "", "new"];
        assert!(!not.iter().any(|version| is_progress_sound(version)));
    }

    #[test]
    fn the_range_of_a_prefix_is_etcds() {
        let range = |prefix: &'static [u8]| range_of(&Bytes::from_static(prefix));
        let of = |key: &'static [u8], end: &'static [u8]| (Bytes::from(key), Bytes::from(end));
        assert_eq!(range(b"/a/"), of(b"/a/", b"/a0"));
        assert_eq!(range(b""), of(b"\0", b"\0"));
        assert_eq!(range(b"\xff"), of(b"\xff", b"\0"));
    }
}

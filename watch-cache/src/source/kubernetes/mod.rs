//! One resource of a Kubernetes API as a source.

mod config;
mod lines;
mod watch;
mod watch_list;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::time::timeout;

use super::{Events, Freshness, Listing, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::object::SourceObject;

use watch_list::Listed;

pub use config::KubernetesConfig;

/// How a [`KubernetesSource`] asks its API server. It is where a program puts in the client that it
/// has, with its authentication and TLS; this crate needs none of either.
///
/// For kube-rs's client it is a newtype of some twenty lines: a `Request` is sent with
/// `Client::send`, and the body's data frames are the pieces.
#[async_trait]
pub trait KubernetesClient: Send + Sync + 'static {
    /// Sends a `GET` of a path with its query, and returns once the answer begins.
    ///
    /// It does not try again by itself, since the source maps each status to an error, and it
    /// asks for JSON.
    ///
    /// # Errors
    ///
    /// `Unavailable` if there is no answer. An answer of whatever status is none.
    async fn get(&self, path_and_query: &str) -> Result<KubernetesAnswer>;
}

/// What an API server answers.
pub struct KubernetesAnswer {
    /// The status code of HTTP.
    pub status: u16,
    /// The body as it comes. An error is its last item.
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl fmt::Debug for KubernetesAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// One resource of a Kubernetes API: what a list at a path shows, and its changes.
///
/// - A key is `/namespace/name`, and of what is in no namespace `/name`.
/// - A value is the object's JSON as it came, its resource version with it. Where a list leaves out
///   `kind` and `apiVersion` they are put in front, as a watch has them.
/// - A revision is a resource version. An API server whose versions are not numbers that grow in the
///   order of writes cannot be a source: it is refused with `Invalid`.
/// - Kubernetes does not tell when an object was created, so `create_revision` is the revision of the
///   last write, as `mod_revision` is.
/// - Each write of Kubernetes is of one object, so each revision has one change.
///
/// It is [`Freshness::ListOnly`]: bookmarks tell a cache of progress about once a minute, and a
/// consistent read of it lists. A list is read in pages and put together, and if a page's token expires it
/// is read again without pages, as Kubernetes' own clients do; or it comes as a
/// [watch that begins with all objects](KubernetesConfig::watch_list).
///
/// ```
/// use watch_cache::{KubernetesAnswer, KubernetesClient, KubernetesConfig, KubernetesSource, Result};
///
/// struct Client; // over kube-rs, hyper, …
///
/// #[async_trait::async_trait]
/// impl KubernetesClient for Client {
///     async fn get(&self, path_and_query: &str) -> Result<KubernetesAnswer> {
///         # let body = Box::pin(futures_util::stream::empty());
///         # Ok(KubernetesAnswer { status: if path_and_query.is_empty() { 400 } else { 200 }, body })
///     }
/// }
///
/// let pods = KubernetesSource::new(Client, "/api/v1/pods", KubernetesConfig::default())?;
/// # Ok::<_, watch_cache::Error>(())
/// ```
#[derive(Clone)]
pub struct KubernetesSource {
    asked: Asked,
    /// Whether the server lists as a watch, as far as is known.
    has_watch_list: Arc<AtomicBool>,
}

/// Where and how is asked.
#[derive(Clone)]
struct Asked {
    client: Arc<dyn KubernetesClient>,
    path: Arc<str>,
    config: KubernetesConfig,
}

impl KubernetesSource {
    /// The resource at `path`, as `/api/v1/pods`, `/api/v1/namespaces/default/pods` or
    /// `/apis/coordination.k8s.io/v1/leases`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the path does not begin with a slash or has a query, or a setting is out of its
    /// range.
    pub fn new(
        client: impl KubernetesClient,
        path: impl Into<String>,
        config: KubernetesConfig,
    ) -> Result<Self> {
        config.check()?;
        let path = path.into();
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            let message = format!("path {path:?}: give one as /api/v1/pods, without a query");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let has_watch_list = Arc::new(AtomicBool::new(config.watch_list));
        let asked = Asked { client: Arc::new(client), path: path.into(), config };
        Ok(Self { asked, has_watch_list })
    }

    /// All objects, page by page, and their revision. The error says whether the first page came.
    async fn pages(&self, at: Option<u64>, limit: usize) -> Result<wire::Page, (Error, bool)> {
        let mut query = if limit > 0 { format!("limit={limit}") } else { "limit=0".to_owned() };
        let first = match at {
            Some(at) => format!("&resourceVersion={at}&resourceVersionMatch=Exact"),
            None => String::new(),
        };
        let mut all =
            self.asked.page(&format!("{query}{first}")).await.map_err(|error| (error, false))?;
        query.push_str("&continue=");
        while let Some(token) = all.continue_token.take() {
            let next = self.asked.page(&format!("{query}{}", escape(&token))).await;
            let next = next.map_err(|error| (error, true))?;
            if next.revision != all.revision {
                let message = "the pages of one list are of several versions: list again";
                return Err((Error::new(ErrorKind::Corrupt, message), true));
            }
            all.objects.extend(next.objects);
            all.continue_token = next.continue_token;
        }
        Ok(all)
    }
}

#[async_trait]
impl Source for KubernetesSource {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        if at.is_none() && self.has_watch_list.load(Ordering::Relaxed) {
            match watch_list::list(&self.asked).await? {
                Listed::Whole(listed) => return Ok(listing(listed, prefix)),
                Listed::Refused => self.has_watch_list.store(false, Ordering::Relaxed),
                Listed::Unanswered => {}
            }
        }
        let listed = match self.pages(at, self.asked.config.page_objects).await {
            Err((error, true)) if matches!(error.kind(), ErrorKind::Expired { .. }) => {
                self.pages(at, 0).await
            }
            listed => listed,
        };
        let listed = listed.map_err(|(error, _)| error)?;
        if let Some(at) = at.filter(|at| *at != listed.revision) {
            let message = format!(
                "a list at {at} came at {}: the server ignores its version",
                listed.revision
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(listing(listed, prefix))
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        watch::watch(self.asked.clone(), prefix.clone(), after).await
    }

    fn freshness(&self) -> Freshness<'_> {
        Freshness::ListOnly
    }
}

/// What of a list is under a prefix.
fn listing(listed: wire::Page, prefix: &Bytes) -> Listing {
    let within = |object: &SourceObject| object.key.starts_with(prefix);
    let mut objects: Vec<_> = listed.objects.into_iter().filter(within).collect();
    // Not every server behind an aggregated API lists in the order of the keys.
    objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Listing { revision: listed.revision, objects: stream::iter([Ok(objects)]).boxed() }
}

impl Asked {
    async fn page(&self, query: &str) -> Result<wire::Page> {
        let mut body = self.get(query).await?;
        let mut json = BytesMut::new();
        while let Some(piece) = self.within(self.config.answer_timeout, body.next()).await? {
            json.extend_from_slice(&piece?);
            if json.len() > self.config.page_bytes {
                let message = "a page is larger than `page_bytes`: raise that, or lower \
                               `page_objects`";
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        wire::page(&json.freeze())
    }

    /// The body of a good answer.
    async fn get(&self, query: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        let path = format!("{}?{query}", self.path);
        let answer = self.within(self.config.answer_timeout, self.client.get(&path)).await??;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let mut body = answer.body;
        let mut status = BytesMut::new();
        // What it says more is for people; without it the code is enough.
        while let Ok(Some(Ok(piece))) = timeout(self.config.answer_timeout, body.next()).await {
            status.extend_from_slice(&piece);
            if status.len() > self.config.event_bytes {
                break;
            }
        }
        Err(wire::status(answer.status, &status))
    }

    async fn within<T>(
        &self,
        time: std::time::Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T> {
        timeout(time, answer).await.map_err(|_| {
            Error::new(ErrorKind::Unavailable, "the API server does not answer: retry later")
        })
    }
}

/// A value of a query (RFC 3986, section 2.3).
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

impl fmt::Debug for KubernetesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesSource").field("path", &self.asked.path).finish_non_exhaustive()
    }
}

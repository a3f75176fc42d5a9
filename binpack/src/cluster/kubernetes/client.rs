//! How an API server is asked.

use async_trait::async_trait;

use crate::error::Result;

/// How a [`KubernetesCluster`](super::KubernetesCluster) asks its API server. It is where a program
/// puts in the client that it has, with its authentication and TLS; this crate needs none of either.
///
/// For kube-rs's client it is a newtype of some twenty lines:
///
/// ```ignore
/// struct KubeApi(kube_client::Client); // its configuration has `default_retry` off
///
/// #[async_trait]
/// impl KubernetesClient for KubeApi {
///     async fn send(&self, request: KubernetesRequest) -> Result<KubernetesAnswer> {
///         let lost = |error| {
///             Error::new(ErrorKind::Unavailable, "the API server was not reached").with_source(error)
///         };
///         let mut asked = http::Request::builder()
///             .method(request.method)
///             .uri(request.path_and_query)
///             .header("accept", "application/json");
///         if let Some(media) = request.content_type {
///             asked = asked.header("content-type", media);
///         }
///         let asked = asked.body(Body::from(request.body)).map_err(|error| {
///             Error::new(ErrorKind::Invalid, "the request is none").with_source(error)
///         })?;
///         let (parts, body) = self.0.send(asked).await.map_err(lost)?.into_parts();
///         let body = Limited::new(body, 1 << 30).collect().await;
///         let body = body.map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?;
///         Ok(KubernetesAnswer { status: parts.status.as_u16(), body: body.to_bytes().into() })
///     }
/// }
/// ```
#[async_trait]
pub trait KubernetesClient: Send + Sync + 'static {
    /// Sends a request, and returns once the whole answer is there.
    ///
    /// It does not try again by itself, since the cluster maps each status to an error, and it asks
    /// for JSON. How long a body it takes is its own to bound: the largest is a page of a list, of
    /// [`page_objects`](super::KubernetesConfig::page_objects) objects.
    ///
    /// Several requests are sent at once.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if there is no answer, or not all of it. An
    /// answer of whatever status is none.
    async fn send(&self, request: KubernetesRequest) -> Result<KubernetesAnswer>;
}

/// What an API server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesRequest {
    /// `GET`, `POST` or `PATCH`.
    pub method: &'static str,
    /// The path and its query, such as `/api/v1/pods?limit=500`.
    pub path_and_query: String,
    /// The media type of the body; `None` without one.
    pub content_type: Option<&'static str>,
    /// The body, empty for a `GET`.
    pub body: Vec<u8>,
}

/// What an API server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesAnswer {
    /// The status code of HTTP.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

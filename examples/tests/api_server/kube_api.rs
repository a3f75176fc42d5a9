//! kube-rs's client as what a `KubernetesSource` asks with.

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper::Request;
use kube_client::Client;
use kube_client::client::Body;
use watch_cache::{Error, ErrorKind, KubernetesAnswer, KubernetesClient, Result};

/// A client that does not try again by itself: its configuration has `default_retry` off.
pub(crate) struct KubeApi(pub(crate) Client);

#[async_trait]
impl KubernetesClient for KubeApi {
    async fn get(&self, path_and_query: &str) -> Result<KubernetesAnswer> {
        let request = Request::get(path_and_query).header("accept", "application/json");
        let request = request.body(Body::empty()).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the path is none").with_source(error)
        })?;
        let (parts, body) = self.0.send(request).await.map_err(unavailable)?.into_parts();
        let pieces = body.into_data_stream().map_err(unavailable).boxed();
        Ok(KubernetesAnswer { status: parts.status.as_u16(), body: pieces })
    }
}

fn unavailable(error: kube_client::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the API server was not reached").with_source(error)
}

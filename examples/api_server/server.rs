//! From connections to answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use kv_journal::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use trestle_examples::manifest::{self, JsonCodec};
use watch_cache::{Cache, Index, Schema};

use super::answer::{self, Body};
use super::options::Options;
use super::resources::{Part, Target};
use super::status::Failure;
use super::write::{self, Change};
use super::{discovery, metadata, read};

/// The largest body of a request, as in Kubernetes.
const BODY_BYTES: usize = 3 << 20;
/// So much is read of one that is too large: a client that is cut off while it sends may never see
/// why.
const READ_BYTES: usize = 32 << 20;
/// The pause when no connection can be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often a connection of HTTP/2 is asked whether it is alive, as the Kubernetes API server does.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// Taken where it means the same.
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";

/// What the cache is to know of the objects.
pub(crate) fn schema() -> Schema {
    Schema::new(JsonCodec).index(Index::field("spec.nodeName"))
}

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Server {
    store: Store,
    cache: Cache,
}

impl Server {
    pub(crate) fn new(store: Store, cache: Cache) -> Arc<Self> {
        Arc::new(Self { store, cache })
    }

    /// Serves HTTP/1.1 and HTTP/2 until it is dropped, and with it all connections.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(Arc::clone(&self).connection(stream));
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        // Nagle's algorithm would hold back the last segment of each answer.
        let _unsupported = stream.set_nodelay(true);
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(KEEP_ALIVE));
        let service = service_fn(move |request| {
            let server = Arc::clone(&self);
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        // A client that goes away in the middle is no failure of the server.
        let _gone = builder.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.respond(request).await.unwrap_or_else(|failure| failure.answer())
    }

    async fn respond(&self, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let Some(target) = Target::parse(path) else {
            return self.beside(&parts.method, path).await;
        };
        let options = Options::parse(parts.uri.query().unwrap_or_default())?;
        if options.dry_run && parts.method != Method::GET {
            return Err(write::no_dry_run());
        }
        let media = parts.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok());
        let media = media.unwrap_or(JSON).split(';').next().unwrap_or_default().trim();
        if target.part == Part::Binding {
            if parts.method != Method::POST {
                return Err(Failure::method_not_allowed());
            }
            accept(media, JSON)?;
            return write::bind(&self.store, &target, &whole(body).await?).await;
        }
        match (&parts.method, target.name) {
            (&Method::GET, Some(name)) => read::get(&self.cache, &target, name, &options).await,
            (&Method::GET, None) if options.watch => {
                read::watch(&self.cache, &target, &options).await
            }
            (&Method::GET, None) => read::list(&self.cache, &target, &options).await,
            (&Method::POST, None) => {
                accept(media, JSON)?;
                write::create(&self.store, &target, &whole(body).await?).await
            }
            (&Method::PUT, Some(_)) => {
                accept(media, JSON)?;
                let body = whole(body).await?;
                let object = metadata::parse(target.resource, target.namespace, &body)?;
                write::update(&self.store, &target, Change::Replace(object)).await
            }
            (&Method::PATCH, Some(_)) => {
                let strategic = media == STRATEGIC_MERGE_PATCH;
                if !strategic {
                    accept(media, MERGE_PATCH)?;
                }
                let merge = serde_json::from_slice(&whole(body).await?);
                let merge = merge.map_err(|error| {
                    Failure::bad_request(format!("the patch is no JSON: {error}"))
                })?;
                if strategic && !manifest::is_plain(&merge) {
                    return Err(Failure::unsupported_media(MERGE_PATCH));
                }
                write::update(&self.store, &target, Change::Merge(merge)).await
            }
            (&Method::DELETE, Some(_)) if target.part == Part::Whole => {
                write::delete(&self.store, &target, &whole(body).await?).await
            }
            (&Method::DELETE, None) => self.delete_all(&target, &options, body).await,
            _ => Err(Failure::method_not_allowed()),
        }
    }

    /// Deletes what a list selects, and answers with that.
    async fn delete_all(
        &self,
        target: &Target<'_>,
        options: &Options,
        body: Incoming,
    ) -> Result<Response<Body>, Failure> {
        let body = whole(body).await?;
        let (head, objects) = read::page(&self.cache, target, options).await?;
        for object in &objects {
            let key = String::from_utf8_lossy(object.key());
            let mut parts = key.rsplit('/');
            let name = parts.next();
            let namespace = parts.next().filter(|_| target.resource.namespaced);
            let one = Target { resource: target.resource, namespace, name, part: Part::Whole };
            match write::delete(&self.store, &one, &body).await {
                // It went meanwhile.
                Err(failure) if failure.is_not_found() => {}
                deleted => drop(deleted?),
            }
        }
        Ok(answer::list(head, objects))
    }

    /// What is at paths that name no object.
    async fn beside(&self, method: &Method, path: &str) -> Result<Response<Body>, Failure> {
        if method != Method::GET {
            return Err(Failure::no_path());
        }
        match path {
            "/healthz" | "/livez" => Ok(answer::text("ok")),
            "/readyz" => {
                self.cache.ready().await?;
                Ok(answer::text("ok"))
            }
            path => match discovery::document(path) {
                Some(document) => Ok(answer::value(StatusCode::OK, &document)),
                None => Err(Failure::no_path()),
            },
        }
    }
}

fn accept(media: &str, accepted: &str) -> Result<(), Failure> {
    if media == accepted { Ok(()) } else { Err(Failure::unsupported_media(accepted)) }
}

/// The body of a request, which is not too large.
async fn whole(mut body: Incoming) -> Result<Bytes, Failure> {
    let (mut kept, mut seen) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::bad_request(format!("the body was not sent whole: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen <= BODY_BYTES {
            kept.extend_from_slice(&data);
        } else if seen > READ_BYTES {
            break;
        }
    }
    if seen <= BODY_BYTES { Ok(kept.freeze()) } else { Err(Failure::too_large_body(BODY_BYTES)) }
}

//! Calls to etcd, and what its errors mean.

use std::time::Duration;

use futures_core::Stream;
use parking_lot::Mutex;
use prost::Message;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::{StdError, http};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::message::{AuthenticateRequest, AuthenticateResponse};
use crate::error::{Error, ErrorKind, Result};

/// A way to an etcd: `tonic`'s own channel, or any other that its clients take.
pub trait Channel:
    GrpcService<
        Body,
        ResponseBody: http_body::Body<Data = bytes::Bytes, Error: Into<StdError> + Send>
                          + Send
                          + 'static,
        Future: Send,
        Error: Send + Sync,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> Channel for T where
    T: GrpcService<
            Body,
            ResponseBody: http_body::Body<Data = bytes::Bytes, Error: Into<StdError> + Send>
                              + Send
                              + 'static,
            Future: Send,
            Error: Send + Sync,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// A user's name and password.
#[derive(Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

/// Calls an etcd.
pub(super) struct Client<T> {
    channel: T,
    pub(super) user: Option<User>,
    pub(super) request_timeout: Duration,
    /// Of the user, once it is known.
    token: Mutex<Option<MetadataValue<Ascii>>>,
}

const RANGE: &str = "/etcdserverpb.KV/Range";

impl<T: Channel> Client<T> {
    pub(super) fn new(channel: T, request_timeout: Duration) -> Self {
        Self { channel, user: None, request_timeout, token: Mutex::new(None) }
    }

    pub(super) async fn range<Q, R>(&self, request: Q) -> Result<R>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        self.call(RANGE, request).await
    }

    /// One answer to one request. A token that is not valid any more is asked for again, once.
    pub(super) async fn call<Q, R>(&self, path: &'static str, request: Q) -> Result<R>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        match self.once(path, request.clone()).await {
            Err(status) if self.is_stale(&status) => {
                self.authenticate().await?;
                self.once(path, request).await.map_err(error)
            }
            answer => answer.map_err(error),
        }
    }

    async fn once<Q, R>(&self, path: &'static str, request: Q) -> Result<R, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let call = async {
            let mut grpc = self.grpc().await?;
            let path = http::uri::PathAndQuery::from_static(path);
            let codec = ProstCodec::<Q, R>::default();
            grpc.unary(self.signed(request), path, codec).await.map(tonic::Response::into_inner)
        };
        let late = |_| Err(Status::deadline_exceeded("etcd did not answer in time"));
        timeout(self.request_timeout, call).await.unwrap_or_else(late)
    }

    /// A stream in both directions; the first answer is waited for no longer than for others.
    pub(super) async fn stream<Q, R>(
        &self,
        path: &'static str,
        requests: impl Fn() -> Q,
    ) -> Result<Streaming<R>>
    where
        Q: Stream<Item: Message + 'static> + Send + 'static,
        R: Message + Default + 'static,
    {
        match self.stream_once(path, requests()).await {
            Err(status) if self.is_stale(&status) => {
                self.authenticate().await?;
                self.stream_once(path, requests()).await.map_err(error)
            }
            answer => answer.map_err(error),
        }
    }

    async fn stream_once<Q, R>(
        &self,
        path: &'static str,
        requests: Q,
    ) -> Result<Streaming<R>, Status>
    where
        Q: Stream<Item: Message + 'static> + Send + 'static,
        R: Message + Default + 'static,
    {
        let call = async {
            let mut grpc = self.grpc().await?;
            let path = http::uri::PathAndQuery::from_static(path);
            let codec = ProstCodec::<Q::Item, R>::default();
            grpc.streaming(self.signed(requests), path, codec)
                .await
                .map(tonic::Response::into_inner)
        };
        let late = |_| Err(Status::deadline_exceeded("etcd did not answer in time"));
        timeout(self.request_timeout, call).await.unwrap_or_else(late)
    }

    async fn grpc(&self) -> Result<Grpc<T>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|cause| Status::unavailable(cause.into().to_string()))?;
        Ok(grpc)
    }

    fn signed<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(token) = &*self.token.lock() {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    fn is_stale(&self, status: &Status) -> bool {
        let refused = status.code() == Code::Unauthenticated
            || status.message().contains("user name is empty");
        self.user.is_some() && refused
    }

    async fn authenticate(&self) -> Result<()> {
        let Some(User { name, password }) = self.user.clone() else { return Ok(()) };
        *self.token.lock() = None;
        let request = AuthenticateRequest { name, password };
        let path = "/etcdserverpb.Auth/Authenticate";
        let answer: AuthenticateResponse = self.once(path, request).await.map_err(error)?;
        let token = answer.token.parse().map_err(|_| {
            Error::new(ErrorKind::Corrupt, "etcd gave a token that is no text: try again")
        })?;
        *self.token.lock() = Some(token);
        Ok(())
    }
}

/// What a cache is to do about an error of etcd.
pub(super) fn error(status: Status) -> Error {
    let text = status.message().to_owned();
    let kind = match status.code() {
        Code::OutOfRange if text.contains("compacted") => ErrorKind::Expired { oldest_revision: 0 },
        Code::OutOfRange => ErrorKind::TooLarge { current_revision: 0 },
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => ErrorKind::Invalid,
        Code::ResourceExhausted => ErrorKind::Exhausted,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("etcd: {text}")).with_source(status)
}

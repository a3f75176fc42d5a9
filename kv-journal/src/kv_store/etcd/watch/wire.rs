//! One stream of a server.

use std::future::Future;
use std::pin::Pin;

use futures_util::stream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::{Status, Streaming};

use crate::etcd_api::etcdserverpb::watch_client::WatchClient;
use crate::etcd_api::etcdserverpb::watch_request::RequestUnion;
use crate::etcd_api::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
};
use crate::etcd_api::stored::WatchResponse;
use crate::kv_store::etcd::calls::Calls;
use crate::kv_store::etcd::login::Shown;

type Opening = Pin<Box<dyn Future<Output = Result<Streaming<WatchResponse>, Status>> + Send>>;

pub(super) struct Wire {
    requests: UnboundedSender<WatchRequest>,
    answers: Answers,
    /// What was shown, and how many endpoints were given up before.
    pub(super) shown: Shown,
    pub(super) turn: u64,
}

enum Answers {
    /// etcd begins to answer with its first message, not before.
    Opening(Opening),
    Open(Box<Streaming<WatchResponse>>),
}

impl Wire {
    /// # Errors
    /// The login failed.
    pub(super) async fn open(calls: &Calls) -> Result<Self, Status> {
        let turn = calls.channel().turn().await;
        let shown = calls.login().shown(calls.channel()).await?;
        let (requests, mut waiting) = unbounded_channel();
        let requested = stream::poll_fn(move |cx| waiting.poll_recv(cx));
        let mut request = shown.with(requested);
        // A member that has lost its leader ends the stream instead of falling silent.
        request
            .metadata_mut()
            .insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
        let most = calls.config().answer_bytes;
        let mut client = WatchClient::new(calls.channel().clone()).max_decoding_message_size(most);
        let opening = async move { Ok(client.watch(request).await?.into_inner()) };
        Ok(Self { requests, answers: Answers::Opening(Box::pin(opening)), shown, turn })
    }

    pub(super) fn create(&self, create: WatchCreateRequest) {
        self.send(RequestUnion::CreateRequest(create));
    }

    pub(super) fn cancel(&self, watch_id: i64) {
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
    }

    pub(super) fn request_progress(&self) {
        self.send(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    }

    fn send(&self, request: RequestUnion) {
        // If the stream is gone, its answers say so.
        let _gone = self.requests.send(WatchRequest { request_union: Some(request) });
    }

    /// The next message.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Status> {
        loop {
            match &mut self.answers {
                Answers::Opening(opening) => {
                    let open = opening.as_mut().await?;
                    self.answers = Answers::Open(Box::new(open));
                }
                Answers::Open(answers) => {
                    let ended = || Status::unavailable("the server has ended the watch");
                    return answers.message().await?.ok_or_else(ended);
                }
            }
        }
    }
}

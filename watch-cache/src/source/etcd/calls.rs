//! Calls: bounded in time, made by whoever has logged in, at the next endpoint if one fails.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::channel::{Channel, Connection, Spawn};
use super::config::EtcdConfig;
use super::failure::{Failure, Next, corrupt, expired, is_auth_not_enabled, too_large};
use super::login::{Login, Shown};
use super::messages::{
    AuthenticateRequest, AuthenticateResponse, RangeRequest, RangeResponse, ResponseHeader,
    StatusRequest, StatusResponse, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse, revision_of, signed, unsigned,
};
use super::version;
use crate::error::{Error, ErrorKind, Result};
use crate::object::prefix_end;

const RANGE: &str = "/etcdserverpb.KV/Range";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// The prefix of all keys.
pub(super) static EVERYTHING: Bytes = Bytes::new();

/// Where a watch takes what is to be sent after its creation.
pub(super) type Asking = mpsc::Sender<WatchRequest>;

/// One stream of a server, with one watch.
pub(super) struct Wire {
    /// Dropping it ends the stream.
    pub(super) asking: Asking,
    pub(super) answers: Streaming<WatchResponse>,
    pub(super) connection: Connection,
    shown: Shown,
}

/// The way to the cluster.
pub(super) struct Calls {
    channel: Channel,
    login: Login,
    pub(super) config: Arc<EtcdConfig>,
    /// The cluster that answered first; 0 before that.
    cluster: AtomicU64,
    /// The watches that are to be asked for their progress.
    open: Mutex<Vec<mpsc::WeakSender<WatchRequest>>>,
}

impl Calls {
    pub(super) fn new(config: EtcdConfig, spawn: Arc<Spawn>) -> Result<Self> {
        config.check()?;
        let config = Arc::new(config);
        Ok(Self {
            channel: Channel::new(Arc::clone(&config), spawn)?,
            login: Login::new(config.login.clone()),
            config,
            cluster: AtomicU64::new(0),
            open: Mutex::default(),
        })
    }

    /// Reads, at the next endpoint if one fails. Returns who answered, too.
    pub(super) async fn range(
        &self,
        request: RangeRequest,
    ) -> Result<(RangeResponse, Connection), Failure> {
        let mut attempts = 0;
        loop {
            let connection = self.channel.connection().await?;
            let failure = match self.range_on(&connection, request.clone()).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(failure) => failure,
            };
            attempts += 1;
            // As often as there are endpoints, and once for a connection that was dead.
            if failure.next != Next::Elsewhere || attempts > self.channel.endpoints() {
                return Err(failure);
            }
        }
    }

    /// Reads from this member. It is given up if it fails.
    pub(super) async fn range_on(
        &self,
        connection: &Connection,
        request: RangeRequest,
    ) -> Result<RangeResponse, Failure> {
        let answer: RangeResponse = self.unary(connection, RANGE, request).await?;
        self.check(answer.header.as_ref())?;
        Ok(answer)
    }

    /// The newest revision, of a read that begins after this call. It reads one key of `prefix`.
    pub(super) async fn current_revision(&self, prefix: &Bytes) -> Result<u64> {
        let answer = self.range(probe(prefix, 0)).await.map_err(|failure| failure.error)?;
        match revision_of(answer.0.header.as_ref()) {
            0 => Err(corrupt("it has no revision")),
            revision => Ok(revision),
        }
    }

    /// The id of the cluster that the endpoints are of.
    pub(super) async fn cluster(&self, prefix: &Bytes) -> Result<u64> {
        self.current_revision(prefix).await?;
        Ok(self.cluster.load(Ordering::Relaxed))
    }

    /// The same error with the revision that etcd does not tell, for a read of `prefix` at `revision`.
    pub(super) async fn explained(&self, error: Error, prefix: &Bytes, revision: u64) -> Error {
        match error.kind() {
            ErrorKind::Expired { .. } => {
                let oldest = self.compact_revision(prefix).await.unwrap_or(0);
                let oldest = oldest.max(revision.saturating_add(1));
                expired(&format!("revision {revision}"), oldest).with_source(error)
            }
            ErrorKind::TooLarge { .. } => {
                let current = self.current_revision(prefix).await.unwrap_or(0);
                too_large(revision, current).with_source(error)
            }
            _ => error,
        }
    }

    /// Where history begins. Only a watch is told.
    async fn compact_revision(&self, prefix: &Bytes) -> Option<u64> {
        let find = async {
            let connection = self.channel.connection().await.ok()?;
            let (key, range_end) = (probe(prefix, 0).key, Bytes::new());
            let create = WatchCreateRequest {
                key,
                range_end,
                start_revision: 1,
                progress_notify: false,
                fragment: true,
            };
            let mut wire = self.watch(connection, create).await.ok()?;
            while let Ok(Some(response)) = wire.answers.message().await {
                if response.canceled {
                    return Some(unsigned(response.compact_revision));
                }
            }
            None
        };
        timeout(self.config.request_timeout, find).await.ok()?
    }

    /// Opens a stream with one watch. What is right is that it was asked for: the first answer says
    /// whether it is there.
    pub(super) async fn watch(
        &self,
        connection: Connection,
        create: WatchCreateRequest,
    ) -> Result<Wire, Failure> {
        let opening = async {
            let shown =
                self.login.shown(|user, password| authenticate(&connection, user, password));
            let shown = shown.await?;
            // One that is not taken yet will do for all that want it.
            let (asking, mut asked) = mpsc::channel(1);
            let create = WatchRequest { create: Some(create), progress: None };
            let asked = stream::poll_fn(move |cx| asked.poll_recv(cx));
            let requests = stream::StreamExt::chain(stream::iter([create]), asked);
            let mut request = shown.with(requests);
            // A member that has lost its leader ends the stream instead of falling silent.
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            let mut grpc = self.grpc(&connection).await?;
            let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
            let answers = grpc.streaming(request, PathAndQuery::from_static(WATCH), codec).await?;
            let answers = answers.into_inner();
            Ok(Wire { asking, answers, connection: connection.clone(), shown })
        };
        self.in_time(&connection, opening).await
    }

    /// A request for progress goes to this watch, too, from now on.
    pub(super) fn register(&self, asking: &Asking) {
        let mut open = self.open.lock();
        open.retain(|asking| asking.strong_count() > 0);
        open.push(asking.downgrade());
    }

    /// Asks each open watch for its progress.
    pub(super) fn request_progress(&self) {
        for asking in self.open.lock().iter().filter_map(mpsc::WeakSender::upgrade) {
            let request = WatchRequest { create: None, progress: Some(WatchProgressRequest {}) };
            // Full: a request waits to be sent. Closed: the stream's answers say why.
            let _ = asking.try_send(request);
        }
    }

    /// Whether the member's answers to requests for progress are true.
    pub(super) async fn answers_progress(&self, connection: &Connection) -> Result<bool, Failure> {
        let ask = async {
            let status: StatusResponse = self.unary(connection, STATUS, StatusRequest {}).await?;
            Ok(version::answers_progress(&status.version))
        };
        connection.answers_progress.get_or_try_init(|| ask).await.copied()
    }

    /// Another endpoint's turn.
    pub(super) async fn turn_away(&self, connection: &Connection) {
        self.channel.turn_away(connection).await;
    }

    /// Another token for that of a watch. False if there is none to be had.
    pub(super) async fn renew_for(&self, wire: &Wire) -> Result<bool, Failure> {
        if !self.login.can_log_in() {
            return Ok(false);
        }
        let ask = |user, password| authenticate(&wire.connection, user, password);
        let renewing = async { Ok(self.login.renew(&wire.shown, ask).await?) };
        self.in_time(&wire.connection, renewing).await.map(|_| true)
    }

    /// Refuses an answer of another cluster than the first.
    pub(super) fn check(&self, header: Option<&ResponseHeader>) -> Result<()> {
        let cluster = header.map_or(0, |header| header.cluster_id);
        let relaxed = Ordering::Relaxed;
        match self.cluster.compare_exchange(0, cluster, relaxed, relaxed) {
            Err(first) if cluster != 0 && cluster != first => {
                let message = format!(
                    "an endpoint is of cluster {cluster:x}, others are of {first:x}: name the members of \
                     one cluster, and open another source for one that was restored"
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
            _ => Ok(()),
        }
    }

    /// One call, and a second one if the token has run out.
    async fn unary<Q, A>(
        &self,
        connection: &Connection,
        path: &'static str,
        message: Q,
    ) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let calling = async {
            let ask = |user, password| authenticate(connection, user, password);
            let shown = self.login.shown(ask).await?;
            let called = self.call(connection, path, shown.with(message.clone())).await;
            let refused = match called.map_err(Failure::from) {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(failure) if failure.next == Next::LogIn && self.login.can_log_in() => failure,
                Err(failure) => return Err(failure),
            };
            drop(refused);
            let shown = self.login.renew(&shown, ask).await?;
            Ok(self.call(connection, path, shown.with(message)).await?.into_inner())
        };
        self.in_time(connection, calling).await
    }

    async fn call<Q, A>(
        &self,
        connection: &Connection,
        path: &'static str,
        request: Request<Q>,
    ) -> Result<Response<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc(connection).await?;
        grpc.unary(request, PathAndQuery::from_static(path), ProstCodec::<Q, A>::default()).await
    }

    async fn grpc(&self, connection: &Connection) -> Result<Grpc<Connection>, Status> {
        let most = self.config.answer_bytes;
        let mut grpc = Grpc::new(connection.clone()).max_decoding_message_size(most);
        grpc.ready().await.map_err(Status::from_error)?;
        Ok(grpc)
    }

    /// A member that does not answer, or says that it can't, is given up.
    async fn in_time<T>(
        &self,
        connection: &Connection,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let done = timeout(self.config.request_timeout, call).await;
        let done = done.unwrap_or_else(|_| Err(Failure::silence()));
        if done.as_ref().is_err_and(|failure| failure.next == Next::Elsewhere) {
            self.turn_away(connection).await;
        }
        done
    }
}

/// A token for a user; none where nobody asks for one.
async fn authenticate(
    connection: &Connection,
    name: String,
    password: String,
) -> Result<Option<String>, Status> {
    let mut grpc = Grpc::new(connection.clone());
    grpc.ready().await.map_err(Status::from_error)?;
    let request = Request::new(AuthenticateRequest { name, password });
    let codec = ProstCodec::<AuthenticateRequest, AuthenticateResponse>::default();
    match grpc.unary(request, PathAndQuery::from_static(AUTHENTICATE), codec).await {
        Ok(answer) => Ok(Some(answer.into_inner().token)),
        Err(status) if is_auth_not_enabled(&status) => Ok(None),
        Err(status) => Err(status),
    }
}

/// The cheapest read that who may read `prefix` may do, at a revision or, for 0, the newest one.
pub(super) fn probe(prefix: &Bytes, revision: u64) -> RangeRequest {
    let (key, _) = bounds(prefix);
    let revision = signed(revision);
    let range_end = Bytes::new();
    RangeRequest { key, range_end, limit: 1, revision, keys_only: false, count_only: true }
}

/// The first and the end of what starts with `prefix`, as etcd wants them: no key is empty, and
/// the end `\0` is none.
pub(super) fn bounds(prefix: &Bytes) -> (Bytes, Bytes) {
    const ZERO: Bytes = Bytes::from_static(b"\0");
    let first = if prefix.is_empty() { ZERO } else { prefix.clone() };
    (first, prefix_end(prefix).unwrap_or(ZERO))
}

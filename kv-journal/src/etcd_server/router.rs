//! Which service a request is for.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use tonic::body::Body;
use tonic::codegen::{Service as _, StdError};

use super::api::Api;
use super::audience::ClientAddr;
use super::auth::{AuthService, ClientName};
use super::cluster::ClusterService;
use super::counted::{Answering, Counted, Received, Sent};
use super::gateway;
use super::kv::KvService;
use super::lease::LeaseService;
use super::maintenance::MaintenanceService;
use super::plain;
use super::recipes::{ElectionService, LockService};
use super::watch::WatchService;
use crate::etcd_api::etcdserverpb::auth_server::AuthServer;
use crate::etcd_api::etcdserverpb::cluster_server::ClusterServer;
use crate::etcd_api::etcdserverpb::kv_server::KvServer;
use crate::etcd_api::etcdserverpb::lease_server::LeaseServer;
use crate::etcd_api::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::etcd_api::etcdserverpb::watch_server::WatchServer;
use crate::etcd_api::v3electionpb::election_server::ElectionServer;
use crate::etcd_api::v3lockpb::lock_server::LockServer;

/// A service's answer to come.
pub(super) type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Every service of a server. Cloning counts references.
#[derive(Clone)]
pub(super) struct Router {
    api: Arc<Api>,
    /// The common name of the certificate that the connection's client has shown.
    pub(super) client: Option<ClientName>,
    /// Where that client is.
    addr: Option<ClientAddr>,
    kv: KvServer<KvService>,
    watch: WatchServer<WatchService>,
    lease: LeaseServer<LeaseService>,
    cluster: ClusterServer<ClusterService>,
    maintenance: MaintenanceServer<MaintenanceService>,
    auth: AuthServer<AuthService>,
    lock: LockServer<LockService>,
    election: ElectionServer<ElectionService>,
}

impl Router {
    pub(super) fn new(api: &Arc<Api>) -> Self {
        let most = api.config.most_bytes();
        let api = Arc::clone(api);
        Self {
            kv: KvServer::new(KvService(Arc::clone(&api))).max_decoding_message_size(most),
            watch: WatchServer::new(WatchService(Arc::clone(&api))).max_decoding_message_size(most),
            lease: LeaseServer::new(LeaseService(Arc::clone(&api))).max_decoding_message_size(most),
            cluster: ClusterServer::new(ClusterService(Arc::clone(&api))),
            maintenance: MaintenanceServer::new(MaintenanceService(Arc::clone(&api))),
            auth: AuthServer::new(AuthService(Arc::clone(&api))),
            lock: LockServer::new(LockService(Arc::clone(&api))),
            election: ElectionServer::new(ElectionService(Arc::clone(&api))),
            api,
            client: None,
            addr: None,
        }
    }

    /// One for the connection of a client.
    pub(super) fn for_client(&self, addr: ClientAddr) -> Self {
        Self { addr: Some(addr), ..self.clone() }
    }

    /// Hands a call to its service, and counts it.
    pub(super) fn grpc<B>(&self, request: Request<B>) -> Answering
    where
        B: hyper::body::Body + Unpin + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        let metrics = &self.api.metrics;
        let call = metrics.begin(request.uri().path());
        let bytes = Arc::clone(&metrics.received_bytes);
        let answer = self.dispatch(request.map(|body| Received { body, bytes }));
        let sent_bytes = Arc::clone(&metrics.sent_bytes);
        Answering::new(answer, call.map(|call| Counted { call, sent_bytes }))
    }

    fn dispatch<B>(&self, mut request: Request<B>) -> Answered
    where
        B: hyper::body::Body + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        match service {
            "etcdserverpb.KV" => self.kv.clone().call(request),
            "etcdserverpb.Watch" => {
                if let Some(addr) = self.addr {
                    request.extensions_mut().insert(addr);
                }
                self.watch.clone().call(request)
            }
            "etcdserverpb.Lease" => self.lease.clone().call(request),
            "etcdserverpb.Cluster" => self.cluster.clone().call(request),
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request),
            "etcdserverpb.Auth" => self.auth.clone().call(request),
            "v3lockpb.Lock" => self.lock.clone().call(request),
            "v3electionpb.Election" => self.election.clone().call(request),
            unknown => {
                let status = tonic::Status::unimplemented(format!("unknown service {unknown}"));
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl Service<Request<Incoming>> for Router {
    type Response = Response<Sent>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        if is_grpc(&request) {
            if let Some(client) = &self.client
                && self.api.config.common_name_is_user
            {
                request.extensions_mut().insert(client.clone());
            }
            return self.grpc(request);
        }
        let answer: Answered = if gateway::owns(request.uri().path()) {
            let (router, most) = (self.clone(), self.api.config.most_bytes());
            Box::pin(async move { Ok(gateway::answer(&router, request, most).await) })
        } else {
            let api = Arc::clone(&self.api);
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            Box::pin(async move { Ok(plain::answer(&api, &method, &path).await) })
        };
        Answering::new(answer, None)
    }
}

//! The two sides of a comparison: a server of this crate and a real etcd, asked in the same way.

use kv_journal::etcd_api::etcdserverpb::auth_client::AuthClient;
use kv_journal::etcd_api::etcdserverpb::cluster_client::ClusterClient;
use kv_journal::etcd_api::etcdserverpb::kv_client::KvClient;
use kv_journal::etcd_api::etcdserverpb::lease_client::LeaseClient;
use kv_journal::etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use kv_journal::etcd_api::etcdserverpb::watch_client::WatchClient;
use kv_journal::etcd_api::v3electionpb::election_client::ElectionClient;
use kv_journal::etcd_api::v3lockpb::lock_client::LockClient;
use kv_journal::etcd_api::{Channel, ChannelConfig};
use kv_journal::etcd_server::{EtcdServer, ServerConfig};
use kv_journal::{Config, KvStore, MemoryJournal, Store};
use std::sync::Arc;
use tokio::net::TcpListener;

/// One side, and a client of each of its services.
pub(crate) struct Peer {
    pub(crate) kv: KvClient<Channel>,
    pub(crate) watch: WatchClient<Channel>,
    pub(crate) lease: LeaseClient<Channel>,
    pub(crate) maintenance: MaintenanceClient<Channel>,
    pub(crate) auth: AuthClient<Channel>,
    pub(crate) cluster: ClusterClient<Channel>,
    pub(crate) lock: LockClient<Channel>,
    pub(crate) election: ElectionClient<Channel>,
}

impl Peer {
    /// Whoever listens on this port of loopback.
    pub(crate) fn at(port: u16) -> Self {
        let config = ChannelConfig::new([format!("http://127.0.0.1:{port}")]);
        let channel = Channel::new(config, |task| drop(tokio::spawn(task))).unwrap();
        let large = 64 << 20;
        Self {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(large),
            watch: WatchClient::new(channel.clone()),
            lease: LeaseClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            auth: AuthClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            lock: LockClient::new(channel.clone()),
            election: ElectionClient::new(channel),
        }
    }

    /// A server of this crate with a journal in memory, which ends with the runtime.
    pub(crate) async fn own(config: Config, server_config: ServerConfig) -> (Self, Store) {
        Self::own_on(MemoryJournal::new(), config, server_config).await
    }

    /// The same on this journal.
    pub(crate) async fn own_on(
        journal: MemoryJournal,
        config: Config,
        server_config: ServerConfig,
    ) -> (Self, Store) {
        let (store, driver) = Store::open(Arc::new(journal), config).await.unwrap();
        tokio::spawn(driver);
        (Self::serving(store.clone(), server_config).await, store)
    }

    /// A server of this crate on this store.
    pub(crate) async fn serving(store: Store, config: ServerConfig) -> Self {
        Self::at(serve(store, config).await)
    }
}

/// The port of a server of this crate with a journal in memory.
pub(crate) async fn port_of(config: ServerConfig) -> u16 {
    let journal = Arc::new(MemoryJournal::new());
    let (store, driver) = Store::open(journal, Config::default()).await.unwrap();
    tokio::spawn(driver);
    serve(store, config).await
}

/// The port of a server of this crate on this store.
pub(crate) async fn serve(store: impl KvStore, config: ServerConfig) -> u16 {
    let spawn = |task| drop(tokio::spawn(task));
    let server = EtcdServer::open(Arc::new(store), config, spawn).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { server.serve(listener).await });
    port
}

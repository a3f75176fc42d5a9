//! The port's contract, kept by the embedded store and by the client of a remote one.

use std::sync::Arc;

use kv_journal::etcd_server::ServerConfig;
use kv_journal::{Config, EtcdStore, EtcdStoreConfig, MemoryJournal, Store, kv_store_conformance};

use super::etcd::Etcd;
use super::peer;

fn client_of(port: u16) -> EtcdStore {
    let config = EtcdStoreConfig::new([format!("http://127.0.0.1:{port}")]);
    EtcdStore::new(config, |task| drop(tokio::spawn(task))).unwrap()
}

async fn embedded() -> Option<(Store, ())> {
    let journal = Arc::new(MemoryJournal::new());
    let (store, driver) = Store::open(journal, Config::default()).await.unwrap();
    tokio::spawn(driver);
    Some((store, ()))
}

async fn own() -> Option<(EtcdStore, ())> {
    Some((client_of(peer::port_of(ServerConfig::default()).await), ()))
}

fn etcd() -> Option<(EtcdStore, Etcd)> {
    let etcd = Etcd::start()?;
    Some((client_of(etcd.port()), etcd))
}

/// A server whose store is a client of another server.
async fn own_in_front() -> Option<(EtcdStore, ())> {
    let behind = client_of(peer::port_of(ServerConfig::default()).await);
    let mut config = ServerConfig::default();
    (config.cluster_id, config.member_id) = (1, 1);
    Some((client_of(peer::serve(behind, config).await), ()))
}

kv_store_conformance!(store, embedded());
kv_store_conformance!(etcd_store_of_a_server_in_front_of_another, own_in_front());
kv_store_conformance!(etcd_store_of_this_server, own());
kv_store_conformance!(etcd_store_of_etcd, async { etcd() });

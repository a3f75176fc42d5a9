//! Clients and watchers of a remote store whose connections break off in the middle.

use std::sync::Arc;
use std::time::Duration;

use kv_journal::etcd_server::ServerConfig;
use kv_journal::linearizability::Verdict;
use kv_journal::{EtcdStore, EtcdStoreConfig, Journal, MemoryJournal};

use super::drill::{Drill, Plan, Side, open};
use super::peer;
use super::proxy::Proxy;

fn client_of(port: u16) -> EtcdStore {
    let mut config = EtcdStoreConfig::new([format!("http://127.0.0.1:{port}")]);
    config.attempts = 100;
    config.retry_delay = Duration::from_millis(1);
    config.progress_poll = Duration::from_millis(10);
    EtcdStore::new(config, |task| drop(tokio::spawn(task))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_clients_and_watchers_are_told_over_broken_connections_is_right() {
    let mut cuts = 0;
    for seed in 0..20 {
        let journal = Arc::new(MemoryJournal::new());
        let shared: Arc<dyn Journal> = journal.clone();
        let plan = Plan { clients: 4, operations: 40, ..Plan::default() };
        let drill = Drill::new(seed, plan);
        let (store, driver) = open(&shared).await;
        let driver = tokio::spawn(driver);
        let server = peer::serve(store.clone(), ServerConfig::default()).await;
        let proxy = Proxy::to(server, seed).await;
        let port = proxy.port();
        let remote = || Side::Remote(Arc::new(client_of(port)));
        let mut life = drill.start_from(remote, store, driver);
        life.settle(&drill).await;
        let verdict = drill.judge(&*journal).await;
        assert_eq!(verdict, Ok(Verdict::Linearizable), "seed {seed}");
        cuts += proxy.cuts();
    }
    assert!(cuts > 200, "{cuts} cuts");
}

//! Calls of the etcd server with messages of any bytes: it answers or refuses them, and goes on.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use kv_journal::etcd_server::{EtcdServer, ServerConfig, fuzz_call};
use kv_journal::{Config, MemoryJournal, PutRequest, Store};
use libfuzzer_sys::fuzz_target;

/// Each call is the number of a method, the length of the message, and the message.
async fn run(mut bytes: &[u8]) {
    let journal = Arc::new(MemoryJournal::new());
    let (store, driver) = Store::open(journal, Config::default()).await.unwrap();
    tokio::spawn(driver);
    let mut config = ServerConfig::default();
    config.bcrypt_cost = ServerConfig::BCRYPT_COST.min;
    let spawn = |task| drop(tokio::spawn(task));
    let server = EtcdServer::open(Arc::new(store.clone()), config, spawn).await.unwrap();
    while let [method, len, rest @ ..] = bytes {
        let (message, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        bytes = rest;
        // A watch has no end of its own.
        let call = fuzz_call(&server, usize::from(*method), message);
        let _endless = tokio::time::timeout(Duration::from_secs(1), call).await;
    }
    let before = store.revision();
    let put = store.put(PutRequest::new("after", "all")).await.unwrap();
    assert_eq!(put.revision, before + 1);
}

fuzz_target!(|bytes: &[u8]| {
    // Nothing is waited for: the clock goes on when there is nothing to do.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run(bytes));
});

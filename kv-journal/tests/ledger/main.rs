//! Digests, proofs and audits of a store.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests spawn and unwrap"
)]

mod checkpoints;
#[path = "../harness/mod.rs"]
mod harness;
mod proofs;
mod tampering;

use std::sync::Arc;

use kv_journal::{Config, Journal, Result, Store};
use tokio::task::JoinHandle;

fn config() -> Config {
    let mut config = Config::default();
    config.ledger = true;
    config
}

async fn open(journal: impl Journal) -> (Store, JoinHandle<Result<()>>) {
    open_with(journal, config()).await
}

async fn open_with(journal: impl Journal, config: Config) -> (Store, JoinHandle<Result<()>>) {
    let (store, driver) = Store::open(Arc::new(journal), config).await.unwrap();
    (store, tokio::spawn(driver))
}

async fn close(store: Store, driver: JoinHandle<Result<()>>) {
    drop(store);
    driver.await.unwrap().unwrap();
}

//! Quickstart of `kv-journal`: a durable store in a directory, a transaction, a watch, a restart.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use kv_journal::{Compare, CompareResult, Config, FileConfig, FileJournal, KeyRange, Op};
use kv_journal::{PutRequest, RangeRequest, Store, Txn, WatchRequest};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    run(directory.path()).await?;

    // Everything is there again, at the same revisions.
    let journal = Arc::new(FileJournal::open(directory.path(), FileConfig::default()).await?);
    let (store, _driver) = Store::open(journal, Config::default()).await?;
    let before = store.range(RangeRequest::new(KeyRange::prefix("pods/")).at(2))?;
    println!("revision {}, at 2: {:?}", store.revision(), before.kvs[0].value_bytes());
    Ok(())
}

async fn run(directory: &Path) -> Result<(), Box<dyn Error>> {
    let journal = Arc::new(FileJournal::open(directory, FileConfig::default()).await?);
    let (store, driver) = Store::open(journal, Config::default()).await?;
    let driver = tokio::spawn(driver);

    let put = store.put(PutRequest::new("pods/a", "pending")).await?; // durable now
    let bind = Txn::new()
        .when(Compare::mod_revision("pods/a", CompareResult::Equal, put.revision))
        .then(Op::put("pods/a", "running"));
    println!("bound: {}", store.txn(bind).await?.succeeded);

    let from_start = WatchRequest::new(KeyRange::prefix("pods/")).from_revision(1);
    let mut events = store.watch(from_start)?.take(2);
    while let Some(batch) = events.next().await.transpose()? {
        println!("revision {}: {:?}", batch.revision, batch.events[0].kv.value_bytes());
    }
    drop(store);
    Ok(driver.await??) // every handle is dropped: the driver ends and frees the directory
}

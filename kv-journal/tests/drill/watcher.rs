//! One watcher, which goes on where it was after every crash and every compaction.

use std::sync::Arc;

use futures_util::StreamExt;
use kv_journal::oracle::Told;
use kv_journal::{Error, ErrorKind, KvStore, Store, WatchBatch, WatchMessage, WatchRequest};

use super::Drill;
use super::side::Side;

pub(super) async fn run(drill: Arc<Drill>, store: Side, watcher: usize) {
    loop {
        let failed = watch(&drill, &store, watcher).await;
        if !begin_after(&drill, watcher, &failed) {
            return;
        }
    }
}

/// Watches until it fails.
async fn watch(drill: &Drill, store: &Side, watcher: usize) -> Error {
    let request = {
        let told = drill.told.lock();
        let last = told[watcher].last().unwrap();
        last.request.clone().from_revision(last.next_revision())
    };
    match store {
        Side::Embedded(store) => watch_here(drill, store, watcher, request).await,
        Side::Remote(store) => match watch_there(drill, &**store, watcher, request).await {
            Ok(()) => panic!("a watcher ended that nobody had ended"),
            Err(error) => error,
        },
    }
}

async fn watch_here(drill: &Drill, store: &Store, watcher: usize, request: WatchRequest) -> Error {
    let mut batches = match store.watch(request) {
        Ok(batches) => batches,
        Err(error) => return error,
    };
    loop {
        match batches.next().await.unwrap() {
            Ok(batch) => hear(drill, watcher, batch),
            Err(error) => return error,
        }
    }
}

async fn watch_there(
    drill: &Drill,
    store: &dyn KvStore,
    watcher: usize,
    request: WatchRequest,
) -> Result<(), Error> {
    let mut watching = store.watch_stream().await?;
    watching.desk.create(request)?;
    loop {
        let message = watching.messages.next().await.unwrap()?;
        if let WatchMessage::Canceled { reason, .. } = message {
            return reason.map_or(Ok(()), Err);
        }
        drill.told.lock()[watcher].last_mut().unwrap().hear(message);
    }
}

fn hear(drill: &Drill, watcher: usize, batch: WatchBatch) {
    drill.told.lock()[watcher].last_mut().unwrap().batches.push(batch);
}

/// Whether the watch is to go on, at the revision of the compaction that passed it.
fn begin_after(drill: &Drill, watcher: usize, error: &Error) -> bool {
    let ErrorKind::Compacted { compact_revision } = error.kind() else {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        return false;
    };
    let mut told = drill.told.lock();
    let last = told[watcher].last_mut().unwrap();
    last.compacted = Some(compact_revision);
    let next = Told::new(last.request.clone().from_revision(compact_revision));
    told[watcher].push(next);
    true
}

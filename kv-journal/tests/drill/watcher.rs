//! One watcher, which goes on where it was after every crash and every compaction.

use std::sync::Arc;

use futures_util::StreamExt;
use kv_journal::oracle::Told;
use kv_journal::{Error, ErrorKind, Store, WatchBatch};

use super::Drill;

pub(super) async fn run(drill: Arc<Drill>, store: Store, watcher: usize) {
    loop {
        let failed = watch(&drill, &store, watcher).await;
        if !begin_after(&drill, watcher, &failed) {
            return;
        }
    }
}

/// Watches until it fails.
async fn watch(drill: &Drill, store: &Store, watcher: usize) -> Error {
    let request = {
        let told = drill.told.lock();
        let last = told[watcher].last().unwrap();
        last.request.clone().from_revision(last.next_revision())
    };
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

//! What an API server does with the store: create if absent, update if unchanged, and remember how
//! long it took.

use std::fs::File;
use std::io::Write;

use bytes::Bytes;
use kv_journal::{Compare, CompareResult, Error, ErrorKind, KeyRange, Op, RangeRequest, Result};
use kv_journal::{KeyValue, Store, Txn};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::latency::Latency;

/// Writes and reads objects with optimistic concurrency.
#[derive(Debug)]
pub struct Client {
    store: Store,
    audit: Option<Mutex<File>>,
    /// Creates and updates, from the call to the acknowledgement that they are durable.
    pub puts: Latency,
    /// Linearizable reads of one key.
    pub gets: Latency,
}

impl Client {
    /// A client of `store` that appends a line `revision key` to `audit` for each write once it is
    /// acknowledged.
    #[must_use]
    pub fn new(store: Store, audit: Option<File>) -> Self {
        Self {
            store,
            audit: audit.map(Mutex::new),
            puts: Latency::default(),
            gets: Latency::default(),
        }
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Writes `key` unless it exists; `None` says that it does.
    ///
    /// # Errors
    /// Those of the store, and of the audit log.
    pub async fn create(&self, key: &Bytes, value: Bytes) -> Result<Option<u64>> {
        self.update(key, 0, value).await
    }

    /// Writes `key` if its last change is `mod_revision`; `None` says that it is not.
    ///
    /// # Errors
    /// Those of the store, and of the audit log.
    pub async fn update(
        &self,
        key: &Bytes,
        mod_revision: u64,
        value: Bytes,
    ) -> Result<Option<u64>> {
        let start = Instant::now();
        let txn = Txn::new()
            .when(Compare::mod_revision(key.clone(), CompareResult::Equal, mod_revision))
            .then(Op::put(key.clone(), value));
        let answer = self.store.txn(txn).await?;
        self.puts.since(start);
        if !answer.succeeded {
            return Ok(None);
        }
        self.record(answer.revision, key)?;
        Ok(Some(answer.revision))
    }

    /// Reads one key, at least as new as every write acknowledged before the call.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, key: &Bytes) -> Result<Option<KeyValue>> {
        let start = Instant::now();
        self.store.read_barrier().await?;
        let mut answer = self.store.range(RangeRequest::new(KeyRange::key(key.clone())))?;
        self.gets.since(start);
        Ok(answer.kvs.pop())
    }

    /// One unbuffered write a line: what was acknowledged is in the log even if the process dies.
    fn record(&self, revision: u64, key: &Bytes) -> Result<()> {
        let Some(audit) = &self.audit else { return Ok(()) };
        let line = format!("{revision} {}\n", String::from_utf8_lossy(key));
        audit.lock().write_all(line.as_bytes()).map_err(|error| {
            Error::new(ErrorKind::Exhausted, "the audit log can't be written").with_source(error)
        })
    }
}

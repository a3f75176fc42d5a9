//! Writes that are acknowledged as their durability class allows.

use super::sequencer::Request;
use super::{Store, mismatched};
use crate::core::{
    Op, OpResponse, PutRequest, PutResponse, Txn, TxnResponse, check_put, check_txn,
};
use crate::error::Result;

/// How a write was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ack<T> {
    /// It is durable.
    Durable(T),
    /// It is evaluated and on its way. It has no revision yet that anybody could rely on: if its
    /// batch fails, another write will get that.
    Accepted,
}

/// Writes by durability class.
///
/// [`Config::durability`](crate::Config::durability) gives the class of every key. Where that is
/// [`Relaxed`](crate::DurabilityClass::Relaxed), these calls return once the write is evaluated,
/// before the journal has it. The write is visible to readers and watchers when it is durable, not
/// before, in the order of all writes.
///
/// **What can be lost:** what was accepted and not yet published when the process ends, the driver
/// is dropped, another store takes over, or the journal fails the batch. A failed batch takes
/// everything along that was accepted since;
/// [`Stats::relaxed_lost`](crate::Stats::relaxed_lost) counts that. What is durable is never lost,
/// and nothing is lost while handles are dropped and the driver is left to end. After a
/// transaction without operations, awaited, everything that was accepted before it is durable or
/// has been counted as lost.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use std::sync::Arc;
/// use kv_journal::{Ack, Config, MemoryJournal, PrefixClass, PutRequest, Store, Txn};
///
/// let mut config = Config::default();
/// config.durability = vec![PrefixClass::relaxed("events/")];
/// let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await?;
/// tokio::spawn(driver);
///
/// assert_eq!(store.put_by_class(PutRequest::new("events/a", "it rained")).await?, Ack::Accepted);
/// store.txn(Txn::new()).await?; // waits for everything before it
/// assert!(store.get(b"events/a")?.is_some());
/// # Ok(()) }
/// ```
impl Store {
    /// Writes one key.
    ///
    /// # Errors
    /// As [`put`](Self::put). What goes wrong after a relaxed write was accepted is not told.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the write undone or done whole.
    pub async fn put_by_class(&self, request: PutRequest) -> Result<Ack<PutResponse>> {
        check_put(&request, &self.inner.limits)?;
        let ack = self.submit_by_class(Txn::new().then(Op::Put(request))).await?;
        let Ack::Durable(response) = ack else { return Ok(Ack::Accepted) };
        match response.responses.into_iter().next() {
            Some(OpResponse::Put(put)) => Ok(Ack::Durable(put)),
            _ => Err(mismatched()),
        }
    }

    /// Runs one branch of a transaction. It is relaxed if everything that it could write is, in
    /// either branch; one that could touch a durable key, or that writes nothing, is durable as a
    /// whole.
    ///
    /// # Errors
    /// As [`txn`](Self::txn). What goes wrong after a relaxed one was accepted is not told.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the transaction undone or done whole.
    pub async fn txn_by_class(&self, txn: Txn) -> Result<Ack<TxnResponse>> {
        check_txn(&txn, &self.inner.limits)?;
        self.submit_by_class(txn).await
    }

    async fn submit_by_class(&self, txn: Txn) -> Result<Ack<TxnResponse>> {
        let relaxed = self.inner.classes.is_relaxed(&txn);
        let response = self.submit_as(Request::Txn(txn), relaxed).await?;
        Ok(if relaxed { Ack::Accepted } else { Ack::Durable(response) })
    }
}

//! The port that cluster records come through.

mod memory;

pub use memory::MemoryRecords;

pub use crate::service::{Endpoint, Port, Protocol, Service, ServiceKind};

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::error::Result;

/// A source of services and namespaces that tells of every change.
///
/// # Contract
///
/// 1. A stream first gives the complete state: one [`Snapshot`](RecordsEvent::Snapshot), or
///    upserts closed by the first [`Synced`](RecordsEvent::Synced).
/// 2. After that it gives every change, in order: an upsert holds the whole service, and a delete
///    names a service that was there.
/// 3. Revisions never decrease within a stream, and a change's is greater than that of the state
///    before it.
/// 4. Every call of `watch` gives a stream of its own, complete by itself, however many there are.
/// 5. An idle stream waits. It ends, or gives an error and then ends, only when it cannot go on;
///    the caller then calls `watch` again and takes the new stream's state for the whole.
/// 6. Dropping a stream, or the future that opens it, harms no other stream.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// Opens a stream of the state and its changes.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the source cannot be reached now; the resolver tries again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing.
    async fn watch(&self) -> Result<BoxStream<'static, Result<RecordsEvent>>>;
}

/// One step of a [`Records`] stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordsEvent {
    /// The complete state as of `revision`; it replaces all that was known.
    Snapshot {
        /// The revision of the state.
        revision: u64,
        /// All services.
        services: Vec<Arc<Service>>,
        /// All namespaces. One that holds a service exists without being named here.
        namespaces: Vec<String>,
    },
    /// The service is now as given.
    Upsert {
        /// The revision of the change.
        revision: u64,
        /// The whole service.
        service: Arc<Service>,
    },
    /// The service is gone.
    Delete {
        /// The revision of the change.
        revision: u64,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The namespace exists.
    NamespaceUpsert {
        /// The revision of the change.
        revision: u64,
        /// Its name.
        name: String,
    },
    /// The namespace is gone.
    NamespaceDelete {
        /// The revision of the change.
        revision: u64,
        /// Its name.
        name: String,
    },
    /// All up to `revision` has been told, whether or not it touched a service.
    Synced {
        /// The revision that is reached.
        revision: u64,
    },
}

#[async_trait]
impl<R: Records + ?Sized> Records for Arc<R> {
    async fn watch(&self) -> Result<BoxStream<'static, Result<RecordsEvent>>> {
        (**self).watch().await
    }
}

//! Records in memory, changed by method calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Records, RecordsEvent};
use crate::error::Result;
use crate::service::Service;

/// Changes that a slow stream may lag behind before it ends and must be opened again.
const STREAM_CHANGES: usize = 4096;

/// A set of services that the program itself changes. Each change has the next revision; clones
/// share the set.
///
/// ```
/// use dns_cache::records::{MemoryRecords, Service, ServiceKind};
///
/// let records = MemoryRecords::new();
/// let address = "10.96.0.10".parse().unwrap();
/// let revision = records.upsert(Service::new("prod", "web", ServiceKind::ClusterIp(vec![address])));
/// assert_eq!(revision, 1);
/// assert_eq!(records.delete("prod", "web"), Some(2));
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryRecords {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    services: BTreeMap<(String, String), Arc<Service>>,
    namespaces: BTreeSet<String>,
    streams: Vec<mpsc::Sender<RecordsEvent>>,
}

#[expect(clippy::must_use_candidate, reason = "a change may be made for its own sake")]
impl MemoryRecords {
    /// An empty set at revision 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a service and returns the change's revision.
    pub fn upsert(&self, service: Service) -> u64 {
        let service = Arc::new(service);
        let mut state = self.state.lock();
        let key = (service.namespace.clone(), service.name.clone());
        state.services.insert(key, Arc::clone(&service));
        state.tell(|revision| RecordsEvent::Upsert { revision, service })
    }

    /// Removes a service and returns the change's revision, or `None` if there was none.
    pub fn delete(&self, namespace: &str, name: &str) -> Option<u64> {
        let mut state = self.state.lock();
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        state.services.remove(&(namespace.clone(), name.clone()))?;
        Some(state.tell(|revision| RecordsEvent::Delete { revision, namespace, name }))
    }

    /// Adds a namespace and returns the change's revision.
    pub fn add_namespace(&self, name: &str) -> u64 {
        let (mut state, name) = (self.state.lock(), name.to_owned());
        state.namespaces.insert(name.clone());
        state.tell(|revision| RecordsEvent::NamespaceUpsert { revision, name })
    }

    /// Removes a namespace and returns the change's revision, or `None` if there was none.
    pub fn remove_namespace(&self, name: &str) -> Option<u64> {
        let mut state = self.state.lock();
        let name = state.namespaces.take(name)?;
        Some(state.tell(|revision| RecordsEvent::NamespaceDelete { revision, name }))
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.state.lock().revision
    }

    /// Ends every open stream, as a source that loses its connection does.
    pub fn disconnect(&self) {
        self.state.lock().streams.clear();
    }
}

impl State {
    /// Tells every stream of a change; one that lags too far ends.
    fn tell(&mut self, event: impl FnOnce(u64) -> RecordsEvent) -> u64 {
        self.revision += 1;
        let event = event(self.revision);
        self.streams.retain(|stream| stream.try_send(event.clone()).is_ok());
        self.revision
    }

    fn snapshot(&self) -> RecordsEvent {
        RecordsEvent::Snapshot {
            revision: self.revision,
            services: self.services.values().cloned().collect(),
            namespaces: self.namespaces.iter().cloned().collect(),
        }
    }
}

#[async_trait]
impl Records for MemoryRecords {
    async fn watch(&self) -> Result<BoxStream<'static, Result<RecordsEvent>>> {
        let (sender, receiver) = mpsc::channel(STREAM_CHANGES);
        let mut state = self.state.lock();
        let first = stream::iter([Ok(state.snapshot())]);
        state.streams.push(sender);
        let changes = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|event| (Ok(event), receiver))
        });
        Ok(first.chain(changes).boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ServiceKind;

    #[tokio::test]
    async fn a_stream_that_lags_ends_after_what_it_holds() {
        let records = MemoryRecords::new();
        let stream = records.watch().await.unwrap();
        for _ in 0..STREAM_CHANGES + 5 {
            records.upsert(Service::new("a", "b", ServiceKind::Headless));
        }
        assert_eq!(stream.count().await, 1 + STREAM_CHANGES);
    }

    #[tokio::test]
    async fn disconnecting_ends_streams_and_a_new_one_is_complete() {
        let records = MemoryRecords::new();
        let stream = records.watch().await.unwrap();
        records.add_namespace("prod");
        records.disconnect();
        assert_eq!(stream.count().await, 2);
        let first = records.watch().await.unwrap().next().await.unwrap().unwrap();
        let RecordsEvent::Snapshot { revision, namespaces, .. } = first else {
            panic!("{first:?}")
        };
        assert_eq!((revision, namespaces), (1, vec!["prod".to_owned()]));
    }
}

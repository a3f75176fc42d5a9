//! Keeps the cluster's zone equal to the records.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::local::Shared;
use crate::core::zone::Zone;
use crate::error::Result;
use crate::records::{Records, RecordsEvent};

/// Events that are applied before the zone is published and others have their turn.
const BATCH: usize = 256;

type Events = BoxStream<'static, Result<RecordsEvent>>;

/// Follows a records stream and opens it again whenever it breaks. The last complete zone stays
/// in use meanwhile.
pub(super) struct Sync {
    records: Arc<dyn Records>,
    shared: Arc<Shared>,
    reached: watch::Sender<Option<u64>>,
    link: Link,
}

enum Link {
    Opening(BoxFuture<'static, Result<Events>>),
    Open { events: Events, state: State },
    Broken(BoxFuture<'static, ()>),
}

/// What a stream has told so far.
struct State {
    zone: Zone,
    complete: bool,
}

impl Sync {
    pub(super) fn new(
        records: Arc<dyn Records>,
        shared: &Arc<Shared>,
        reached: watch::Sender<Option<u64>>,
    ) -> Self {
        let link = Link::Opening(open(&records));
        Self { records, shared: Arc::clone(shared), reached, link }
    }

    /// Makes one step; ready when something may be ready again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link = match &mut self.link {
            Link::Opening(opening) => {
                match (ready!(opening.poll_unpin(cx)), self.shared.new_zone()) {
                    (Ok(events), Some(zone)) => {
                        Link::Open { events, state: State { zone, complete: false } }
                    }
                    _ => self.broken(),
                }
            }
            Link::Broken(pause) => {
                ready!(pause.poll_unpin(cx));
                Link::Opening(open(&self.records))
            }
            Link::Open { events, state } => {
                let (applied, ended) = state.take(events, cx);
                if applied > 0 && state.complete {
                    publish(&self.shared, &self.reached, &state.zone);
                }
                if !ended {
                    return if applied > 0 { Poll::Ready(()) } else { Poll::Pending };
                }
                self.broken()
            }
        };
        Poll::Ready(())
    }

    fn broken(&self) -> Link {
        self.shared.counters.records_restarts();
        let retry = Duration::from_millis(self.shared.config.records_retry_ms);
        Link::Broken(Box::pin(sleep_until(Instant::now() + retry)))
    }
}

fn open(records: &Arc<dyn Records>) -> BoxFuture<'static, Result<Events>> {
    let records = Arc::clone(records);
    Box::pin(async move { records.watch().await })
}

fn publish(shared: &Shared, reached: &watch::Sender<Option<u64>>, zone: &Zone) {
    shared.publish(zone.clone());
    reached.send_replace(Some(zone.revision()));
}

impl State {
    /// Applies the events that are ready, a batch at most; returns how many, and whether the
    /// stream has ended.
    fn take(&mut self, events: &mut Events, cx: &mut Context<'_>) -> (usize, bool) {
        for applied in 0..BATCH {
            match events.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(event))) => self.apply(event),
                Poll::Ready(Some(Err(_)) | None) => return (applied, true),
                Poll::Pending => return (applied, false),
            }
        }
        (BATCH, false)
    }

    fn apply(&mut self, event: RecordsEvent) {
        let revision = match event {
            RecordsEvent::Snapshot { revision, services, namespaces } => {
                self.zone = self.zone.emptied();
                for service in &services {
                    self.zone.upsert(service);
                }
                for name in &namespaces {
                    self.zone.declare_namespace(name, true);
                }
                self.complete = true;
                revision
            }
            RecordsEvent::Upsert { revision, service } => {
                self.zone.upsert(&service);
                revision
            }
            RecordsEvent::Delete { revision, namespace, name } => {
                self.zone.delete(&namespace, &name);
                revision
            }
            RecordsEvent::NamespaceUpsert { revision, name } => {
                self.zone.declare_namespace(&name, true);
                revision
            }
            RecordsEvent::NamespaceDelete { revision, name } => {
                self.zone.declare_namespace(&name, false);
                revision
            }
            RecordsEvent::Synced { revision } => {
                self.complete = true;
                revision
            }
        };
        self.zone.set_revision(revision);
    }
}

//! Every adapter keeps its port's contract, and a broken one is caught on the item it breaks.
#![allow(clippy::disallowed_methods, reason = "a test spawns what it tests")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dns_cache::conformance::{RecordsFixture, UpstreamFixture, Violation, records, upstream};
use dns_cache::records::{MemoryRecords, Records, RecordsEvent, Service};
use dns_cache::upstream::{
    FaultUpstream, Faults, MemoryUpstream, UdpUpstream, UdpUpstreamConfig, Upstream,
};
use dns_cache::{Error, ErrorKind, Result, records_conformance, upstream_conformance};
use futures_util::stream::{BoxStream, StreamExt};
use tokio::net::UdpSocket;
use tokio::sync::Mutex;

fn lossy() -> FaultUpstream<MemoryUpstream> {
    let mut faults = Faults::default();
    faults.loss_percent = 100;
    FaultUpstream::new(MemoryUpstream::new(), faults, 1)
}

fn memory() -> UpstreamFixture {
    UpstreamFixture::new(Arc::new(MemoryUpstream::new()), Arc::new(lossy()))
}

fn arc_dyn() -> UpstreamFixture {
    let answering: Arc<dyn Upstream> = Arc::new(MemoryUpstream::new());
    let silent: Arc<dyn Upstream> = Arc::new(lossy());
    UpstreamFixture::new(Arc::new(answering), Arc::new(silent))
}

fn faultless() -> UpstreamFixture {
    let answering = FaultUpstream::new(MemoryUpstream::new(), Faults::default(), 1);
    UpstreamFixture::new(Arc::new(answering), Arc::new(lossy()))
}

/// A name server on loopback that asks a memory upstream, and a socket that never answers.
async fn udp() -> UpstreamFixture {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (memory, mut datagram) = (MemoryUpstream::new(), [0; 512]);
        while let Ok((len, peer)) = socket.recv_from(&mut datagram).await {
            if let Ok(answer) = memory.exchange(Bytes::copy_from_slice(&datagram[..len])).await {
                socket.send_to(&answer, peer).await.unwrap();
            }
        }
    });
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = udp_upstream(deaf.local_addr().unwrap(), 20);
    let mut fixture = UpstreamFixture::new(Arc::new(udp_upstream(server, 5000)), Arc::new(silent));
    fixture.keep = Box::new(deaf);
    fixture
}

fn udp_upstream(server: SocketAddr, attempt_timeout_ms: u64) -> UdpUpstream {
    let mut config = UdpUpstreamConfig::new(vec![server]);
    config.attempt_timeout_ms = attempt_timeout_ms;
    config.max_sockets = 8;
    UdpUpstream::new(config).unwrap()
}

upstream_conformance!(memory_upstream, async { memory() });
upstream_conformance!(arc_dyn_upstream, async { arc_dyn() });
upstream_conformance!(fault_upstream_without_faults, async { faultless() });
upstream_conformance!(udp_upstream_on_loopback, udp());

/// Breaks one item of the upstream's contract.
struct BrokenUpstream {
    item: u8,
    inner: MemoryUpstream,
    last: Mutex<Option<Bytes>>,
}

#[async_trait]
impl Upstream for BrokenUpstream {
    async fn exchange(&self, query: Bytes) -> Result<Bytes> {
        match self.item {
            1 => {
                let mut answer = BytesMut::from(self.inner.exchange(query).await?);
                answer[1] ^= 1;
                Ok(answer.freeze())
            }
            2 => {
                let mut answer = BytesMut::from(self.inner.exchange(query).await?);
                answer[13] ^= 1;
                Ok(answer.freeze())
            }
            // Answers belong to whoever asked before.
            3 => {
                let mut last = self.last.lock().await;
                let answer = self.inner.exchange(query).await?;
                tokio::task::yield_now().await;
                Ok(last.replace(answer.clone()).unwrap_or(answer))
            }
            4 => Ok(self.inner.exchange(query).await.unwrap_or_default()),
            5 => std::future::pending().await,
            // The first exchange that is dropped keeps the lock for ever.
            _ => {
                let guard = self.last.try_lock();
                let guard = guard.map_err(|_| Error::new(ErrorKind::Unavailable, "locked"))?;
                let forever = std::mem::ManuallyDrop::new(guard);
                tokio::task::yield_now().await;
                drop(std::mem::ManuallyDrop::into_inner(forever));
                self.inner.exchange(query).await
            }
        }
    }
}

fn broken_upstream(item: u8) -> UpstreamFixture {
    let broken = || BrokenUpstream { item, inner: MemoryUpstream::new(), last: Mutex::default() };
    UpstreamFixture::new(Arc::new(broken()), Arc::new(broken()))
}

#[tokio::test(start_paused = true)]
async fn each_break_of_an_upstream_is_caught_on_its_item() {
    let caught = [
        upstream::answers_with_qr_and_id(broken_upstream(1)).await,
        upstream::repeats_the_question(broken_upstream(2)).await,
        upstream::exchanges_are_independent(broken_upstream(3)).await,
        upstream::refuses_what_is_no_query(broken_upstream(4)).await,
        upstream::ends_in_bounded_time(broken_upstream(5)).await,
        upstream::survives_dropped_exchanges(broken_upstream(6)).await,
    ];
    let items: Vec<_> = caught.into_iter().map(|found| found.unwrap_err().item).collect();
    assert_eq!(items, ["1", "2", "3", "4", "5", "6"]);
}

struct Memory(MemoryRecords);

#[async_trait]
impl RecordsFixture for Memory {
    fn records(&self) -> Arc<dyn Records> {
        Arc::new(self.0.clone())
    }

    async fn upsert(&self, service: Service) -> u64 {
        self.0.upsert(service)
    }

    async fn delete(&self, namespace: &str, name: &str) -> u64 {
        self.0.delete(namespace, name).unwrap()
    }
}

struct ArcDyn(MemoryRecords);

#[async_trait]
impl RecordsFixture for ArcDyn {
    fn records(&self) -> Arc<dyn Records> {
        let inner: Arc<dyn Records> = Arc::new(self.0.clone());
        Arc::new(inner)
    }

    async fn upsert(&self, service: Service) -> u64 {
        self.0.upsert(service)
    }

    async fn delete(&self, namespace: &str, name: &str) -> u64 {
        self.0.delete(namespace, name).unwrap()
    }
}

records_conformance!(memory_records, async { Memory(MemoryRecords::new()) });
records_conformance!(arc_dyn_records, async { ArcDyn(MemoryRecords::new()) });

/// Breaks one item of the records' contract.
#[derive(Clone)]
struct BrokenRecords {
    item: u8,
    inner: MemoryRecords,
    opened: Arc<std::sync::atomic::AtomicU32>,
}

impl BrokenRecords {
    fn new(item: u8) -> Self {
        Self { item, inner: MemoryRecords::new(), opened: Arc::default() }
    }

    fn distort(&self, event: RecordsEvent) -> RecordsEvent {
        match (self.item, event) {
            (1, RecordsEvent::Snapshot { revision, mut services, namespaces }) => {
                services.pop();
                RecordsEvent::Snapshot { revision, services, namespaces }
            }
            // A delete moves the revision and names no service.
            (2, RecordsEvent::Delete { revision, .. }) => RecordsEvent::Synced { revision },
            (3, RecordsEvent::Upsert { service, .. }) => {
                RecordsEvent::Upsert { revision: 7, service }
            }
            (_, event) => event,
        }
    }
}

#[async_trait]
impl Records for BrokenRecords {
    async fn watch(&self) -> Result<BoxStream<'static, Result<RecordsEvent>>> {
        let first = self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        let (this, inner) = (self.clone(), self.inner.clone());
        let events = self.inner.watch().await?;
        let events = events.map(move |event| event.map(|event| this.distort(event))).boxed();
        Ok(match self.item {
            // A second stream tells only what happens after it.
            4 if !first => {
                let none = RecordsEvent::Synced { revision: self.inner.revision() };
                futures_util::stream::iter([Ok(none)]).chain(events.skip(1)).boxed()
            }
            5 => events.take(1).boxed(),
            6 => Box::pin(Disconnecting { events, inner }),
            _ => events,
        })
    }
}

/// A stream whose end ends all others.
struct Disconnecting {
    events: BoxStream<'static, Result<RecordsEvent>>,
    inner: MemoryRecords,
}

impl futures_util::Stream for Disconnecting {
    type Item = Result<RecordsEvent>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(cx)
    }
}

impl Drop for Disconnecting {
    fn drop(&mut self) {
        self.inner.disconnect();
    }
}

#[async_trait]
impl RecordsFixture for BrokenRecords {
    fn records(&self) -> Arc<dyn Records> {
        Arc::new(self.clone())
    }

    async fn upsert(&self, service: Service) -> u64 {
        self.inner.upsert(service)
    }

    async fn delete(&self, namespace: &str, name: &str) -> u64 {
        self.inner.delete(namespace, name).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn each_break_of_records_is_caught_on_its_item() {
    let caught: [std::result::Result<(), Violation>; 6] = [
        records::begins_with_the_complete_state(BrokenRecords::new(1)).await,
        records::tells_every_change_in_order(BrokenRecords::new(2)).await,
        records::revisions_grow(BrokenRecords::new(3)).await,
        records::streams_are_complete_by_themselves(BrokenRecords::new(4)).await,
        records::an_idle_stream_waits(BrokenRecords::new(5)).await,
        records::dropping_a_stream_harms_no_other(BrokenRecords::new(6)).await,
    ];
    let items: Vec<_> = caught.into_iter().map(|found| found.unwrap_err().item).collect();
    assert_eq!(items, ["1", "2", "3", "4", "5", "6"]);
}

/// The faults reach the caller as the network's would.
#[tokio::test(start_paused = true)]
async fn faults_strike_as_set() {
    let mut faults = Faults::default();
    faults.delay = Duration::from_secs(3);
    let upstream = FaultUpstream::new(MemoryUpstream::new(), faults, 1);
    let query =
        dns_cache::wire::Query::new("a.example".parse().unwrap(), dns_cache::wire::RecordType::A);
    let before = tokio::time::Instant::now();
    upstream.exchange(query.encode(1)).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    let mut faults = Faults::default();
    faults.truncation_percent = 100;
    upstream.set_faults(faults);
    let answer = upstream.exchange(query.encode(1)).await.unwrap();
    let message = dns_cache::wire::Message::parse(&answer).unwrap();
    assert!(message.flags().truncated() && message.records().count() == 0);
}

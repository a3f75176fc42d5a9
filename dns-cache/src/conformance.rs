//! The contracts of [`Upstream`] and [`Records`] as checks that every adapter must pass.
//!
//! Each check is one numbered item of a port's contract. [`upstream_conformance!`](crate::upstream_conformance)
//! and [`records_conformance!`](crate::records_conformance) turn them into one `#[test]` each;
//! called directly, a check returns the [`Violation`] that it found, which is how a deliberately
//! broken adapter is shown to fail.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{BoxStream, StreamExt};
use tokio::time::timeout;

use crate::core::wire::{Message, Query, RecordType};
use crate::error::{Error, ErrorKind, Result as PortResult};
use crate::records::{Records, RecordsEvent, Service, ServiceKind};
use crate::upstream::Upstream;

/// A broken promise of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The contract item, as numbered in the port's docs.
    pub item: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contract item {}: {}", self.item, self.seen)
    }
}

impl std::error::Error for Violation {}

/// What a check came to.
pub type Checked = Result<(), Violation>;

/// Longer than any adapter's own patience.
const PATIENCE: Duration = Duration::from_secs(60);

fn holds(item: &'static str, promise: bool, seen: impl fmt::Display) -> Checked {
    if promise { Ok(()) } else { Err(Violation { item, seen: seen.to_string() }) }
}

fn broken(item: &'static str) -> impl FnOnce(Error) -> Violation {
    move |error| Violation { item, seen: error.to_string() }
}

async fn patient<T>(item: &'static str, wait: impl Future<Output = T>) -> Result<T, Violation> {
    let seen = format!("nothing happened for {} s", PATIENCE.as_secs());
    timeout(PATIENCE, wait).await.map_err(|_| Violation { item, seen })
}

/// Runs a check on a runtime of its own.
///
/// # Errors
///
/// What the check found, or that no runtime could be built.
pub fn run(check: impl Future<Output = Checked>) -> Checked {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Violation { item: "none", seen: error.to_string() })?;
    runtime.block_on(check)
}

/// An upstream under test.
pub struct UpstreamFixture {
    /// Answers every query about `example.` and below, positively or negatively.
    pub answering: Arc<dyn Upstream>,
    /// The same kind of upstream whose other side never answers.
    pub silent: Arc<dyn Upstream>,
    /// Whatever must live as long as the test.
    pub keep: Box<dyn Any + Send>,
}

impl UpstreamFixture {
    /// A fixture of two upstreams.
    pub fn new(answering: Arc<dyn Upstream>, silent: Arc<dyn Upstream>) -> Self {
        Self { answering, silent, keep: Box::new(()) }
    }
}

impl fmt::Debug for UpstreamFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamFixture").finish_non_exhaustive()
    }
}

/// The checks of [`Upstream`]'s contract.
pub mod upstream {
    use super::{
        Bytes, Checked, ErrorKind, Message, Poll, PortResult, Query, RecordType, UpstreamFixture,
        Violation, broken, holds, join_all, patient, pin,
    };

    fn query(label: &str, id: u16) -> Result<Bytes, Violation> {
        let name = format!("{label}.example").parse().map_err(broken("none"))?;
        Ok(Query::new(name, RecordType::A).encode(id))
    }

    /// # Errors
    ///
    /// Item 1 is broken.
    pub async fn answers_with_qr_and_id(fixture: UpstreamFixture) -> Checked {
        for id in [0, 1, 0x1234, 0xFFFF] {
            let exchange = fixture.answering.exchange(query("one", id)?);
            let answer = patient("1", exchange).await?.map_err(broken("1"))?;
            let message = Message::parse(&answer).map_err(broken("1"))?;
            holds("1", message.flags().response(), "QR is not set")?;
            holds("1", message.id() == id, format!("id {} for {id}", message.id()))?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// Item 2 is broken.
    pub async fn repeats_the_question(fixture: UpstreamFixture) -> Checked {
        for label in ["one", "Two", "a.b.c"] {
            let query = query(label, 9)?;
            let exchange = fixture.answering.exchange(query.clone());
            let answer = patient("2", exchange).await?.map_err(broken("2"))?;
            repeats("2", &query, &answer)?;
        }
        Ok(())
    }

    fn repeats(item: &'static str, query: &[u8], answer: &[u8]) -> Checked {
        let asked = Message::parse(query).map_err(broken(item))?;
        let answered = Message::parse(answer).map_err(broken(item))?;
        let seen = format!("{:?} for {:?}", answered.question(), asked.question());
        holds(item, asked.question() == answered.question(), seen)?;
        holds(item, asked.id() == answered.id(), "the id of another query")
    }

    /// # Errors
    ///
    /// Item 3 is broken.
    pub async fn exchanges_are_independent(fixture: UpstreamFixture) -> Checked {
        // All under one id, so that only the question tells them apart.
        let queries: Result<Vec<_>, _> = (0..16).map(|n| query(&format!("n{n}"), 7)).collect();
        let answering = &fixture.answering;
        let exchanges = queries?.into_iter().map(|query| async move {
            let exchange = answering.exchange(query.clone());
            let answer = patient("3", exchange).await?.map_err(broken("3"))?;
            repeats("3", &query, &answer)
        });
        join_all(exchanges).await.into_iter().collect()
    }

    /// # Errors
    ///
    /// Item 4 is broken.
    pub async fn refuses_what_is_no_query(fixture: UpstreamFixture) -> Checked {
        let good = query("one", 1)?;
        let with = |at: usize, value: u8| {
            let change = |(place, byte): (usize, &u8)| if place == at { value } else { *byte };
            good.iter().enumerate().map(change).collect::<Bytes>()
        };
        let bad = [
            Bytes::new(),
            good.slice(..12),
            good.slice(..20),
            with(5, 0),
            with(5, 2),
            with(2, 0x80),
        ];
        for query in bad {
            let seen = format!("{query:?} was not refused");
            let result = patient("4", fixture.answering.exchange(query)).await?;
            holds("4", failed(&result, &[ErrorKind::Invalid]), seen)?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// Item 5 is broken.
    pub async fn ends_in_bounded_time(fixture: UpstreamFixture) -> Checked {
        let result = patient("5", fixture.silent.exchange(query("one", 1)?)).await?;
        let seen = format!("{result:?} from the silent");
        holds("5", failed(&result, &[ErrorKind::TimedOut, ErrorKind::Unavailable]), seen)
    }

    fn failed(result: &PortResult<Bytes>, kinds: &[ErrorKind]) -> bool {
        result.as_ref().is_err_and(|error| kinds.contains(&error.kind()))
    }

    /// # Errors
    ///
    /// Item 6 is broken.
    pub async fn survives_dropped_exchanges(fixture: UpstreamFixture) -> Checked {
        for n in 0..32 {
            let mut exchange = pin!(fixture.answering.exchange(query(&format!("n{n}"), 1)?));
            // One poll is enough to have sent; then the caller gives up.
            _ = std::future::poll_fn(|cx| Poll::Ready(exchange.as_mut().poll(cx))).await;
        }
        let query = query("one", 2)?;
        let exchange = fixture.answering.exchange(query.clone());
        let answer = patient("6", exchange).await?.map_err(broken("6"))?;
        repeats("6", &query, &answer)
    }
}

/// A records source under test, and the means to change it.
#[async_trait]
pub trait RecordsFixture: Send + Sync {
    /// The source. It holds nothing yet.
    fn records(&self) -> Arc<dyn Records>;

    /// Adds or replaces a service and returns the change's revision.
    async fn upsert(&self, service: Service) -> u64;

    /// Removes a service that is there and returns the change's revision.
    async fn delete(&self, namespace: &str, name: &str) -> u64;
}

/// The checks of [`Records`]' contract.
pub mod records {
    use super::{
        Arc, BTreeMap, BoxStream, Checked, Error, ErrorKind, Poll, PortResult, RecordsEvent,
        RecordsFixture, Service, ServiceKind, StreamExt, Violation, broken, holds, patient,
    };

    type Events = BoxStream<'static, PortResult<RecordsEvent>>;

    /// What a stream has told so far.
    #[derive(Default)]
    struct Told {
        services: BTreeMap<String, Arc<Service>>,
        revision: u64,
        complete: bool,
    }

    fn service(name: &str, kind: ServiceKind) -> Service {
        Service::new("conformance", name, kind)
    }

    async fn next(item: &'static str, events: &mut Events) -> Result<RecordsEvent, Violation> {
        let event = patient(item, events.next()).await?;
        let ended = || Error::new(ErrorKind::Closed, "the stream ended");
        event.ok_or_else(ended).and_then(|event| event).map_err(broken(item))
    }

    impl Told {
        fn hear(&mut self, item: &'static str, event: RecordsEvent) -> Checked {
            let (before, change) = (self.revision, self.complete);
            self.revision = match event {
                RecordsEvent::Snapshot { revision, services, .. } => {
                    let named = services.into_iter().map(|service| (service.name.clone(), service));
                    (self.services, self.complete) = (named.collect(), true);
                    revision
                }
                RecordsEvent::Upsert { revision, service } => {
                    self.services.insert(service.name.clone(), service);
                    holds("3", revision > before || !change, "an upsert without a new revision")?;
                    revision
                }
                RecordsEvent::Delete { revision, name, .. } => {
                    let there = self.services.remove(&name).is_some();
                    holds(item, there, format!("{name} was deleted and not there"))?;
                    holds("3", revision > before || !change, "a delete without a new revision")?;
                    revision
                }
                RecordsEvent::NamespaceUpsert { revision, .. }
                | RecordsEvent::NamespaceDelete { revision, .. } => revision,
                RecordsEvent::Synced { revision } => {
                    self.complete = true;
                    revision
                }
            };
            holds(
                "3",
                self.revision >= before,
                format!("revision {} after {before}", self.revision),
            )
        }

        fn names(&self) -> Vec<&str> {
            self.services.keys().map(String::as_str).collect()
        }
    }

    async fn open(
        item: &'static str,
        fixture: &dyn RecordsFixture,
    ) -> Result<(Events, Told), Violation> {
        let mut events = fixture.records().watch().await.map_err(broken(item))?;
        let mut told = Told::default();
        while !told.complete {
            told.hear(item, next(item, &mut events).await?)?;
        }
        Ok((events, told))
    }

    async fn follow(
        item: &'static str,
        events: &mut Events,
        told: &mut Told,
        revision: u64,
    ) -> Checked {
        while told.revision < revision {
            told.hear(item, next(item, events).await?)?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// Item 1 is broken.
    pub async fn begins_with_the_complete_state(fixture: impl RecordsFixture) -> Checked {
        for name in ["a", "b", "c"] {
            fixture.upsert(service(name, ServiceKind::Headless)).await;
        }
        let revision = fixture.delete("conformance", "b").await;
        let (_, told) = open("1", &fixture).await?;
        holds("1", told.names() == ["a", "c"], format!("{:?}", told.names()))?;
        holds("1", told.revision >= revision, format!("complete at {}", told.revision))
    }

    /// # Errors
    ///
    /// Item 2 is broken.
    pub async fn tells_every_change_in_order(fixture: impl RecordsFixture) -> Checked {
        let (mut events, mut told) = open("2", &fixture).await?;
        let changes = [("a", "one"), ("b", "two"), ("a", "three"), ("a", "four")];
        for (name, target) in changes {
            let kind = ServiceKind::ExternalName(target.to_owned());
            let revision = fixture.upsert(service(name, kind.clone())).await;
            follow("2", &mut events, &mut told, revision).await?;
            let seen = told.services.get(name).map(|service| &service.kind);
            holds("2", seen == Some(&kind), format!("{seen:?} for {kind:?}"))?;
        }
        let revision = fixture.delete("conformance", "a").await;
        follow("2", &mut events, &mut told, revision).await?;
        holds("2", told.names() == ["b"], format!("{:?} after a delete", told.names()))
    }

    /// # Errors
    ///
    /// Item 3 is broken.
    pub async fn revisions_grow(fixture: impl RecordsFixture) -> Checked {
        let (mut events, mut told) = open("3", &fixture).await?;
        for name in ["a", "b", "a", "c"] {
            let before = told.revision;
            fixture.upsert(service(name, ServiceKind::Headless)).await;
            while told.revision == before {
                told.hear("3", next("3", &mut events).await?)?;
            }
        }
        Ok(())
    }

    /// # Errors
    ///
    /// Item 4 is broken.
    pub async fn streams_are_complete_by_themselves(fixture: impl RecordsFixture) -> Checked {
        fixture.upsert(service("a", ServiceKind::Headless)).await;
        let (mut first, mut first_told) = open("4", &fixture).await?;
        let (mut second, mut second_told) = open("4", &fixture).await?;
        let revision = fixture.upsert(service("b", ServiceKind::Headless)).await;
        follow("4", &mut first, &mut first_told, revision).await?;
        follow("4", &mut second, &mut second_told, revision).await?;
        for told in [first_told, second_told] {
            holds("4", told.names() == ["a", "b"], format!("{:?}", told.names()))?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// Item 5 is broken.
    pub async fn an_idle_stream_waits(fixture: impl RecordsFixture) -> Checked {
        let (mut events, mut told) = open("5", &fixture).await?;
        for _ in 0..100 {
            tokio::task::yield_now().await;
            let polled = std::future::poll_fn(|cx| Poll::Ready(events.poll_next_unpin(cx))).await;
            match polled {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(event))) => told.hear("5", event)?,
                Poll::Ready(ended) => holds("5", false, format!("{ended:?} while idle"))?,
            }
        }
        let revision = fixture.upsert(service("a", ServiceKind::Headless)).await;
        follow("5", &mut events, &mut told, revision).await
    }

    /// # Errors
    ///
    /// Item 6 is broken.
    pub async fn dropping_a_stream_harms_no_other(fixture: impl RecordsFixture) -> Checked {
        let (mut events, mut told) = open("6", &fixture).await?;
        let (other, _) = open("6", &fixture).await?;
        drop(other);
        drop(fixture.records().watch());
        let revision = fixture.upsert(service("a", ServiceKind::Headless)).await;
        follow("6", &mut events, &mut told, revision).await
    }
}

/// Makes a module of tests, one for each item of [`Upstream`]'s contract. The expression is a
/// future that gives an [`UpstreamFixture`].
#[macro_export]
macro_rules! upstream_conformance {
    ($module:ident, $fixture:expr) => {
        $crate::conformance_tests! { $module, upstream, $fixture,
            answers_with_qr_and_id repeats_the_question exchanges_are_independent
            refuses_what_is_no_query ends_in_bounded_time survives_dropped_exchanges
        }
    };
}

/// Makes a module of tests, one for each item of [`Records`]' contract. The expression is a
/// future that gives a [`RecordsFixture`].
#[macro_export]
macro_rules! records_conformance {
    ($module:ident, $fixture:expr) => {
        $crate::conformance_tests! { $module, records, $fixture,
            begins_with_the_complete_state tells_every_change_in_order revisions_grow
            streams_are_complete_by_themselves an_idle_stream_waits
            dropping_a_stream_harms_no_other
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($module:ident, $port:ident, $fixture:expr, $($check:ident)*) => {
        mod $module {
            use super::*;

            $(#[test]
            fn $check() -> $crate::conformance::Checked {
                $crate::conformance::run(async {
                    $crate::conformance::$port::$check($fixture.await).await
                })
            })*
        }
    };
}

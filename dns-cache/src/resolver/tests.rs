use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, StreamExt};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;
use crate::core::wire::{Class, Edns, Flags, Header, Message, Name, Query, Rcode, RecordType};
use crate::records::{Endpoint, MemoryRecords, RecordsEvent, Service, ServiceKind};
use crate::upstream::{FaultUpstream, Faults, MemoryUpstream};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn query(text: &str, rtype: RecordType) -> Bytes {
    Query::new(name(text), rtype).encode(7)
}

fn a(text: &str) -> Bytes {
    query(text, RecordType::A)
}

#[expect(clippy::disallowed_methods, reason = "a test spawns what it tests")]
fn spawn(driver: Driver) -> JoinHandle<Result<()>> {
    tokio::spawn(driver)
}

fn open(upstream: impl Upstream, records: Option<MemoryRecords>, config: Config) -> Resolver {
    let records = records.map(|records| Arc::new(records) as Arc<dyn Records>);
    let (resolver, driver) = Resolver::open(Arc::new(upstream), records, config).unwrap();
    spawn(driver);
    resolver
}

fn internet() -> MemoryUpstream {
    let upstream = MemoryUpstream::new();
    upstream.add_address("www.example.com", 60, "192.0.2.1".parse().unwrap());
    upstream
}

fn slow(upstream: &MemoryUpstream) -> FaultUpstream<MemoryUpstream> {
    let faults = Faults { delay: Duration::from_millis(50), ..Faults::default() };
    FaultUpstream::new(upstream.clone(), faults, 1)
}

async fn rcode(resolver: &Resolver, query: &[u8]) -> Rcode {
    let answer = resolver.resolve(query, Transport::Udp).await.unwrap();
    Message::parse(&answer).unwrap().rcode()
}

async fn addresses(resolver: &Resolver, query: &[u8]) -> Vec<IpAddr> {
    let answer = resolver.resolve(query, Transport::Udp).await.unwrap();
    Message::parse(&answer).unwrap().addresses().collect()
}

fn web(address: &str) -> Service {
    Service::new("prod", "web", ServiceKind::ClusterIp(vec![address.parse().unwrap()]))
}

#[tokio::test(start_paused = true)]
async fn a_miss_becomes_a_hit_until_its_end() {
    let upstream = internet();
    let resolver = open(upstream.clone(), None, Config::default());
    for _ in 0..3 {
        assert_eq!(addresses(&resolver, &a("www.example.com")).await.len(), 1);
    }
    assert_eq!((upstream.queries(), resolver.stats().hits, resolver.stats().misses), (1, 2, 1));
    tokio::time::advance(Duration::from_secs(60)).await;
    addresses(&resolver, &a("www.example.com")).await;
    assert_eq!(upstream.queries(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hit_needs_no_driver() {
    let (resolver, driver) = Resolver::open(Arc::new(internet()), None, Config::default()).unwrap();
    let driver = spawn(driver);
    addresses(&resolver, &a("www.example.com")).await;
    driver.abort();
    assert!(driver.await.unwrap_err().is_cancelled());
    let mut out = Vec::new();
    let outcome =
        resolver.answer_now(&a("www.example.com"), resolver.now(), Transport::Udp, &mut out);
    assert_eq!(outcome, Outcome::Answered(out.len()));
    assert_eq!(Message::parse(&out).unwrap().id(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_misses_of_one_name_ask_once() {
    let upstream = internet();
    let resolver = open(slow(&upstream), None, Config::default());
    let query = a("www.example.com");
    let answers = join_all((0..100).map(|_| resolver.resolve(&query, Transport::Udp))).await;
    for answer in answers {
        assert_eq!(Message::parse(&answer.unwrap()).unwrap().addresses().count(), 1);
    }
    assert_eq!((upstream.queries(), resolver.stats().coalesced), (1, 99));
    // Another type is another question.
    let both = [a("www.example.com"), query_aaaa()];
    join_all(both.iter().map(|query| resolver.resolve(query, Transport::Udp))).await;
    assert_eq!(upstream.queries(), 2);
}

fn query_aaaa() -> Bytes {
    query("www.example.com", RecordType::AAAA)
}

#[tokio::test(start_paused = true)]
async fn failures_are_servfail_and_kept_for_a_second() {
    let upstream = internet();
    let lossy = Faults { loss_percent: 100, ..Faults::default() };
    let fault = Arc::new(FaultUpstream::new(upstream.clone(), lossy, 1));
    let resolver = open(Arc::clone(&fault), None, Config::default());
    assert_eq!(rcode(&resolver, &a("www.example.com")).await, Rcode::SERVFAIL);
    fault.set_faults(Faults::default());
    assert_eq!(rcode(&resolver, &a("www.example.com")).await, Rcode::SERVFAIL);
    assert_eq!((upstream.queries(), resolver.stats().upstream_failures), (1, 1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(rcode(&resolver, &a("www.example.com")).await, Rcode::NOERROR);
}

#[tokio::test(start_paused = true)]
async fn answers_to_other_questions_are_never_given() {
    let faults = Faults { wrong_question_percent: 100, ..Faults::default() };
    let resolver = open(FaultUpstream::new(internet(), faults, 1), None, Config::default());
    assert_eq!(rcode(&resolver, &a("www.example.com")).await, Rcode::SERVFAIL);
}

#[tokio::test(start_paused = true)]
async fn truncated_answers_pass_through_and_are_not_kept() {
    let upstream = internet();
    let faults = Faults { truncation_percent: 100, ..Faults::default() };
    let resolver = open(FaultUpstream::new(upstream.clone(), faults, 1), None, Config::default());
    for expected in 1..3 {
        let answer = resolver.resolve(&a("www.example.com"), Transport::Udp).await.unwrap();
        assert!(Message::parse(&answer).unwrap().flags().truncated());
        assert_eq!(upstream.queries(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_answer_servfail_instead_of_waiting() {
    let upstream = internet();
    let config = Config { max_in_flight: 2, max_waiters: 2, ..Config::default() };
    let resolver = open(slow(&upstream), None, config);
    let names = ["a.example", "b.example", "c.example", "d.example", "e.example"].map(a);
    let codes = join_all(names.iter().map(|query| rcode(&resolver, query))).await;
    assert!(codes.iter().filter(|code| **code == Rcode::SERVFAIL).count() >= 2, "{codes:?}");
    let after = resolver.stats();
    assert!(after.upstream_queries <= 3 && after.overloads >= 2, "{after:?}");
    // One after the other all names are answered: what was refused was not kept.
    for query in &names {
        assert_eq!(rcode(&resolver, query).await, Rcode::NXDOMAIN);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_driver_closes_and_no_call_hangs() {
    let records = MemoryRecords::new();
    let (resolver, driver) =
        Resolver::open(Arc::new(slow(&internet())), Some(Arc::new(records)), Config::default())
            .unwrap();
    let driver = spawn(driver);
    let (query, other) = (a("www.example.com"), a("other.example.com"));
    let waiting = resolver.resolve(&query, Transport::Udp);
    let reached = resolver.wait_for(99);
    let abort = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        driver.abort();
    };
    let (answer, reached, ()) = tokio::join!(waiting, reached, abort);
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(reached.unwrap_err().kind(), ErrorKind::Closed);
    let later = resolver.resolve(&other, Transport::Udp).await;
    assert_eq!(later.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handles_lets_the_driver_finish() {
    let upstream = internet();
    let (resolver, driver) =
        Resolver::open(Arc::new(slow(&upstream)), None, Config::default()).unwrap();
    let driver = spawn(driver);
    {
        let query = a("www.example.com");
        let given_up = tokio::time::timeout(
            Duration::from_millis(1),
            resolver.resolve(&query, Transport::Udp),
        );
        assert!(given_up.await.is_err());
    }
    drop(resolver);
    driver.await.unwrap().unwrap();
    assert_eq!(upstream.queries(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_setting_out_of_its_range_is_refused() {
    let config = Config { cache_bytes: 1, ..Config::default() };
    let error = Resolver::open(Arc::new(internet()), None, config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().starts_with("config: cache_bytes is 1: set it to"), "{error}");
    for domain in ["a..b", "", ".", &vec!["x".repeat(60); 4].join(".")] {
        let config = Config { cluster_domain: domain.into(), ..Config::default() };
        let error = Resolver::open(Arc::new(internet()), None, config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with("config: cluster_domain is "), "{error}");
    }
}

#[test]
fn every_resolver_has_a_secret_of_its_own() {
    let seeds: std::collections::HashSet<_> = (0..100).map(|_| system_seed()).collect();
    assert_eq!(seeds.len(), 100);
}

/// What a query is answered without asking anyone: the code, or nothing.
async fn rule(query: &[u8]) -> Option<Vec<u8>> {
    let upstream = internet();
    let resolver = open(upstream.clone(), None, Config::default());
    let answer = resolver.resolve(query, Transport::Udp).await;
    assert_eq!(upstream.queries(), 0);
    answer.ok().map(|answer| answer.to_vec())
}

#[tokio::test(start_paused = true)]
async fn rules_answer_what_is_not_served() {
    let with = |at: usize, value: u8| {
        let mut bytes = a("www.example.com").to_vec();
        *bytes.get_mut(at).unwrap() = value;
        bytes
    };
    let code = |answer: Option<Vec<u8>>| Message::parse(&answer.unwrap()).unwrap().rcode();
    assert_eq!(rule(&with(2, 0x81)).await, None, "a response is dropped");
    assert_eq!(rule(&[0; 4]).await, None, "less than a header is dropped");
    assert_eq!(code(rule(&with(5, 2)).await), Rcode::FORMERR, "two questions");
    assert_eq!(code(rule(&with(2, 0x21)).await), Rcode::NOTIMP, "a notification");
    assert_eq!(code(rule(&query("a.example", RecordType::AXFR)).await), Rcode::REFUSED);
    assert_eq!(code(rule(&query("a.example", RecordType::OPT)).await), Rcode::FORMERR);
    let mut chaos = Query::new(name("version.bind"), RecordType::TXT)
        .with_payload_bytes(None)
        .encode(1)
        .to_vec();
    *chaos.last_mut().unwrap() = u8::try_from(Class::CH.0).unwrap();
    assert_eq!(code(rule(&chaos).await), Rcode::REFUSED);
    let any = rule(&query("www.example.com", RecordType::ANY)).await.unwrap();
    let any = Message::parse(&any).unwrap();
    assert_eq!(any.answers().map(|record| record.rtype).collect::<Vec<_>>(), [RecordType::HINFO]);
}

#[tokio::test(start_paused = true)]
async fn another_version_of_edns_is_badvers() {
    let mut bytes = a("www.example.com").to_vec();
    let at = bytes.len() - Edns::BYTES + 6;
    *bytes.get_mut(at).unwrap() = 1;
    let answer = rule(&bytes).await.unwrap();
    let edns = *Message::parse(&answer).unwrap().edns().unwrap();
    assert_eq!((edns.version, edns.extended_rcode), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_clients_size_decides_truncation() {
    let upstream = MemoryUpstream::new();
    for last in 0..60 {
        upstream.add_address("many.example", 60, [192, 0, 2, last].into());
    }
    let resolver = open(upstream, None, Config::default());
    for (payload, transport, truncated) in [
        (None, Transport::Udp, true),
        (Some(512), Transport::Udp, true),
        (Some(1232), Transport::Udp, false),
        (Some(65_535), Transport::Udp, false),
        (None, Transport::Tcp, false),
    ] {
        let query = Query::new(name("many.example"), RecordType::A).with_payload_bytes(payload);
        let answer = resolver.resolve(&query.encode(1), transport).await.unwrap();
        let message = Message::parse(&answer).unwrap();
        assert_eq!(message.flags().truncated(), truncated, "{payload:?} {transport:?}");
        assert_eq!(message.addresses().count(), if truncated { 0 } else { 60 });
    }
}

#[tokio::test(start_paused = true)]
async fn records_answer_once_complete_and_follow_changes() {
    let (records, upstream) = (MemoryRecords::new(), internet());
    let resolver = open(upstream.clone(), Some(records.clone()), Config::default());
    let query = a("web.prod.svc.cluster.local");
    let revision = records.upsert(web("10.96.0.7"));
    resolver.wait_for(revision).await.unwrap();
    assert_eq!(addresses(&resolver, &query).await, ["10.96.0.7".parse::<IpAddr>().unwrap()]);
    let revision = records.upsert(web("10.96.0.8"));
    resolver.wait_for(revision).await.unwrap();
    assert_eq!(addresses(&resolver, &query).await, ["10.96.0.8".parse::<IpAddr>().unwrap()]);
    let revision = records.delete("prod", "web").unwrap();
    resolver.wait_for(revision).await.unwrap();
    assert_eq!(rcode(&resolver, &query).await, Rcode::NXDOMAIN);
    assert_eq!((upstream.queries(), resolver.stats().zone_answers), (0, 3));
    assert_eq!(resolver.revision(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn names_that_the_cluster_does_not_have_go_upstream() {
    let (records, upstream) = (MemoryRecords::new(), internet());
    let resolver = open(upstream.clone(), Some(records.clone()), Config::default());
    resolver.wait_for(0).await.unwrap();
    rcode(&resolver, &a("www.example.com")).await;
    rcode(&resolver, &query("1.2.0.192.in-addr.arpa", RecordType::PTR)).await;
    assert_eq!(upstream.queries(), 2);
    let without = open(internet(), None, Config::default());
    assert_eq!(without.wait_for(0).await.unwrap_err().kind(), ErrorKind::Invalid);
}

/// A source that gives what the test sends, as one stream after the other.
struct Scripted(parking_lot::Mutex<Vec<Vec<Result<RecordsEvent>>>>, Arc<AtomicBool>);

#[async_trait]
impl Records for Scripted {
    async fn watch(&self) -> Result<BoxStream<'static, Result<RecordsEvent>>> {
        let Some(events) = self.0.lock().pop() else {
            self.1.store(true, Ordering::Relaxed);
            return Ok(stream::pending().boxed());
        };
        let slowly = stream::iter(events).then(|event| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            event
        });
        Ok(slowly.boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn until_the_records_are_complete_the_answer_is_servfail_and_after_a_break_the_old_one() {
    let upsert = |revision| RecordsEvent::Upsert { revision, service: Arc::new(web("10.96.0.7")) };
    let first = vec![Ok(upsert(1)), Ok(RecordsEvent::Synced { revision: 5 })];
    // Opened again, the stream says that there is nothing any more; but it breaks before the end.
    let second = vec![Err(Error::new(ErrorKind::Unavailable, "gone"))];
    let third = vec![Ok(RecordsEvent::Synced { revision: 9 })];
    let all_told = Arc::new(AtomicBool::new(false));
    let records =
        Scripted(parking_lot::Mutex::new(vec![third, second, first]), Arc::clone(&all_told));
    let (resolver, driver) =
        Resolver::open(Arc::new(internet()), Some(Arc::new(records)), Config::default()).unwrap();
    spawn(driver);
    let web = a("web.prod.svc.cluster.local");
    assert_eq!(rcode(&resolver, &web).await, Rcode::SERVFAIL);
    let arpa = query("1.2.3.10.in-addr.arpa", RecordType::PTR);
    assert_eq!(rcode(&resolver, &arpa).await, Rcode::SERVFAIL);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(rcode(&resolver, &web).await, Rcode::SERVFAIL, "one service is not all");
    resolver.wait_for(5).await.unwrap();
    assert_eq!(rcode(&resolver, &web).await, Rcode::NOERROR);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(rcode(&resolver, &web).await, Rcode::NOERROR, "the last complete state holds");
    resolver.wait_for(9).await.unwrap();
    assert_eq!(rcode(&resolver, &web).await, Rcode::NXDOMAIN);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(all_told.load(Ordering::Relaxed) && resolver.stats().records_restarts == 3);
}

#[tokio::test(start_paused = true)]
async fn external_names_are_followed_through_the_cache() {
    let (records, upstream) = (MemoryRecords::new(), internet());
    let alias = |name: &str, target: &str| {
        records.upsert(Service::new("prod", name, ServiceKind::ExternalName(target.into())))
    };
    alias("away", "www.example.com");
    alias("near", "web.prod.svc.cluster.local");
    alias("twice", "away.prod.svc.cluster.local");
    alias("loop", "pool.prod.svc.cluster.local");
    alias("pool", "loop.prod.svc.cluster.local");
    let revision = records.upsert(web("10.96.0.7"));
    let resolver = open(upstream.clone(), Some(records), Config::default());
    resolver.wait_for(revision).await.unwrap();
    for (name, records) in [("away", 2), ("away", 2), ("twice", 3), ("near", 2)] {
        let query = a(&format!("{name}.prod.svc.cluster.local"));
        let answer = resolver.resolve(&query, Transport::Udp).await.unwrap();
        let message = Message::parse(&answer).unwrap();
        assert_eq!(
            (message.rcode(), message.answers().count()),
            (Rcode::NOERROR, records),
            "{name}"
        );
        assert_eq!(message.addresses().count(), 1, "{name}");
    }
    assert_eq!(upstream.queries(), 1, "the target is cached for all");
    assert_eq!(rcode(&resolver, &a("loop.prod.svc.cluster.local")).await, Rcode::SERVFAIL);
}

#[tokio::test(start_paused = true)]
async fn a_large_headless_service_is_cut_over_udp_and_whole_over_tcp() {
    let records = MemoryRecords::new();
    let endpoint =
        |n: u16| Endpoint::new(IpAddr::from([10, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]));
    let service = (0..3000)
        .map(endpoint)
        .fold(Service::new("a", "s", ServiceKind::Headless), Service::with_endpoint);
    let revision = records.upsert(service);
    let resolver = open(internet(), Some(records), Config::default());
    resolver.wait_for(revision).await.unwrap();
    let query = a("s.a.svc.cluster.local");
    let udp = resolver.resolve(&query, Transport::Udp).await.unwrap();
    assert!(udp.len() <= 1232 && Message::parse(&udp).unwrap().flags().truncated());
    let tcp = resolver.resolve(&query, Transport::Tcp).await.unwrap();
    assert_eq!(Message::parse(&tcp).unwrap().addresses().count(), 3000);
}

#[tokio::test(start_paused = true)]
async fn the_upstream_sees_nothing_of_the_client_but_its_question() {
    struct Recording(parking_lot::Mutex<Vec<Bytes>>);
    #[async_trait]
    impl Upstream for Recording {
        async fn exchange(&self, query: Bytes) -> Result<Bytes> {
            self.0.lock().push(query.clone());
            internet().exchange(query).await
        }
    }
    let upstream = Arc::new(Recording(parking_lot::Mutex::default()));
    let resolver = open(Arc::clone(&upstream), None, Config::default());
    let mut query = a("WWW.example.COM").to_vec();
    // A subnet option (RFC 7871) in the client's OPT.
    query.splice(query.len() - 2.., [0, 8, 0, 8, 0, 4, 0, 1, 24, 0]);
    rcode(&resolver, &query).await;
    let sent = upstream.0.lock().pop().unwrap();
    let expected = Query::new(name("www.example.com"), RecordType::A)
        .with_flags(Flags::default().with_recursion_desired(true).with_authentic(true));
    assert_eq!(sent, expected.encode(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_packet_makes_it_panic_and_every_answer_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..80), at in 0usize..40, value in any::<u8>()) {
        let (resolver, _driver) = Resolver::open(Arc::new(internet()), None, Config::default()).unwrap();
        let mut mutated = a("www.example.com").to_vec();
        if let Some(byte) = mutated.get_mut(at) {
            *byte = value;
        }
        for query in [bytes, mutated] {
            let mut out = Vec::new();
            if let Outcome::Answered(len) = resolver.answer_now(&query, Duration::ZERO, Transport::Udp, &mut out) {
                prop_assert_eq!(len, out.len());
                prop_assert!(len <= 512.max(query.len() + Edns::BYTES + Header::BYTES));
                prop_assert_eq!(Message::parse(&out).unwrap().id(), Message::parse(&out).unwrap().header().id);
                prop_assert_eq!(&out[..2], &query[..2]);
            }
        }
    }
}

//! What an attacker, a broken upstream or a careless client may try, one attack a test.
#![allow(clippy::disallowed_methods, reason = "a test spawns what it tests")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dns_cache::records::{MemoryRecords, Service, ServiceKind};
use dns_cache::upstream::{MemoryUpstream, Upstream};
use dns_cache::wire::{Flags, Message, Query, Rcode, RecordType};
use dns_cache::{Config, Outcome, Resolver, Result, Transport};
use parking_lot::Mutex;

const RD: Flags = Flags(0x0100);
/// The name of the question.
const OWNER: &[u8] = &[0xC0, 12];
const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];

/// An upstream that says what the test makes of a query, and remembers the queries.
struct Crafted<F> {
    craft: F,
    queries: Mutex<Vec<Bytes>>,
}

#[async_trait]
impl<F: Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static> Upstream for Crafted<F> {
    async fn exchange(&self, query: Bytes) -> Result<Bytes> {
        let answer = (self.craft)(&query);
        self.queries.lock().push(query);
        Ok(answer.into())
    }
}

fn crafted<F: Fn(&[u8]) -> Vec<u8>>(craft: F) -> Arc<Crafted<F>> {
    Arc::new(Crafted { craft, queries: Mutex::default() })
}

/// A response with these flags and records, the counts by section.
fn response(query: &[u8], flags: u16, counts: [u8; 3], records: &[Vec<u8>]) -> Vec<u8> {
    let question_end = query.len() - OPT.len();
    let [answers, authorities, additionals] = counts;
    let mut out = query[..question_end].to_vec();
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[6..12].copy_from_slice(&[0, answers, 0, authorities, 0, additionals]);
    out.extend(records.concat());
    out
}

fn record(owner: &[u8], rtype: u8, ttl_secs: u32, rdata: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rdata.len()).unwrap().to_be_bytes();
    [owner, &[0, rtype, 0, 1], &ttl_secs.to_be_bytes(), &len, rdata].concat()
}

fn open(upstream: Arc<dyn Upstream>, records: Option<MemoryRecords>) -> Resolver {
    let records = records.map(|records| Arc::new(records) as _);
    let (resolver, driver) = Resolver::open(upstream, records, Config::default()).unwrap();
    tokio::spawn(driver);
    resolver
}

fn ask_for(name: &str) -> Query {
    Query::new(name.parse().unwrap(), RecordType::A)
}

async fn resolve(resolver: &Resolver, query: &Query) -> Vec<u8> {
    resolver.resolve(&query.encode(7), Transport::Udp).await.unwrap().to_vec()
}

/// The bailiwick attacks: whatever stands in an answer, it is kept for its question alone.
#[tokio::test]
async fn records_about_other_names_are_never_answers_to_them() {
    let victim = b"\x06victim\x07example\x00";
    let upstream = crafted(move |query| {
        let evil = [203, 0, 113, 66];
        let records = [
            record(OWNER, 1, 300, &[192, 0, 2, 1]),
            record(victim, 1, 300, &evil),
            record(b"\x07example\x00", 2, 300, victim),
            record(victim, 1, 300, &evil),
        ];
        if query[12..].starts_with(victim) {
            return response(query, 0x8180, [1, 0, 0], &[record(OWNER, 1, 300, &[192, 0, 2, 2])]);
        }
        response(query, 0x8180, [2, 1, 1], &records)
    });
    let resolver = open(upstream.clone(), None);
    resolve(&resolver, &ask_for("attacker.example")).await;
    let mut out = Vec::new();
    let query = ask_for("victim.example").encode(1);
    let outcome = resolver.answer_now(&query, resolver.now(), Transport::Udp, &mut out);
    assert_eq!((outcome, resolver.stats().entries), (Outcome::Miss, 1));
    let answer = resolve(&resolver, &ask_for("victim.example")).await;
    let addresses: Vec<_> = Message::parse(&answer).unwrap().addresses().collect();
    assert_eq!(addresses, ["192.0.2.2".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(upstream.queries.lock().len(), 2, "the victim's name was asked for by itself");
}

#[tokio::test]
async fn an_alias_loop_of_the_upstream_is_asked_for_once() {
    let upstream = MemoryUpstream::new();
    upstream.add_alias("a.example", 60, "b.example");
    upstream.add_alias("b.example", 60, "a.example");
    let records = MemoryRecords::new();
    let kind = ServiceKind::ExternalName("a.example".into());
    let revision = records.upsert(Service::new("prod", "loop", kind));
    let resolver = open(Arc::new(upstream.clone()), Some(records));
    resolver.wait_for(revision).await.unwrap();
    for name in ["a.example", "loop.prod.svc.cluster.local"] {
        let before = upstream.queries();
        let answer = resolve(&resolver, &ask_for(name)).await;
        assert_eq!(Message::parse(&answer).unwrap().addresses().count(), 0);
        assert_eq!(upstream.queries(), before + 1, "{name}");
    }
}

/// A spoofed source gets no more than it could say that it takes, and never over our own bound.
#[tokio::test]
async fn no_response_is_larger_than_the_client_takes() {
    let upstream = MemoryUpstream::new();
    for last in 0..=255 {
        upstream.add_address("many.example", 60, [192, 0, 2, last].into());
    }
    upstream.add("text.example", 16, 60, [&[250][..], &[b'x'; 250]].concat().repeat(4));
    let records = MemoryRecords::new();
    let addresses = (0..200).map(|last| [10, 0, 0, last].into()).collect();
    let revision = records.upsert(Service::new("a", "s", ServiceKind::ClusterIp(addresses)));
    let resolver = open(Arc::new(upstream), Some(records));
    resolver.wait_for(revision).await.unwrap();
    let names = ["many.example", "text.example", "s.a.svc.cluster.local", "nope.example"];
    for name in names.map(|name| name.parse::<dns_cache::wire::Name>().unwrap()) {
        for rtype in [RecordType::A, RecordType::TXT, RecordType::ANY, RecordType::AXFR] {
            for payload in
                [None, Some(0), Some(100), Some(512), Some(600), Some(1232), Some(65_535)]
            {
                let query = Query::new(name.clone(), rtype).with_payload_bytes(payload);
                let answer = resolve(&resolver, &query).await;
                let most = payload.unwrap_or(512).clamp(512, 1232);
                assert!(
                    answer.len() <= most.into(),
                    "{name} {rtype} {payload:?}: {}",
                    answer.len()
                );
                assert!(Message::parse(&answer).is_ok());
            }
        }
    }
}

/// RFC 7873, 7871 and 7830: what belongs to the hop or to the client is nobody else's.
#[tokio::test]
async fn cookies_subnets_and_padding_are_no_part_of_the_key_and_are_never_copied() {
    let options: [&[u8]; 4] = [
        &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2],
        &[0, 12, 0, 3, 0, 0, 0],
        &[255, 0, 0, 0],
    ];
    let with_option = |mut message: Vec<u8>, option: &[u8]| {
        let at = message.len() - 2;
        message.splice(at.., u16::try_from(option.len()).unwrap().to_be_bytes());
        message.extend(option);
        message
    };
    let upstream = crafted(move |query| {
        let records = [record(OWNER, 1, 300, &[192, 0, 2, 1]), OPT.to_vec()];
        // An extended error, a cookie and a subnet with a scope of the upstream's own.
        let theirs = [&[0, 15, 0, 2, 0, 3][..], options[0], options[1]].concat();
        with_option(response(query, 0x8180, [1, 0, 1], &records), &theirs)
    });
    let resolver = open(upstream.clone(), None);
    let plain = ask_for("www.example").encode(7);
    for option in options.into_iter().chain([&[][..]]) {
        let query = with_option(plain.to_vec(), option);
        let answer = resolver.resolve(&query, Transport::Udp).await.unwrap();
        assert_eq!(Message::parse(&answer).unwrap().addresses().count(), 1);
        assert!(answer.ends_with(&OPT), "an OPT without options: {answer:?}");
    }
    let queries = upstream.queries.lock();
    assert_eq!(queries.len(), 1, "all share one answer");
    assert!(queries[0].ends_with(&OPT), "nothing of it goes upstream");
}

/// RFC 4035 section 3.2.3 and RFC 6840 section 5.7 and 5.8.
#[tokio::test]
async fn ad_cd_do_and_rd_are_right_in_all_combinations() {
    let upstream = crafted(|query| {
        let records = [record(OWNER, 1, 300, &[192, 0, 2, 1]), OPT.to_vec()];
        response(query, 0x81A0, [1, 0, 1], &records)
    });
    let resolver = open(upstream.clone(), None);
    for bits in (0..16u8).chain(0..16) {
        let [ad, cd, dnssec_ok, rd] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
        let flags = RD.with_recursion_desired(rd).with_authentic(ad).with_checking_disabled(cd);
        let query = ask_for("www.example").with_flags(flags).with_dnssec_ok(dnssec_ok);
        let answer = resolve(&resolver, &query).await;
        let message = Message::parse(&answer).unwrap();
        let got = message.flags();
        let seen = (got.authentic(), got.checking_disabled(), got.recursion_desired());
        assert_eq!(seen, (ad || dnssec_ok, cd, rd), "{bits:04b}");
        assert_eq!(message.edns().unwrap().dnssec_ok, dnssec_ok, "{bits:04b}");
    }
    let queries: HashSet<_> = upstream.queries.lock().drain(..).collect();
    assert_eq!((queries.len(), resolver.stats().upstream_queries), (8, 8), "CD, DO and RD");
}

/// The answer may be cut anywhere on its way: the client hears of it whatever is done to it here.
#[tokio::test]
async fn tc_of_the_upstream_reaches_the_client_in_every_form() {
    let records = MemoryRecords::new();
    let kind = ServiceKind::ExternalName("www.example".into());
    let revision = records.upsert(Service::new("prod", "away", kind));
    // OPT stands before another record, so that the message is written anew.
    let other = record(b"\x02ns\x00", 1, 60, &[192, 0, 2, 9]);
    let upstream =
        crafted(move |query| response(query, 0x8380, [0, 0, 2], &[OPT.to_vec(), other.clone()]));
    let resolver = open(upstream, Some(records));
    resolver.wait_for(revision).await.unwrap();
    for name in ["www.example", "away.prod.svc.cluster.local"] {
        let answer = resolve(&resolver, &ask_for(name)).await;
        let flags = Message::parse(&answer).unwrap().flags();
        assert!(flags.truncated() && flags.rcode() == Rcode::NOERROR, "{name}: {answer:?}");
    }
    assert_eq!(resolver.stats().entries, 0);
}

#[tokio::test]
async fn every_opcode_but_the_ordinary_is_notimp() {
    let resolver = open(Arc::new(MemoryUpstream::new()), None);
    for opcode in 1..16u16 {
        let query = ask_for("www.example").with_flags(Flags(opcode << 11 | RD.0));
        let mut out = Vec::new();
        resolver.answer_now(&query.encode(7), Duration::ZERO, Transport::Udp, &mut out);
        let flags = Message::parse(&out).unwrap().flags();
        assert_eq!((flags.rcode(), u16::from(flags.opcode())), (Rcode::NOTIMP, opcode));
        assert!(flags.response() && out.len() == 12);
    }
}

/// Statistics that attackers move must stay true: an answer counts once, as what it was.
#[tokio::test]
async fn only_answers_from_the_records_alone_count_as_the_zones() {
    let records = MemoryRecords::new();
    let kind = ServiceKind::ExternalName("www.example".into());
    let revision = records.upsert(Service::new("prod", "away", kind));
    let resolver = open(Arc::new(MemoryUpstream::new()), Some(records));
    resolver.wait_for(revision).await.unwrap();
    resolve(&resolver, &ask_for("away.prod.svc.cluster.local")).await;
    let reverse = Query::new("1.2.0.192.in-addr.arpa".parse().unwrap(), RecordType::PTR);
    resolve(&resolver, &reverse).await;
    assert_eq!(resolver.stats().zone_answers, 0);
    resolve(&resolver, &ask_for("nope.prod.svc.cluster.local")).await;
    assert_eq!(resolver.stats().zone_answers, 1);
}

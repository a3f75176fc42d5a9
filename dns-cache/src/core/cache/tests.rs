use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::core::wire::{
    Edns, Flags, Header, Message, Name, Query, Rcode, Rdata, RecordType, Request, Section, Writer,
};

const LIMITS: TtlLimits =
    TtlLimits { min_secs: 0, max_secs: 3600, negative_max_secs: 1800, failure_secs: 5 };

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn query(text: &str) -> Vec<u8> {
    Query::new(name(text), RecordType::A).encode(0x0102).to_vec()
}

fn key(text: &str) -> Key {
    Key::of(&Request::parse(&query(text)).unwrap())
}

/// An upstream's response: one A record for each TTL, an SOA if asked, and OPT at the end.
fn response(text: &str, rcode: Rcode, ttls: &[u32], soa: Option<(u32, u32)>) -> Vec<u8> {
    let query = query(text);
    let request = Request::parse(&query).unwrap();
    let mut out = Vec::new();
    let edns = request.response_edns(1232, 0);
    let mut writer = Writer::response(&mut out, &request, edns, 65_535);
    for ttl in ttls {
        let address = Rdata::A([192, 0, 2, 1].into());
        writer.record(Section::Answer, &name(text), RecordType::A, *ttl, address);
    }
    if let Some((ttl, minimum)) = soa {
        let (mname, rname) = (name("ns.example"), name("host.example"));
        let soa = Rdata::Soa { mname: &mname, rname: &rname, numbers: [1, 2, 3, 4, minimum] };
        writer.record(Section::Authority, &name("example"), RecordType::SOA, ttl, soa);
    }
    writer.finish(rcode);
    out
}

fn life(response: &[u8]) -> Option<u64> {
    let answer = Answer::prepare(&key("a.example"), response, LIMITS).unwrap();
    answer.life().map(|life| life.as_secs())
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn big() -> Cache {
    Cache::new(1 << 20, 4, 7)
}

fn put(cache: &Cache, text: &str, ttl: u32, now: Duration) {
    let response = response(text, Rcode::NOERROR, &[ttl], None);
    cache.insert(key(text).as_ref(), &Answer::prepare(&key(text), &response, LIMITS).unwrap(), now);
}

fn ask(cache: &Cache, query: &[u8], now: Duration, limit: usize) -> Option<Vec<u8>> {
    let request = Request::parse(query).unwrap();
    let reply = Reply { edns: request.response_edns(1232, 0), limit, request: &request };
    let mut out = Vec::new();
    cache.answer(KeyRef::of(&request), now, &reply, &mut out).then_some(out)
}

fn ttl(cache: &Cache, text: &str, now: Duration) -> Option<u32> {
    let answer = ask(cache, &query(text), now, 65_535)?;
    Message::parse(&answer).unwrap().answers().map(|record| record.ttl).next()
}

#[test]
fn ttls_count_down_in_whole_seconds_and_answers_expire() {
    let cache = big();
    put(&cache, "a.example", 10, secs(100));
    assert_eq!(ttl(&cache, "a.example", secs(100)), Some(10));
    assert_eq!(ttl(&cache, "a.example", Duration::from_millis(100_999)), Some(10));
    assert_eq!(ttl(&cache, "a.example", secs(109)), Some(1));
    assert_eq!(ttl(&cache, "a.example", Duration::from_millis(109_999)), Some(1));
    assert_eq!(ttl(&cache, "a.example", secs(110)), None);
    assert_eq!(cache.totals().entries, 0, "met after its end, it is gone");
}

#[test]
fn the_least_ttl_of_all_sections_counts() {
    assert_eq!(life(&response("a.example", Rcode::NOERROR, &[60, 20, 40], None)), Some(20));
    assert_eq!(life(&response("a.example", Rcode::NOERROR, &[60], Some((7, 900)))), Some(7));
    assert_eq!(life(&response("a.example", Rcode::NOERROR, &[90_000], None)), Some(3600));
}

#[test]
fn ttl_0_and_ttls_with_the_highest_bit_are_never_kept() {
    assert_eq!(life(&response("a.example", Rcode::NOERROR, &[60, 0], None)), None);
    assert_eq!(life(&response("a.example", Rcode::NOERROR, &[0x8000_0000], None)), None);
    let raised = TtlLimits { min_secs: 30, ..LIMITS };
    let zero = response("a.example", Rcode::NOERROR, &[0], None);
    assert_eq!(Answer::prepare(&key("a.example"), &zero, raised).unwrap().life(), None);
    let five = response("a.example", Rcode::NOERROR, &[5], None);
    assert_eq!(Answer::prepare(&key("a.example"), &five, raised).unwrap().life(), Some(secs(30)));
}

#[test]
fn negative_answers_live_by_soa_ttl_and_minimum() {
    for rcode in [Rcode::NXDOMAIN, Rcode::NOERROR] {
        assert_eq!(life(&response("a.example", rcode, &[], Some((60, 20)))), Some(20));
        assert_eq!(life(&response("a.example", rcode, &[], Some((20, 60)))), Some(20));
        assert_eq!(life(&response("a.example", rcode, &[], Some((9999, 9999)))), Some(1800));
        assert_eq!(life(&response("a.example", rcode, &[], Some((60, 0)))), None);
        assert_eq!(life(&response("a.example", rcode, &[], None)), None, "no SOA");
    }
}

#[test]
fn a_negative_answers_soa_counts_down_from_its_life() {
    let cache = big();
    let response = response("a.example", Rcode::NXDOMAIN, &[], Some((600, 20)));
    let answer = Answer::prepare(&key("a.example"), &response, LIMITS).unwrap();
    cache.insert(key("a.example").as_ref(), &answer, secs(0));
    let answer = ask(&cache, &query("a.example"), secs(5), 512).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert_eq!(message.rcode(), Rcode::NXDOMAIN);
    assert_eq!(message.records().next().unwrap().ttl, 15);
}

#[test]
fn failures_are_kept_for_a_short_time_and_never_hide_a_good_answer() {
    assert_eq!(life(&response("a.example", Rcode::SERVFAIL, &[], None)), Some(5));
    assert_eq!(life(&response("a.example", Rcode::REFUSED, &[], None)), Some(5));
    let cache = big();
    put(&cache, "a.example", 60, secs(0));
    let failure = Answer::failure(&key("a.example"), LIMITS);
    cache.insert(key("a.example").as_ref(), &failure, secs(1));
    assert_eq!(ttl(&cache, "a.example", secs(2)), Some(58));
    cache.insert(key("a.example").as_ref(), &failure, secs(60));
    let answer = ask(&cache, &query("a.example"), secs(61), 512).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().rcode(), Rcode::SERVFAIL);
    put(&cache, "a.example", 60, secs(62));
    assert_eq!(ttl(&cache, "a.example", secs(62)), Some(60), "a good answer replaces a failure");
}

#[test]
fn truncated_answers_are_never_kept() {
    let mut truncated = response("a.example", Rcode::NOERROR, &[60], None);
    truncated[2] |= 2;
    assert_eq!(life(&truncated), None);
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let other = response("b.example", Rcode::NOERROR, &[60], None);
    assert!(Answer::prepare(&key("a.example"), &other, LIMITS).is_err());
    let mut no_response = response("a.example", Rcode::NOERROR, &[60], None);
    no_response[2] &= 0x7F;
    assert!(Answer::prepare(&key("a.example"), &no_response, LIMITS).is_err());
    let mut badvers = response("a.example", Rcode::NOERROR, &[60], None);
    let at = badvers.len() - 6;
    badvers[at] = 1;
    assert!(Answer::prepare(&key("a.example"), &badvers, LIMITS).is_err(), "an extended code");
}

#[test]
fn id_letters_and_flags_are_the_clients_own() {
    let cache = big();
    put(&cache, "a.example", 60, secs(0));
    let flags = Flags::default().with_recursion_desired(true);
    let query = Query::new(name("A.eXample"), RecordType::A).with_flags(flags).encode(0xBEEF);
    let answer = ask(&cache, &query, secs(1), 512).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert_eq!(message.id(), 0xBEEF);
    assert_eq!(message.question().unwrap().name.as_wire(), name("A.eXample").as_wire());
    assert_eq!(message.answers().next().unwrap().name().as_wire(), name("A.eXample").as_wire());
    assert!(message.flags().recursion_available() && message.flags().recursion_desired());
    assert!(!message.flags().authoritative());
}

#[test]
fn do_cd_and_rd_keep_answers_apart() {
    let rd = Flags::default().with_recursion_desired(true);
    let base = Query::new(name("a.example"), RecordType::A).with_flags(rd);
    let variants = [
        base.clone(),
        base.clone().with_dnssec_ok(true),
        base.clone().with_flags(rd.with_checking_disabled(true)),
        base.clone().with_flags(Flags::default()),
        Query::new(name("a.example"), RecordType::AAAA),
    ];
    let keys: Vec<_> =
        variants.iter().map(|query| Key::of(&Request::parse(&query.encode(1)).unwrap())).collect();
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(keys.iter().filter(|other| *other == key).count(), 1, "variant {at}");
    }
    let same = base.with_payload_bytes(None).with_flags(rd.with_authentic(true)).encode(9);
    assert_eq!(Key::of(&Request::parse(&same).unwrap()), keys[0], "AD and EDNS stay out");
}

#[test]
fn ad_is_given_only_to_those_who_ask() {
    let cache = big();
    let mut validated = response("a.example", Rcode::NOERROR, &[60], None);
    validated[3] |= 0x20;
    let answer = Answer::prepare(&key("a.example"), &validated, LIMITS).unwrap();
    cache.insert(key("a.example").as_ref(), &answer, secs(0));
    let rd = Flags::default().with_recursion_desired(true);
    for (flags, authentic) in [(rd, false), (rd.with_authentic(true), true)] {
        let query = Query::new(name("a.example"), RecordType::A).with_flags(flags).encode(1);
        let answer = ask(&cache, &query, secs(0), 512).unwrap();
        assert_eq!(Message::parse(&answer).unwrap().flags().authentic(), authentic);
    }
}

#[test]
fn opt_belongs_to_its_hop() {
    let cache = big();
    put(&cache, "a.example", 60, secs(0));
    let rd = Flags::default().with_recursion_desired(true);
    let plain =
        Query::new(name("a.example"), RecordType::A).with_flags(rd).with_payload_bytes(None);
    let answer = ask(&cache, &plain.encode(1), secs(0), 512).unwrap();
    assert!(Message::parse(&answer).unwrap().edns().is_none());
    let answer = ask(&cache, &query("a.example"), secs(0), 512).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().edns().unwrap().payload_bytes, 1232);
}

#[test]
fn opt_before_other_records_is_taken_out_and_names_stay_whole() {
    let mut bytes = response("a.example", Rcode::NOERROR, &[60], None);
    bytes[11] = 2;
    // Behind OPT: a record whose owner points into the question and whose data is a name.
    bytes.extend([0xC0, 14, 0, 2, 0, 1, 0, 0, 0, 50, 0, 5, 2, b'n', b's', 0xC0, 14]);
    assert_eq!(Message::parse(&bytes).unwrap().records().count(), 3);
    let answer = Answer::prepare(&key("a.example"), &bytes, LIMITS).unwrap();
    assert_eq!(answer.life(), Some(secs(50)));
    let wire = &answer.stored[..usize::from(answer.wire_len)];
    let message = Message::parse(wire).unwrap();
    let last = message.records().last().unwrap();
    assert_eq!((last.name(), last.rtype), (name("example"), RecordType::NS));
    assert_eq!(Name::read(wire, last.rdata_at()).unwrap().0, name("ns.example"));
    assert!(message.edns().is_none());
}

#[test]
fn what_is_over_the_limit_is_truncated_to_the_question() {
    let cache = big();
    let response = response("a.example", Rcode::NOERROR, &[60; 50], None);
    let answer = Answer::prepare(&key("a.example"), &response, LIMITS).unwrap();
    cache.insert(key("a.example").as_ref(), &answer, secs(0));
    let short = ask(&cache, &query("a.example"), secs(0), 512).unwrap();
    let message = Message::parse(&short).unwrap();
    assert!(message.flags().truncated() && message.answers().count() == 0);
    assert_eq!(short.len(), Header::BYTES + 15 + Edns::BYTES);
    let whole = ask(&cache, &query("a.example"), secs(0), 65_535).unwrap();
    assert_eq!(Message::parse(&whole).unwrap().answers().count(), 50);
}

#[test]
fn a_scan_does_not_push_out_what_is_in_use() {
    let cache = Cache::new(64 << 10, 1, 7);
    let used: Vec<_> = (0..50).map(|n| format!("used{n}.example")).collect();
    for text in &used {
        put(&cache, text, 3000, secs(0));
    }
    for n in 0..20_000 {
        put(&cache, &format!("scan{n}.example"), 3000, secs(0));
        if n % 100 == 0 {
            assert!(used.iter().all(|text| ttl(&cache, text, secs(0)).is_some()), "at {n}");
        }
    }
    assert!(cache.totals().evictions > 10_000);
}

#[test]
fn an_answer_larger_than_its_shard_is_not_kept() {
    let cache = Cache::new(4096, 4, 7);
    let response = response("a.example", Rcode::NOERROR, &[60; 100], None);
    let answer = Answer::prepare(&key("a.example"), &response, LIMITS).unwrap();
    cache.insert(key("a.example").as_ref(), &answer, secs(0));
    assert_eq!((cache.totals().entries, cache.totals().bytes), (0, 0));
}

#[derive(Debug, Clone)]
enum Op {
    Put { name: u8, ttl: u32, negative: bool },
    Ask { name: u8 },
    Fail { name: u8 },
    Advance { millis: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u8..40, 0u32..30, any::<bool>()).prop_map(|(name, ttl, negative)| Op::Put { name, ttl, negative }),
        4 => (0u8..40).prop_map(|name| Op::Ask { name }),
        1 => (0u8..40).prop_map(|name| Op::Fail { name }),
        2 => (0u64..4000).prop_map(|millis| Op::Advance { millis }),
    ]
}

/// What the model knows of a name: code, TTL when it was put, and when that was.
#[derive(Debug, Clone, Copy)]
struct Known {
    rcode: Rcode,
    ttl: u32,
    put: u64,
}

impl Known {
    fn alive(self, now: u64) -> bool {
        now < self.put + u64::from(self.ttl) * 1000
    }
}

struct World {
    cache: Cache,
    model: HashMap<u8, Known>,
    now: u64,
}

impl World {
    fn run(&mut self, op: &Op, evicts: bool) -> Result<(), TestCaseError> {
        match *op {
            Op::Advance { millis } => self.now += millis,
            Op::Put { name, ttl, negative } => self.put(name, ttl, negative),
            Op::Fail { name } => {
                let key = key(&format!("n{name}.example"));
                let failure = Answer::failure(&key, LIMITS);
                self.cache.insert(key.as_ref(), &failure, Duration::from_millis(self.now));
                let known = self.model.get(&name).filter(|known| known.alive(self.now));
                if known.is_none_or(|known| known.rcode == Rcode::SERVFAIL) || evicts {
                    let failed = Known { rcode: Rcode::SERVFAIL, ttl: 5, put: self.now };
                    // Where answers may be evicted, a good one may or may not have been there.
                    if !evicts {
                        self.model.insert(name, failed);
                    }
                }
            }
            Op::Ask { name } => self.ask(name, evicts)?,
        }
        Ok(())
    }

    fn put(&mut self, name: u8, ttl: u32, negative: bool) {
        let text = format!("n{name}.example");
        let (rcode, answers, soa) = if negative {
            (Rcode::NXDOMAIN, vec![], Some((ttl, 3000)))
        } else {
            (Rcode::NOERROR, vec![ttl, ttl + 3], None)
        };
        let response = response(&text, rcode, &answers, soa);
        let answer = Answer::prepare(&key(&text), &response, LIMITS).unwrap();
        self.cache.insert(key(&text).as_ref(), &answer, Duration::from_millis(self.now));
        if ttl > 0 {
            self.model.insert(name, Known { rcode, ttl, put: self.now });
        }
    }

    fn ask(&self, name: u8, evicts: bool) -> Result<(), TestCaseError> {
        let query = query(&format!("n{name}.example"));
        let answer = ask(&self.cache, &query, Duration::from_millis(self.now), 65_535);
        let known = self.model.get(&name).filter(|known| known.alive(self.now));
        let Some(answer) = answer else {
            prop_assert!(known.is_none() || evicts, "{name} is lost");
            return Ok(());
        };
        let message = Message::parse(&answer).unwrap();
        if evicts && message.rcode() == Rcode::SERVFAIL {
            return Ok(());
        }
        let Some(known) = known else { return Err(TestCaseError::fail("a dead answer")) };
        prop_assert_eq!(message.rcode(), known.rcode);
        let age = u32::try_from((self.now - known.put) / 1000).unwrap();
        let first = message.records().next().filter(|record| record.rtype != RecordType::OPT);
        if let Some(record) = first {
            prop_assert_eq!(record.ttl, known.ttl - age);
        }
        Ok(())
    }
}

fn check(ops: &[Op], bytes: usize, evicts: bool) -> Result<(), TestCaseError> {
    let mut world = World { cache: Cache::new(bytes, 2, 9), model: HashMap::new(), now: 1 };
    for op in ops {
        world.run(op, evicts)?;
        let recounted: usize = world.cache.shards.iter().map(|shard| shard.lock().recount()).sum();
        prop_assert_eq!(world.cache.totals().bytes, recounted as u64);
        prop_assert!(recounted <= bytes);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_cache_agrees_with_a_map_of_lives(ops in prop::collection::vec(op(), 1..120)) {
        check(&ops, 1 << 20, false)?;
    }

    #[test]
    fn a_full_cache_keeps_its_bound_and_never_lies(ops in prop::collection::vec(op(), 1..250)) {
        check(&ops, 2600, true)?;
    }

    #[test]
    fn hostile_responses_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), at in 12usize..120, value in any::<u8>()) {
        _ = Answer::prepare(&key("a.example"), &bytes, LIMITS);
        let mut mutated = response("a.example", Rcode::NOERROR, &[60, 70], Some((50, 40)));
        if let Some(byte) = mutated.get_mut(at) {
            *byte = value;
        }
        if let Ok(answer) = Answer::prepare(&key("a.example"), &mutated, LIMITS) {
            let cache = big();
            cache.insert(key("a.example").as_ref(), &answer, secs(0));
            if let Some(answer) = ask(&cache, &query("a.example"), secs(3), 65_535) {
                prop_assert!(Message::parse(&answer).is_ok());
            }
        }
    }
}

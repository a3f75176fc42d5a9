//! A hit does not allocate: counted by the program's allocator, which is why this test is alone.

use std::alloc::System;
use std::sync::Arc;

use dns_cache::upstream::MemoryUpstream;
use dns_cache::wire::{Message, Query, RecordType};
use dns_cache::{Config, Outcome, Resolver, Transport};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_hit_does_not_allocate() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let upstream = MemoryUpstream::new();
    let names: Vec<_> = (0..100).map(|n| format!("host{n}.example.com")).collect();
    for name in &names {
        upstream.add_address(name, 3600, "192.0.2.1".parse().unwrap());
    }
    let (resolver, driver) = Resolver::open(Arc::new(upstream), None, Config::default()).unwrap();
    let query = |name: &String| Query::new(name.parse().unwrap(), RecordType::A).encode(3);
    let queries: Vec<_> = names.iter().map(query).collect();
    runtime.block_on(async {
        let fill = async {
            for query in &queries {
                resolver.resolve(query, Transport::Udp).await.unwrap();
            }
        };
        tokio::select! { () = fill => {}, _ = driver => panic!("the driver ended") }
    });

    let (mut out, now) = (Vec::with_capacity(1232), resolver.now());
    let region = Region::new(ALLOCATOR);
    for query in &queries {
        let outcome = resolver.answer_now(query, now, Transport::Udp, &mut out);
        assert!(matches!(outcome, Outcome::Answered(_)));
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
    assert_eq!(Message::parse(&out).unwrap().addresses().count(), 1);
    assert_eq!(resolver.stats().hits, 100);
}

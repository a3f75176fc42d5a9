//! Seeded workloads for `dns-cache`.

use std::net::IpAddr;

use bytes::Bytes;
use dns_cache::records::{Endpoint, Protocol, Service, ServiceKind};
use dns_cache::wire::{Name, Query, RecordType};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::SEED;

/// Names as pods ask for them: a few labels of usual length below many domains.
#[must_use]
pub fn names(count: u32) -> Vec<String> {
    let name = |i: u32| format!("svc-{:03}.region-{}.example{:03}.com", i % 1000, i % 7, i / 100);
    (0..count).map(name).collect()
}

/// One query for the address of each name, in random order.
///
/// # Errors
///
/// A name that is none.
pub fn queries(names: &[String]) -> dns_cache::Result<Vec<Bytes>> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut queries = Vec::with_capacity(names.len());
    for name in names {
        let name = name.parse::<Name>()?;
        queries.push(Query::new(name, RecordType::A).encode(random.random()));
    }
    queries.shuffle(&mut random);
    Ok(queries)
}

/// An address for the `i`-th name or service.
#[must_use]
pub fn address(i: u32) -> IpAddr {
    let [_, second, third, fourth] = i.to_be_bytes();
    IpAddr::from([10, second, third, fourth])
}

/// Services in namespaces of a hundred, each with a port and three endpoints.
#[must_use]
pub fn services(count: u32) -> Vec<Service> {
    let service = |i: u32| {
        let kind = ServiceKind::ClusterIp(vec![address(i)]);
        let service = Service::new(format!("team-{}", i / 100), format!("web-{}", i % 100), kind);
        (0..3).fold(service.with_port("http", Protocol::Tcp, 80), |service, n| {
            service.with_endpoint(Endpoint::new(address(0x0080_0000 + i * 3 + n)))
        })
    };
    (0..count).map(service).collect()
}

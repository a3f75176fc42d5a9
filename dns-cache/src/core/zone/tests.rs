use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::core::wire::{Message, Query, Rcode, RecordData, RecordType, Request, Section, Writer};
use crate::service::{Endpoint, Port, Protocol, ServiceKind};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn empty(pod_names: bool) -> Zone {
    Zone::new(Arc::new(ZoneSettings::new("cluster.local", 5, pod_names, 3).unwrap()))
}

/// The records of the table below.
fn zone() -> Zone {
    let mut zone = empty(false);
    let web = ServiceKind::ClusterIp(vec![ip("10.96.0.7"), ip("fd00::7")]);
    let web = Service::new("prod", "web", web)
        .with_port("http", Protocol::Tcp, 80)
        .with_port("", Protocol::Tcp, 9)
        .with_port("dns", Protocol::Udp, 53)
        .with_endpoint(Endpoint::new(ip("10.1.0.1")));
    let db = Service::new("prod", "db", ServiceKind::Headless)
        .with_port("sql", Protocol::Tcp, 5432)
        .with_endpoint(Endpoint::new(ip("10.1.0.2")).with_hostname("DB-0"))
        .with_endpoint(Endpoint::new(ip("10.1.0.3")))
        .with_endpoint(Endpoint::new(ip("fd01::3")).with_hostname("db-6"))
        .with_endpoint(Endpoint::new(ip("10.1.0.4")).with_hostname("db-9").with_ready(false));
    let idle = Service::new("prod", "idle", ServiceKind::Headless)
        .with_port("sql", Protocol::Tcp, 5432)
        .with_endpoint(Endpoint::new(ip("10.1.0.5")).with_ready(false));
    let away = Service::new("prod", "away", ServiceKind::ExternalName("www.Example.com.".into()))
        .with_port("http", Protocol::Tcp, 80);
    for service in [web, db, idle, away] {
        zone.upsert(&Arc::new(service));
    }
    zone.declare_namespace("empty", true);
    zone.set_revision(42);
    zone
}

/// The answer as text: the code, then one line for each record but the SOA of a negative answer.
fn dig(zone: &Zone, name: &str, rtype: RecordType) -> Vec<String> {
    let query = Query::new(name.parse().unwrap(), rtype).encode(1);
    let request = Request::parse(&query).unwrap();
    let mut out = Vec::new();
    let mut writer = Writer::response(&mut out, &request, None, 65_535);
    let verdict = zone.answer(&request.name, rtype, &mut writer);
    let (first, rcode) = match &verdict {
        Verdict::Done(rcode) => (rcode.to_string(), *rcode),
        Verdict::Alias(target) => (format!("alias {target}"), Rcode::NOERROR),
        Verdict::NotHere => ("not here".to_owned(), Rcode::NOERROR),
    };
    writer.finish(rcode);
    let message = Message::parse(&out).unwrap();
    let soas = message.records().filter(|record| record.section == Section::Authority).count();
    let negative = matches!(verdict, Verdict::Done(_)) && message.answers().count() == 0;
    assert_eq!(soas, usize::from(negative), "exactly the negative answers have an SOA");
    let records = message.records().filter(|record| record.section != Section::Authority);
    [first].into_iter().chain(records.map(|record| line(&record))).collect()
}

fn line(record: &crate::core::wire::Record<'_>) -> String {
    let data = match record.data() {
        RecordData::A(address) => address.to_string(),
        RecordData::Aaaa(address) => address.to_string(),
        RecordData::Cname(target) | RecordData::Ptr(target) => target.to_string(),
        RecordData::Srv { priority, weight, port, target } => {
            format!("{priority} {weight} {port} {target}")
        }
        RecordData::Txt(text) => format!("{:?}", std::str::from_utf8(text).unwrap()),
        RecordData::Soa { mname, serial, minimum } => format!("{mname} {serial} {minimum}"),
        other => format!("{other:?}"),
    };
    format!("{} {} {} {data}", record.name(), record.ttl, record.rtype)
}

#[test]
fn cluster_ip_services_have_their_addresses() {
    let (zone, web) = (zone(), "web.prod.svc.cluster.local");
    let a = "web.prod.svc.cluster.local. 5 A 10.96.0.7";
    assert_eq!(dig(&zone, web, RecordType::A), ["NOERROR", a]);
    let aaaa = "web.prod.svc.cluster.local. 5 AAAA fd00::7";
    assert_eq!(dig(&zone, web, RecordType::AAAA), ["NOERROR", aaaa]);
    assert_eq!(dig(&zone, web, RecordType::MX), ["NOERROR"]);
    assert_eq!(dig(&zone, "WEB.Prod.SVC.Cluster.Local", RecordType::A).len(), 2);
}

#[test]
fn the_other_family_is_nodata() {
    let mut zone = empty(false);
    let kind = ServiceKind::ClusterIp(vec![ip("10.0.0.1")]);
    zone.upsert(&Arc::new(Service::new("a", "v4", kind)));
    assert_eq!(dig(&zone, "v4.a.svc.cluster.local", RecordType::AAAA), ["NOERROR"]);
}

#[test]
fn headless_services_have_their_ready_endpoints() {
    let (zone, db) = (zone(), "db.prod.svc.cluster.local");
    let one = "db.prod.svc.cluster.local. 5 A 10.1.0.3";
    let two = "db.prod.svc.cluster.local. 5 A 10.1.0.2";
    assert_eq!(dig(&zone, db, RecordType::A), ["NOERROR", one, two]);
    assert_eq!(dig(&zone, db, RecordType::AAAA).len(), 2);
    assert_eq!(dig(&zone, "idle.prod.svc.cluster.local", RecordType::A), ["NXDOMAIN"]);
}

#[test]
fn endpoints_have_names() {
    let zone = zone();
    let below = |host: &str, rtype| dig(&zone, &format!("{host}.db.prod.svc.cluster.local"), rtype);
    let named = "db-0.db.prod.svc.cluster.local. 5 A 10.1.0.2";
    assert_eq!(below("db-0", RecordType::A), ["NOERROR", named]);
    assert_eq!(below("10-1-0-3", RecordType::A).len(), 2, "by address where there is no host name");
    assert_eq!(below("10-1-0-2", RecordType::A), ["NXDOMAIN"], "but not where there is one");
    assert_eq!(below("db-6", RecordType::A), ["NOERROR"], "the other family");
    assert_eq!(below("db-9", RecordType::A), ["NXDOMAIN"], "not ready");
    assert_eq!(below("nobody", RecordType::A), ["NXDOMAIN"]);
    let of_web = dig(&zone, "10-1-0-1.web.prod.svc.cluster.local", RecordType::A);
    assert_eq!(of_web.len(), 2, "as the reverse lookup gives it");
}

#[test]
fn srv_of_a_cluster_ip_service_points_to_it() {
    let zone = zone();
    let srv =
        |name: &str| dig(&zone, &format!("{name}.web.prod.svc.cluster.local"), RecordType::SRV);
    let expected = [
        "NOERROR",
        "_http._tcp.web.prod.svc.cluster.local. 5 SRV 0 100 80 web.prod.svc.cluster.local.",
        "web.prod.svc.cluster.local. 5 A 10.96.0.7",
        "web.prod.svc.cluster.local. 5 AAAA fd00::7",
    ];
    assert_eq!(srv("_http._tcp"), expected);
    assert_eq!(srv("_HTTP._TCP").len(), 4);
    for missing in ["_http._udp", "_nope._tcp", "http._tcp", "_http.tcp", "_._tcp", "_http._icmp"] {
        assert_eq!(srv(missing), ["NXDOMAIN"], "{missing}");
    }
}

#[test]
fn srv_of_a_headless_service_points_to_its_endpoints() {
    let zone = zone();
    let expected = [
        "NOERROR",
        "_sql._tcp.db.prod.svc.cluster.local. 5 SRV 0 33 5432 10-1-0-3.db.prod.svc.cluster.local.",
        "_sql._tcp.db.prod.svc.cluster.local. 5 SRV 0 33 5432 db-0.db.prod.svc.cluster.local.",
        "_sql._tcp.db.prod.svc.cluster.local. 5 SRV 0 33 5432 db-6.db.prod.svc.cluster.local.",
        "10-1-0-3.db.prod.svc.cluster.local. 5 A 10.1.0.3",
        "db-0.db.prod.svc.cluster.local. 5 A 10.1.0.2",
        "db-6.db.prod.svc.cluster.local. 5 AAAA fd01::3",
    ];
    assert_eq!(dig(&zone, "_sql._tcp.db.prod.svc.cluster.local", RecordType::SRV), expected);
    assert_eq!(dig(&zone, "_sql._tcp.idle.prod.svc.cluster.local", RecordType::SRV), ["NXDOMAIN"]);
}

#[test]
fn an_endpoints_own_ports_win() {
    let mut zone = empty(false);
    let own = Port { name: "p".into(), protocol: Protocol::Sctp, port: 7 };
    let endpoint = Endpoint { ports: Some(vec![own]), ..Endpoint::new(ip("10.0.0.1")) };
    let service = Service::new("a", "s", ServiceKind::Headless)
        .with_port("p", Protocol::Sctp, 1)
        .with_endpoint(endpoint);
    zone.upsert(&Arc::new(service));
    let answer = dig(&zone, "_p._sctp.s.a.svc.cluster.local", RecordType::SRV);
    assert!(answer[1].ends_with("SRV 0 100 7 10-0-0-1.s.a.svc.cluster.local."), "{answer:?}");
}

#[test]
fn external_names_are_aliases_without_srv() {
    let (zone, away) = (zone(), "away.prod.svc.cluster.local");
    let cname = "away.prod.svc.cluster.local. 5 CNAME www.Example.com.";
    assert_eq!(dig(&zone, away, RecordType::CNAME), ["NOERROR", cname]);
    assert_eq!(dig(&zone, away, RecordType::A), ["alias www.example.com.", cname]);
    assert_eq!(dig(&zone, &format!("_http._tcp.{away}"), RecordType::SRV), ["NXDOMAIN"]);
}

#[test]
fn reverse_names_point_to_the_service_first() {
    let mut zone = zone();
    let ptr = |zone: &Zone, name: &str| dig(zone, name, RecordType::PTR);
    let web = "7.0.96.10.in-addr.arpa. 5 PTR web.prod.svc.cluster.local.";
    assert_eq!(ptr(&zone, "7.0.96.10.in-addr.arpa"), ["NOERROR", web]);
    let host = "2.0.1.10.in-addr.arpa. 5 PTR db-0.db.prod.svc.cluster.local.";
    assert_eq!(ptr(&zone, "2.0.1.10.in-addr.arpa"), ["NOERROR", host]);
    assert_eq!(ptr(&zone, "4.0.1.10.in-addr.arpa"), ["not here"], "not ready");
    assert_eq!(ptr(&zone, "9.9.9.9.in-addr.arpa"), ["not here"], "not the cluster's");
    let v6 = format!("7.{}d.f.ip6.arpa", "0.".repeat(29));
    assert_eq!(ptr(&zone, &v6).len(), 2);
    // A second service runs at the same endpoint, then the address becomes a service's own.
    let also = Service::new("prod", "also", ServiceKind::Headless);
    zone.upsert(&Arc::new(also.with_endpoint(Endpoint::new(ip("10.1.0.2")))));
    assert_eq!(ptr(&zone, "2.0.1.10.in-addr.arpa").len(), 3);
    let own = Service::new("prod", "own", ServiceKind::ClusterIp(vec![ip("10.1.0.2")]));
    zone.upsert(&Arc::new(own));
    assert_eq!(ptr(&zone, "2.0.1.10.in-addr.arpa").len(), 2);
}

#[test]
fn the_version_is_a_txt_record() {
    let version = "dns-version.cluster.local. 28800 TXT \"1.1.0\"";
    assert_eq!(dig(&zone(), "dns-version.cluster.local", RecordType::TXT), ["NOERROR", version]);
    assert_eq!(dig(&zone(), "dns-version.cluster.local", RecordType::A), ["NOERROR"]);
}

#[test]
fn names_between_are_nodata_and_all_others_nxdomain() {
    let zone = zone();
    let names = [
        "",
        "svc.",
        "pod.",
        "prod.svc.",
        "prod.pod.",
        "empty.svc.",
        "_tcp.web.prod.svc.",
        "_udp.web.prod.svc.",
        "_tcp.db.prod.svc.",
    ];
    for name in names {
        let name = format!("{name}cluster.local");
        assert_eq!(dig(&zone, &name, RecordType::A), ["NOERROR"], "{name}");
    }
    let names = [
        "nope.svc.",
        "web.nope.svc.",
        "nope.prod.svc.",
        "web.prod.",
        "a.b.c.d.e.f.svc.",
        "x.y.z.web.prod.svc.",
        "_udp.db.prod.svc.",
        "_tcp.idle.prod.svc.",
        "_tcp.away.prod.svc.",
        "10-1-0-1.prod.pod.",
        "ns.dns.",
    ];
    for name in names {
        let name = format!("{name}cluster.local");
        assert_eq!(dig(&zone, &name, RecordType::A), ["NXDOMAIN"], "{name}");
    }
    assert_eq!(dig(&zone, "example.com", RecordType::A), ["not here"]);
    let soa = "cluster.local. 5 SOA ns.dns.cluster.local. 42 5";
    assert_eq!(dig(&zone, "cluster.local", RecordType::SOA), ["NOERROR", soa]);
}

#[test]
fn pod_names_echo_their_address_where_that_is_allowed() {
    let mut zone = empty(true);
    zone.declare_namespace("prod", true);
    let a = "10-1-2-3.prod.pod.cluster.local. 5 A 10.1.2.3";
    assert_eq!(dig(&zone, "10-1-2-3.prod.pod.cluster.local", RecordType::A), ["NOERROR", a]);
    assert_eq!(dig(&zone, "10-1-2-3.prod.pod.cluster.local", RecordType::AAAA), ["NOERROR"]);
    assert_eq!(dig(&zone, "2001-db8--1.prod.pod.cluster.local", RecordType::AAAA).len(), 2);
    assert_eq!(dig(&zone, "10-1-2-3.nope.pod.cluster.local", RecordType::A), ["NXDOMAIN"]);
    assert_eq!(dig(&zone, "10-1-2.prod.pod.cluster.local", RecordType::A), ["NXDOMAIN"]);
}

#[test]
fn names_that_are_no_labels_have_no_records() {
    let mut zone = empty(false);
    let long = "x".repeat(64);
    zone.upsert(&Arc::new(Service::new("", "a", ServiceKind::Headless)));
    zone.upsert(&Arc::new(Service::new("a", long.clone(), ServiceKind::Headless)));
    zone.declare_namespace(&long, true);
    assert_eq!(dig(&zone, "a.svc.cluster.local", RecordType::A), ["NXDOMAIN"]);
}

#[derive(Debug, Clone)]
enum Op {
    Upsert { namespace: u8, name: u8, cluster: Vec<u8>, endpoints: Vec<(u8, bool)> },
    Delete { namespace: u8, name: u8 },
    Declare { namespace: u8, on: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let addresses = || prop::collection::vec(0u8..6, 0..3);
    let endpoints = prop::collection::vec((0u8..6, any::<bool>()), 0..4);
    prop_oneof![
        4 => (0u8..2, 0u8..4, addresses(), endpoints).prop_map(|(namespace, name, cluster, endpoints)| Op::Upsert { namespace, name, cluster, endpoints }),
        2 => (0u8..2, 0u8..4).prop_map(|(namespace, name)| Op::Delete { namespace, name }),
        1 => (0u8..2, any::<bool>()).prop_map(|(namespace, on)| Op::Declare { namespace, on }),
    ]
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn make(op: &Op) -> Option<Service> {
    let Op::Upsert { namespace, name, cluster, endpoints } = op else { return None };
    let kind = match cluster.as_slice() {
        [] => ServiceKind::Headless,
        some => ServiceKind::ClusterIp(some.iter().copied().map(address).collect()),
    };
    let service = Service::new(format!("n{namespace}"), format!("s{name}"), kind);
    Some(endpoints.iter().fold(service, |service, (last, ready)| {
        service.with_endpoint(Endpoint::new(address(*last)).with_ready(*ready))
    }))
}

/// The owners of a reverse lookup, found by reading every service.
fn owners(model: &BTreeMap<(u8, u8), Service>, asked: IpAddr) -> BTreeSet<String> {
    let own = |service: &Service| matches!(&service.kind, ServiceKind::ClusterIp(addresses) if addresses.contains(&asked));
    let base =
        |service: &Service| format!("{}.{}.svc.cluster.local.", service.name, service.namespace);
    let services: BTreeSet<_> = model.values().filter(|service| own(service)).map(base).collect();
    if !services.is_empty() {
        return services;
    }
    let ready = |service: &&Service| {
        service.endpoints.iter().any(|endpoint| endpoint.ready && endpoint.ip == asked)
    };
    let host = asked.to_string().replace('.', "-");
    model.values().filter(ready).map(|service| format!("{host}.{}", base(service))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn changes_leave_the_same_zone_as_building_it_anew(ops in prop::collection::vec(op(), 0..40)) {
        let (mut zone, mut model, mut declared) = (empty(false), BTreeMap::new(), BTreeSet::new());
        for op in &ops {
            match *op {
                Op::Upsert { namespace, name, .. } => {
                    let service = make(op).unwrap();
                    zone.upsert(&Arc::new(service.clone()));
                    model.insert((namespace, name), service);
                }
                Op::Delete { namespace, name } => {
                    zone.delete(&format!("n{namespace}"), &format!("s{name}"));
                    model.remove(&(namespace, name));
                }
                Op::Declare { namespace, on } => {
                    zone.declare_namespace(&format!("n{namespace}"), on);
                    if on { declared.insert(namespace) } else { declared.remove(&namespace) };
                }
            }
        }
        for last in 0..6 {
            let found = dig(&zone, &format!("{last}.0.0.10.in-addr.arpa"), RecordType::PTR);
            let names: BTreeSet<_> = found[1..].iter().filter_map(|line| line.split(' ').nth(3)).map(str::to_owned).collect();
            let expected = owners(&model, address(last));
            // A cluster address of several services is one's of them.
            prop_assert!(names == expected || (names.len() == 1 && names.is_subset(&expected) && found.len() == 2), "{names:?} for {expected:?}");
            prop_assert_eq!(names.is_empty(), expected.is_empty());
        }
        for namespace in 0u8..2 {
            let found = dig(&zone, &format!("n{namespace}.svc.cluster.local"), RecordType::A);
            let exists = declared.contains(&namespace) || model.keys().any(|key| key.0 == namespace);
            prop_assert_eq!(&found[0], if exists { "NOERROR" } else { "NXDOMAIN" });
            for name in 0u8..4 {
                let found = dig(&zone, &format!("s{name}.n{namespace}.svc.cluster.local"), RecordType::A);
                let expected = model.get(&(namespace, name)).map_or(0, |service| match &service.kind {
                    ServiceKind::ClusterIp(addresses) => addresses.len(),
                    _ => service.endpoints.iter().filter(|endpoint| endpoint.ready).count(),
                });
                prop_assert_eq!(found.len() - 1, expected, "{:?}", found);
            }
        }
    }
}

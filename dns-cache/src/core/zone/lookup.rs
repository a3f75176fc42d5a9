//! Answers: the table of the Kubernetes DNS specification, name form by name form.

use std::net::IpAddr;

use super::entry::{Entry, host};
use super::{Zone, address};
use crate::core::wire::{Name, Rcode, Rdata, RecordType, Section, Writer, next_label};
use crate::service::{Endpoint, Port, Protocol, ServiceKind};

/// Specification section 2.2 and `CoreDNS`'s TTL for it.
const VERSION: &str = "1.1.0";
const VERSION_TTL_SECS: u32 = 28_800;
/// Refresh, retry and expire of the SOA. There are no secondaries to read them.
const SOA_TIMES: [u32; 3] = [7200, 1800, 86_400];
/// The longest form is `_port._proto.service.namespace.svc`.
const MAX_LABELS: usize = 5;

/// What the zone says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The name is not the zone's.
    NotHere,
    /// The response holds what there is to say.
    Done(Rcode),
    /// The response holds a CNAME to this name, in lower case, which is to be looked up in turn.
    Alias(Box<Name>),
}

/// What a form of name found.
enum Found {
    NxDomain,
    NoData,
    Records,
    Alias(Box<Name>),
}

/// Where records go and what they are for.
struct Asked<'a, 'o> {
    owner: &'a Name,
    rtype: RecordType,
    writer: &'a mut Writer<'o>,
}

impl Zone {
    /// Writes what there is for `name`, in lower case, and `rtype`.
    pub(crate) fn answer(
        &self,
        name: &Name,
        rtype: RecordType,
        writer: &mut Writer<'_>,
    ) -> Verdict {
        let mut asked = Asked { owner: name, rtype, writer };
        let found = match name.strip_suffix(&self.settings.domain) {
            Some(relative) => self.relative(relative, &mut asked),
            None => match self.reverse(&mut asked) {
                Some(found) => found,
                None => return Verdict::NotHere,
            },
        };
        match found {
            Found::Records => Verdict::Done(Rcode::NOERROR),
            Found::Alias(target) => Verdict::Alias(target),
            Found::NoData => self.negative(Rcode::NOERROR, writer),
            Found::NxDomain => self.negative(Rcode::NXDOMAIN, writer),
        }
    }

    fn negative(&self, rcode: Rcode, writer: &mut Writer<'_>) -> Verdict {
        self.soa(Section::Authority, writer);
        Verdict::Done(rcode)
    }

    fn soa(&self, section: Section, writer: &mut Writer<'_>) {
        let settings = &self.settings;
        let [refresh, retry, expire] = SOA_TIMES;
        // Serials wrap (RFC 1982), so the low bits of the revision will do.
        let serial = u32::try_from(self.revision & u64::from(u32::MAX)).unwrap_or_default();
        let numbers = [serial, refresh, retry, expire, settings.ttl_secs];
        let soa = Rdata::Soa { mname: &settings.mname, rname: &settings.rname, numbers };
        writer.record(section, &settings.domain, RecordType::SOA, settings.ttl_secs, soa);
    }

    /// A name below the zone, by its form.
    fn relative(&self, relative: &[u8], asked: &mut Asked<'_, '_>) -> Found {
        let (mut labels, mut rest, mut count) = ([[].as_slice(); MAX_LABELS], relative, 0);
        while let Some((label, behind)) = next_label(rest) {
            let Some(slot) = labels.get_mut(count) else { return Found::NxDomain };
            (*slot, rest, count) = (label, behind, count + 1);
        }
        match labels.get(..count).unwrap_or_default() {
            [] => self.apex(asked),
            [b"dns-version"] => version(asked),
            [b"svc" | b"pod"] => Found::NoData,
            [namespace, b"svc" | b"pod"] => self.namespace(namespace),
            [label, namespace, b"pod"] => self.pod(label, namespace, asked),
            [_, _, b"svc"] => self.with_entry(relative, 0, |entry| self.service(entry, asked)),
            [host, _, _, b"svc"] => {
                self.with_entry(relative, host.len() + 1, |entry| self.below(entry, host, asked))
            }
            [port, protocol, _, _, b"svc"] => {
                let before = port.len() + protocol.len() + 2;
                self.with_entry(relative, before, |entry| self.srv(entry, port, protocol, asked))
            }
            _ => Found::NxDomain,
        }
    }

    /// Looks up the service whose two labels begin at byte `at`, five bytes before the end less.
    fn with_entry(&self, relative: &[u8], at: usize, run: impl FnOnce(&Entry) -> Found) -> Found {
        let end = relative.len().saturating_sub(b"\x03svc".len());
        let entry = relative.get(at..end).and_then(|key| self.services.get(key));
        entry.map_or(Found::NxDomain, |entry| run(entry))
    }

    fn apex(&self, asked: &mut Asked<'_, '_>) -> Found {
        if asked.rtype != RecordType::SOA {
            return Found::NoData;
        }
        self.soa(Section::Answer, asked.writer);
        Found::Records
    }

    fn namespace(&self, label: &[u8]) -> Found {
        if self.namespaces.get(label).is_some() { Found::NoData } else { Found::NxDomain }
    }

    fn pod(&self, label: &[u8], namespace: &[u8], asked: &mut Asked<'_, '_>) -> Found {
        let known = self.settings.pod_names && self.namespaces.get(namespace).is_some();
        match address::of_dashed(label).filter(|_| known) {
            Some(address) => self.addresses([address].into_iter(), asked),
            None => Found::NxDomain,
        }
    }

    /// `service.namespace.svc`.
    fn service(&self, entry: &Entry, asked: &mut Asked<'_, '_>) -> Found {
        match &entry.service().kind {
            ServiceKind::ClusterIp(addresses) => self.addresses(addresses.iter().copied(), asked),
            ServiceKind::Headless => self.endpoints(entry.ready(), asked),
            ServiceKind::ExternalName(_) => self.external(entry, asked),
        }
    }

    fn external(&self, entry: &Entry, asked: &mut Asked<'_, '_>) -> Found {
        let Some(target) = entry.target() else { return Found::NoData };
        asked.write(
            Section::Answer,
            RecordType::CNAME,
            self.settings.ttl_secs,
            Rdata::Name(target),
        );
        if asked.rtype == RecordType::CNAME {
            return Found::Records;
        }
        Found::Alias(Box::new(target.to_lowercase()))
    }

    /// `host.service.namespace.svc`, or a protocol, which has nothing but SRV names below it.
    fn below(&self, entry: &Entry, label: &[u8], asked: &mut Asked<'_, '_>) -> Found {
        let Some(protocol) = protocol(label) else {
            return self.endpoints(entry.ready_at(label), asked);
        };
        let named = |port: &Port| !port.name.is_empty() && port.protocol == protocol;
        if served_ports(entry).any(named) { Found::NoData } else { Found::NxDomain }
    }

    fn endpoints<'e>(
        &self,
        endpoints: impl Iterator<Item = &'e Endpoint>,
        asked: &mut Asked<'_, '_>,
    ) -> Found {
        let mut endpoints = endpoints.peekable();
        if endpoints.peek().is_none() {
            return Found::NxDomain;
        }
        self.addresses(endpoints.map(|endpoint| endpoint.ip), asked)
    }

    fn addresses(
        &self,
        addresses: impl Iterator<Item = IpAddr>,
        asked: &mut Asked<'_, '_>,
    ) -> Found {
        let mut found = Found::NoData;
        for address in addresses {
            let (rtype, rdata) = address_record(address);
            if rtype == asked.rtype {
                asked.write(Section::Answer, rtype, self.settings.ttl_secs, rdata);
                found = Found::Records;
            }
        }
        found
    }

    /// `_port._protocol.service.namespace.svc`.
    fn srv(&self, entry: &Entry, port: &[u8], label: &[u8], asked: &mut Asked<'_, '_>) -> Found {
        let (Some(name), Some(protocol)) = (port.strip_prefix(b"_"), protocol(label)) else {
            return Found::NxDomain;
        };
        let matches = |port: &&Port| {
            port.protocol == protocol && port.name.as_bytes().eq_ignore_ascii_case(name)
        };
        let targets: Vec<Target> = if name.is_empty() {
            Vec::new()
        } else if matches!(entry.service().kind, ServiceKind::ClusterIp(_)) {
            let ports = entry.service().ports.iter().filter(matches);
            ports.map(|port| Target { port: port.port, host: None }).collect()
        } else {
            headless_targets(entry, matches)
        };
        match (targets.is_empty(), asked.rtype) {
            (true, _) => Found::NxDomain,
            (false, RecordType::SRV) => self.write_srv(entry, &targets, asked),
            (false, _) => Found::NoData,
        }
    }

    fn write_srv(&self, entry: &Entry, targets: &[Target<'_>], asked: &mut Asked<'_, '_>) -> Found {
        // Equal shares of 100, as `CoreDNS` gives them.
        let share = 100usize.checked_div(targets.len()).unwrap_or_default().max(1);
        let weight = u16::try_from(share).unwrap_or(1);
        let mut last = None;
        for target in targets {
            let Some(name) = self.target_name(entry, target) else { continue };
            // Targets are in the order of their hosts, so those that share one are neighbours.
            let this = Some((target.port, name.clone()));
            if last == this {
                continue;
            }
            last = this;
            let srv = Rdata::Srv { weight, port: target.port, target: &name };
            asked.write(Section::Answer, RecordType::SRV, self.settings.ttl_secs, srv);
        }
        for target in targets {
            self.write_glue(entry, target, asked);
        }
        Found::Records
    }

    fn write_glue(&self, entry: &Entry, target: &Target<'_>, asked: &mut Asked<'_, '_>) {
        let Some(name) = self.target_name(entry, target) else { return };
        let mut write = |address| {
            let (rtype, rdata) = address_record(address);
            let ttl_secs = self.settings.ttl_secs;
            asked.writer.record(Section::Additional, &name, rtype, ttl_secs, rdata);
        };
        match target.host {
            Some(endpoint) => write(endpoint.ip),
            None => entry.cluster_addresses().iter().copied().for_each(write),
        }
    }

    fn target_name(&self, entry: &Entry, target: &Target<'_>) -> Option<Name> {
        match target.host {
            Some(endpoint) => self.endpoint_name(entry, endpoint),
            None => self.service_name(entry),
        }
    }

    fn service_name(&self, entry: &Entry) -> Option<Name> {
        let [name, namespace] = entry.labels();
        Name::join([name, namespace, b"svc"], &self.settings.domain).ok()
    }

    fn endpoint_name(&self, entry: &Entry, endpoint: &Endpoint) -> Option<Name> {
        let [name, namespace] = entry.labels();
        let host = host(endpoint);
        Name::join([host.as_bytes(), name, namespace, b"svc"], &self.settings.domain).ok()
    }

    /// A reverse name, if its address is the cluster's and its type is PTR.
    fn reverse(&self, asked: &mut Asked<'_, '_>) -> Option<Found> {
        let address =
            address::of_reverse(asked.owner).filter(|_| asked.rtype == RecordType::PTR)?;
        let keys = self.addresses.get(&address)?;
        let entries: Vec<_> = keys.iter().filter_map(|key| self.services.get(&**key)).collect();
        let service = entries.iter().find(|entry| entry.cluster_addresses().contains(&address));
        if let Some(name) = service.and_then(|entry| self.service_name(entry)) {
            self.write_ptr(&name, asked);
            return Some(Found::Records);
        }
        for entry in entries {
            for endpoint in entry.ready().filter(|endpoint| endpoint.ip == address) {
                if let Some(name) = self.endpoint_name(entry, endpoint) {
                    self.write_ptr(&name, asked);
                }
            }
        }
        Some(Found::Records)
    }

    fn write_ptr(&self, name: &Name, asked: &mut Asked<'_, '_>) {
        asked.write(Section::Answer, RecordType::PTR, self.settings.ttl_secs, Rdata::Name(name));
    }
}

impl Asked<'_, '_> {
    fn write(&mut self, section: Section, rtype: RecordType, ttl_secs: u32, rdata: Rdata<'_>) {
        self.writer.record(section, self.owner, rtype, ttl_secs, rdata);
    }
}

/// Where an SRV record points: to an endpoint, or to the service itself.
struct Target<'e> {
    port: u16,
    host: Option<&'e Endpoint>,
}

/// One target for each ready endpoint and matching port, in the order of their hosts.
fn headless_targets(entry: &Entry, matches: impl Fn(&&Port) -> bool) -> Vec<Target<'_>> {
    let mut targets: Vec<Target<'_>> = Vec::new();
    for endpoint in entry.ready() {
        for port in entry.ports_of(endpoint).iter().filter(&matches) {
            targets.push(Target { port: port.port, host: Some(endpoint) });
        }
    }
    targets
}

/// The ports that some name of the service leads to.
fn served_ports(entry: &Entry) -> impl Iterator<Item = &Port> {
    let own = matches!(entry.service().kind, ServiceKind::ClusterIp(_));
    let own = entry.service().ports.iter().filter(move |_| own);
    let headless = matches!(entry.service().kind, ServiceKind::Headless);
    let ready = entry.ready().filter(move |_| headless);
    own.chain(ready.flat_map(|endpoint| entry.ports_of(endpoint)))
}

fn version(asked: &mut Asked<'_, '_>) -> Found {
    if asked.rtype != RecordType::TXT {
        return Found::NoData;
    }
    let texts = Rdata::Texts(&[VERSION]);
    asked.write(Section::Answer, RecordType::TXT, VERSION_TTL_SECS, texts);
    Found::Records
}

fn protocol(label: &[u8]) -> Option<Protocol> {
    match label {
        b"_tcp" => Some(Protocol::Tcp),
        b"_udp" => Some(Protocol::Udp),
        b"_sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn address_record(address: IpAddr) -> (RecordType, Rdata<'static>) {
    match address {
        IpAddr::V4(address) => (RecordType::A, Rdata::A(address)),
        IpAddr::V6(address) => (RecordType::AAAA, Rdata::Aaaa(address)),
    }
}

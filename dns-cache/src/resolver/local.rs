//! What can be said of a query without the upstream.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::stats::{Counters, Stats};
use super::{Outcome, Transport};
use crate::config::{Config, PodNames};
use crate::core::cache::{Answer, Cache, Key, KeyRef, Reply, TtlLimits};
use crate::core::wire::{
    Class, MAX_MESSAGE_BYTES, Rcode, Rdata, RecordType, Request, Section, Writer,
};
use crate::core::zone::{Verdict, Zone, ZoneSettings};
use crate::error::Result;

/// BADVERS is 16: only its upper bits are set (RFC 6891 section 6.1.3).
const BADVERS_UPPER: u8 = 1;
/// `ExternalName`s that lead to each other may be a loop.
const MAX_ALIASES: usize = 8;
/// RFC 8482 section 4.2 asks for a TTL of an ordinary size.
const ANY_TTL_SECS: u32 = 3600;

/// What handles and driver share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) limits: TtlLimits,
    pub(super) cache: Cache,
    pub(super) counters: Counters,
    cluster: Option<Cluster>,
    opened: Instant,
}

struct Cluster {
    settings: Arc<ZoneSettings>,
    /// Empty until the records are complete for the first time.
    zone: ArcSwapOption<Zone>,
}

/// Where a query stands after the rules and the cluster's records.
pub(super) enum Step<'o> {
    /// The buffer holds the response.
    Done,
    /// The cache or the upstream knows the answer.
    Ask,
    /// The cache or the upstream knows the records that go behind the aliases in the prefix.
    AskFor(Box<Alias<'o>>),
}

/// A response that holds aliases and waits for their last target.
pub(super) struct Alias<'o> {
    target: Key,
    prefix: Writer<'o>,
}

impl Step<'_> {
    /// The question that is to be asked, if there is one.
    pub(super) fn key(self, request: &Request<'_>) -> Option<Key> {
        match self {
            Self::Done => None,
            Self::Ask => Some(Key::of(request)),
            Self::AskFor(alias) => Some(alias.target),
        }
    }
}

impl Shared {
    pub(super) fn new(config: Config, with_records: bool, seed: u128) -> Result<Self> {
        let insecure = config.pods == PodNames::Insecure;
        let settings =
            ZoneSettings::new(&config.cluster_domain, config.cluster_ttl_secs, insecure, seed)?;
        let settings = Arc::new(settings);
        let limits = TtlLimits {
            min_secs: config.ttl_min_secs,
            max_secs: config.ttl_max_secs,
            negative_max_secs: config.negative_ttl_max_secs,
            failure_secs: config.failure_ttl_secs,
        };
        Ok(Self {
            limits,
            cache: Cache::new(config.cache_bytes, config.cache_shards, seed),
            counters: Counters::default(),
            cluster: with_records.then(|| Cluster { settings, zone: ArcSwapOption::empty() }),
            opened: Instant::now(),
            config,
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(super) fn stats(&self) -> Stats {
        self.counters.with(self.cache.totals())
    }

    pub(super) fn has_records(&self) -> bool {
        self.cluster.is_some()
    }

    /// An empty zone to build the records in.
    pub(super) fn new_zone(&self) -> Option<Zone> {
        self.cluster.as_ref().map(|cluster| Zone::new(Arc::clone(&cluster.settings)))
    }

    /// Answers from `zone` from here on.
    pub(super) fn publish(&self, zone: Zone) {
        if let Some(cluster) = &self.cluster {
            cluster.zone.store(Some(Arc::new(zone)));
        }
    }

    pub(super) fn answer(
        &self,
        request: &Request<'_>,
        now: Duration,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Outcome {
        match self.local(request, transport, out) {
            Step::Done => {}
            Step::Ask => {
                let reply = self.reply(request, transport);
                if !self.cache.answer(KeyRef::of(request), now, &reply, out) {
                    return Outcome::Miss;
                }
            }
            Step::AskFor(alias) => match self.cache.get(alias.target.as_ref(), now) {
                Some(answer) => append(&answer, alias.prefix),
                None => return Outcome::Miss,
            },
        }
        Outcome::Answered(out.len())
    }

    /// Finishes a response with the upstream's answer to `key`.
    pub(super) fn complete(
        &self,
        request: &Request<'_>,
        transport: Transport,
        key: &Key,
        answer: &Answer,
        out: &mut Vec<u8>,
    ) {
        match self.local(request, transport, out) {
            Step::Done => {}
            Step::Ask if *key == Key::of(request) => {
                answer.write(&self.reply(request, transport), out);
            }
            Step::AskFor(alias) if alias.target == *key => append(answer, alias.prefix),
            // The records changed meanwhile and lead elsewhere: the client asks again.
            Step::Ask | Step::AskFor(_) => self.empty(request, Rcode::SERVFAIL, out),
        }
    }

    /// SERVFAIL without asking anyone, not kept.
    pub(super) fn overloaded(&self, key: &Key) -> Arc<Answer> {
        self.counters.overloads();
        Arc::new(Answer::failure(key, self.limits))
    }

    /// Applies the rules and looks into the cluster's records.
    pub(super) fn local<'o>(
        &self,
        request: &Request<'_>,
        transport: Transport,
        out: &'o mut Vec<u8>,
    ) -> Step<'o> {
        if self.rules(request, out) {
            self.counters.refused();
            return Step::Done;
        }
        match &self.cluster {
            Some(cluster) if cluster.settings.covers(&request.name) => {
                self.cluster(cluster, request, transport, out)
            }
            _ => Step::Ask,
        }
    }

    /// Answers what no data is needed for; false if the query is an ordinary one.
    fn rules(&self, request: &Request<'_>, out: &mut Vec<u8>) -> bool {
        let payload_bytes = self.config.udp_payload_bytes;
        if request.edns.is_some_and(|edns| edns.version != 0) {
            let badvers = request.response_edns(payload_bytes, BADVERS_UPPER);
            request.write_empty(Rcode::NOERROR, badvers, out);
        } else if request.class != Class::IN
            || matches!(request.rtype, RecordType::AXFR | RecordType::IXFR)
        {
            self.empty(request, Rcode::REFUSED, out);
        } else if request.rtype == RecordType::OPT {
            // A pseudo-record has no owner to ask about.
            self.empty(request, Rcode::FORMERR, out);
        } else if request.rtype == RecordType::ANY {
            self.any(request, out);
        } else {
            return false;
        }
        true
    }

    /// The minimal answer to ANY (RFC 8482 section 4.2).
    fn any(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        let edns = request.response_edns(self.config.udp_payload_bytes, 0);
        let mut writer = Writer::response(out, request, edns, MAX_MESSAGE_BYTES);
        let hinfo = Rdata::Texts(&["RFC8482", ""]);
        writer.record(Section::Answer, &request.name, RecordType::HINFO, ANY_TTL_SECS, hinfo);
        writer.finish(Rcode::NOERROR);
    }

    pub(super) fn empty(&self, request: &Request<'_>, rcode: Rcode, out: &mut Vec<u8>) {
        let edns = request.response_edns(self.config.udp_payload_bytes, 0);
        request.write_empty(rcode, edns, out);
    }

    fn cluster<'o>(
        &self,
        cluster: &Cluster,
        request: &Request<'_>,
        transport: Transport,
        out: &'o mut Vec<u8>,
    ) -> Step<'o> {
        let zone = cluster.zone.load();
        let Some(zone) = zone.as_deref() else {
            self.empty(request, Rcode::SERVFAIL, out);
            return Step::Done;
        };
        let reply = self.reply(request, transport);
        let mut writer = Writer::response(out, request, reply.edns, reply.limit);
        let mut name = request.name.clone();
        for aliases in 0..=MAX_ALIASES {
            match zone.answer(&name, request.rtype, &mut writer) {
                Verdict::Alias(target) => name = *target,
                Verdict::Done(rcode) => {
                    self.counters.zone_answers();
                    writer.authoritative();
                    writer.finish(rcode);
                    return Step::Done;
                }
                Verdict::NotHere if aliases == 0 => return Step::Ask,
                Verdict::NotHere => {
                    let target = Key::for_name(name, request);
                    return Step::AskFor(Box::new(Alias { target, prefix: writer }));
                }
            }
        }
        writer.finish(Rcode::SERVFAIL);
        Step::Done
    }

    fn reply<'r>(&self, request: &'r Request<'r>, transport: Transport) -> Reply<'r> {
        let payload_bytes = self.config.udp_payload_bytes;
        let limit = match transport {
            Transport::Udp => request.udp_limit(payload_bytes),
            Transport::Tcp => MAX_MESSAGE_BYTES,
        };
        Reply { request, edns: request.response_edns(payload_bytes, 0), limit }
    }
}

/// Puts an answer behind the aliases that lead to it.
fn append(answer: &Answer, mut prefix: Writer<'_>) {
    let rcode = answer.append_to(&mut prefix);
    prefix.finish(rcode);
}

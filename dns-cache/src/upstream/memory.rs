//! An upstream whose answers are scripted.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::RwLock;

use super::{HEADER_BYTES, Upstream, checked_question};
use crate::error::Result;

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const AAAA: u16 = 28;
const NXDOMAIN: u8 = 3;
/// The name of the question, as every answer's owner.
const OWNER: u16 = 0xC00C;

/// A small internet in memory: it answers the names that it was told, and NXDOMAIN with an SOA
/// for all others. Clones share the names.
///
/// ```
/// use dns_cache::upstream::MemoryUpstream;
///
/// let upstream = MemoryUpstream::new();
/// upstream.add_address("www.example.com", 300, "192.0.2.1".parse().unwrap());
/// upstream.add_alias("example.com", 300, "www.example.com");
/// ```
#[derive(Clone, Default)]
pub struct MemoryUpstream {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    names: RwLock<HashMap<Vec<u8>, Vec<Entry>>>,
    negative_ttl_secs: RwLock<Option<u32>>,
    queries: AtomicU64,
}

#[derive(Debug, Clone)]
struct Entry {
    rtype: u16,
    ttl_secs: u32,
    rdata: Bytes,
}

impl MemoryUpstream {
    /// An upstream that knows no name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an A or AAAA record.
    pub fn add_address(&self, name: &str, ttl_secs: u32, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.add(name, A, ttl_secs, address.octets().to_vec()),
            IpAddr::V6(address) => self.add(name, AAAA, ttl_secs, address.octets().to_vec()),
        }
    }

    /// Adds a CNAME record. It is the answer to every type that `name` does not have, and is not
    /// followed.
    pub fn add_alias(&self, name: &str, ttl_secs: u32, target: &str) {
        self.add(name, CNAME, ttl_secs, wire_name(target));
    }

    /// Adds a record of any type by its data in wire form.
    pub fn add(&self, name: &str, rtype: u16, ttl_secs: u32, rdata: Vec<u8>) {
        let entry = Entry { rtype, ttl_secs, rdata: rdata.into() };
        self.shared.names.write().entry(wire_name(name)).or_default().push(entry);
    }

    /// Forgets a name.
    pub fn remove(&self, name: &str) {
        self.shared.names.write().remove(&wire_name(name));
    }

    /// Sets the TTL and the MINIMUM of the SOA in negative answers; 60 s unless set.
    pub fn set_negative_ttl_secs(&self, ttl_secs: u32) {
        *self.shared.negative_ttl_secs.write() = Some(ttl_secs);
    }

    /// How many queries it has answered.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::Relaxed)
    }

    fn answer(&self, query: &[u8], question: &[u8]) -> Bytes {
        let (name, rtype) = question.split_at(question.len() - 4);
        let names = self.shared.names.read();
        let entries = names.get(&name.to_ascii_lowercase());
        let asked = |entry: &&Entry| rtype.starts_with(&entry.rtype.to_be_bytes());
        let mut found: Vec<_> = entries.into_iter().flatten().filter(asked).collect();
        if found.is_empty() {
            found = entries.into_iter().flatten().filter(|entry| entry.rtype == CNAME).collect();
        }
        let rcode = if entries.is_some() { 0 } else { NXDOMAIN };
        let mut out = response(query, question, rcode, found.len());
        for entry in &found {
            entry.put(OWNER, &mut out);
        }
        if found.is_empty() {
            self.soa().put(OWNER, &mut out);
        }
        out.freeze()
    }

    fn soa(&self) -> Entry {
        let ttl_secs = self.shared.negative_ttl_secs.read().unwrap_or(60);
        let mut rdata = vec![0; 2 + 16];
        rdata.extend(ttl_secs.to_be_bytes());
        Entry { rtype: SOA, ttl_secs, rdata: rdata.into() }
    }
}

impl Entry {
    fn put(&self, owner: u16, out: &mut BytesMut) {
        out.put_u16(owner);
        out.put_u16(self.rtype);
        out.put_u16(1);
        out.put_u32(self.ttl_secs);
        out.put_u16(u16::try_from(self.rdata.len()).unwrap_or(u16::MAX));
        out.put_slice(&self.rdata);
    }
}

/// A response with `answers` records to come, or one in the authority section where there are none.
fn response(query: &[u8], question: &[u8], rcode: u8, answers: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(512);
    out.put_slice(query.get(..2).unwrap_or_default());
    let recursion_desired = query.get(2).map_or(0, |flags| flags & 1);
    out.put_slice(&[0x80 | recursion_desired, 0x80 | rcode, 0, 1]);
    out.put_u16(u16::try_from(answers).unwrap_or(u16::MAX));
    out.put_u16(u16::from(answers == 0));
    out.put_u16(0);
    debug_assert_eq!(out.len(), HEADER_BYTES);
    out.put_slice(question);
    out
}

/// A name in wire form and lower case. Labels over 63 bytes never match a question.
fn wire_name(text: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    for label in text.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        wire.extend(label.to_ascii_lowercase().bytes());
    }
    wire.push(0);
    wire
}

#[async_trait]
impl Upstream for MemoryUpstream {
    async fn exchange(&self, query: Bytes) -> Result<Bytes> {
        let question = checked_question(&query)?;
        self.shared.queries.fetch_add(1, Ordering::Relaxed);
        Ok(self.answer(&query, question))
    }
}

impl fmt::Debug for MemoryUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryUpstream").field("queries", &self.queries()).finish_non_exhaustive()
    }
}

//! The resolver: cluster records first, then the cache, then the upstream.

mod driver;
mod local;
mod run;
mod stats;
mod sync;

pub use driver::Driver;
pub use stats::Stats;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use self::local::Shared;
use self::run::{Ask, Run};
use self::sync::Sync;
use crate::config::Config;
use crate::core::cache::{Answer, Key};
#[cfg(feature = "server")]
use crate::core::wire::Rcode;
use crate::core::wire::{Refusal, Request, write_header_only};
use crate::error::{Error, ErrorKind, Result};
use crate::records::Records;
use crate::upstream::Upstream;

/// A caching resolver. Clones are handles of the same one.
///
/// ```
/// use std::sync::Arc;
///
/// use dns_cache::upstream::MemoryUpstream;
/// use dns_cache::wire::{Message, Query, RecordType};
/// use dns_cache::{Config, Resolver, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> dns_cache::Result<()> {
/// let upstream = MemoryUpstream::new();
/// upstream.add_address("www.example.com", 300, "192.0.2.1".parse().unwrap());
/// let (resolver, driver) = Resolver::open(Arc::new(upstream), None, Config::default())?;
/// tokio::spawn(driver);
///
/// let query = Query::new("www.example.com".parse()?, RecordType::A).encode(7);
/// let answer = resolver.resolve(&query, Transport::Tcp).await?;
/// assert_eq!(Message::parse(&answer)?.addresses().count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
    asks: mpsc::Sender<Ask>,
    revision: watch::Receiver<Option<u64>>,
}

/// How a client's query came, which bounds its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The answer has at most the client's EDNS payload size, or 512 bytes without EDNS; what is
    /// longer is truncated.
    Udp,
    /// The answer has at most 65,535 bytes.
    Tcp,
}

/// What a query came to without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The buffer holds the response, of so many bytes.
    Answered(usize),
    /// The upstream must be asked: call [`Resolver::resolve`].
    Miss,
    /// The query deserves no response.
    Drop,
}

impl Resolver {
    /// Opens a resolver over `upstream`, with the cluster's `records` if there are any. Spawn the
    /// driver, or misses wait.
    ///
    /// # Errors
    ///
    /// `Invalid` if a setting is out of its range.
    pub fn open(
        upstream: Arc<dyn Upstream>,
        records: Option<Arc<dyn Records>>,
        config: Config,
    ) -> Result<(Self, Driver)> {
        config.check()?;
        let seed = config.hash_seed.unwrap_or_else(system_seed);
        let (asks, queue) = mpsc::channel(config.max_in_flight);
        let (reached, revision) = watch::channel(None);
        let shared = Arc::new(Shared::new(config, records.is_some(), seed)?);
        let sync = records.map(|records| Sync::new(records, &shared, reached));
        let run = Run::new(Arc::clone(&shared), upstream, queue, sync, seed);
        Ok((Self { shared, asks, revision }, Driver::new(run.run())))
    }

    /// Answers `query` into `out` if that takes no waiting: from the cluster's records, the
    /// cache, or the rules. `now` is the time since [`open`](Self::open), as [`now`](Self::now)
    /// gives it. A hit does not allocate when `out` has room for it.
    pub fn answer_now(
        &self,
        query: &[u8],
        now: Duration,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Outcome {
        // Matched by reference: a request holds its name, and a move would copy it.
        match &Request::parse(query) {
            Ok(request) => self.shared.answer(request, now, transport, out),
            Err(refusal) => self.refuse(query, *refusal, out),
        }
    }

    /// Answers `query`, asking the upstream if need be. A failure of the upstream is a SERVFAIL
    /// response.
    ///
    /// # Errors
    ///
    /// `Malformed` if the query deserves no response, `Closed` if the driver is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the wait; what the upstream answers is still cached.
    pub async fn resolve(&self, query: &[u8], transport: Transport) -> Result<Bytes> {
        let mut out = Vec::new();
        match self.answer_now(query, self.now(), transport, &mut out) {
            Outcome::Answered(_) => Ok(out.into()),
            Outcome::Miss => self.fetch(query, transport).await,
            Outcome::Drop => Err(not_a_query()),
        }
    }

    /// Answers a query that [`answer_now`](Self::answer_now) missed.
    pub(crate) async fn fetch(&self, query: &[u8], transport: Transport) -> Result<Bytes> {
        let request = Request::parse(query).map_err(|_| not_a_query())?;
        let mut out = Vec::new();
        let key = self.shared.local(&request, transport, &mut out).key(&request);
        let Some(key) = key else { return Ok(out.into()) };
        let answer = self.ask(key.clone()).await?;
        self.shared.complete(&request, transport, &key, &answer, &mut out);
        Ok(out.into())
    }

    async fn ask(&self, key: Key) -> Result<Arc<Answer>> {
        let (reply, answer) = oneshot::channel();
        match self.asks.try_send(Ask { key, reply }) {
            Ok(()) => answer.await.map_err(|_| closed()),
            Err(mpsc::error::TrySendError::Full(ask)) => Ok(self.shared.overloaded(&ask.key)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }

    /// Writes SERVFAIL, with the question, for a query that will not be resolved; false if the
    /// query deserves no response. Without the question stub resolvers would take the response for
    /// somebody else's and wait on.
    #[cfg(feature = "server")]
    pub(crate) fn servfail(&self, query: &[u8], out: &mut Vec<u8>) -> bool {
        match &Request::parse(query) {
            Ok(request) => {
                self.shared.empty(request, Rcode::SERVFAIL, out);
                true
            }
            Err(refusal) => self.refuse(query, *refusal, out) != Outcome::Drop,
        }
    }

    /// Waits until the cluster's records are complete up to `revision`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the resolver has no records, `Closed` if the driver is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_for(&self, revision: u64) -> Result<()> {
        if !self.shared.has_records() {
            let why = "the resolver has no records to wait for: open it with some";
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        let mut reached = self.revision.clone();
        let waited = reached.wait_for(|reached| reached.is_some_and(|reached| reached >= revision));
        waited.await.map(|_| ()).map_err(|_| closed())
    }

    /// The revision that the cluster's records have reached, once they are complete.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        *self.revision.borrow()
    }

    /// The time since the resolver was opened, the clock of [`answer_now`](Self::answer_now).
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// What the resolver has done and holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    fn refuse(&self, query: &[u8], refusal: Refusal, out: &mut Vec<u8>) -> Outcome {
        match refusal {
            Refusal::Drop => {
                self.shared.counters.dropped();
                Outcome::Drop
            }
            Refusal::HeaderOnly(rcode) => {
                self.shared.counters.refused();
                write_header_only(query, rcode, out);
                Outcome::Answered(out.len())
            }
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A seed that nobody outside knows: two hashers of the standard library have secret keys.
fn system_seed() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(0));
    half() << 64 | half()
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the resolver's driver is gone: open the resolver again")
}

fn not_a_query() -> Error {
    Error::new(ErrorKind::Malformed, "the message is not a query: drop it")
}

#[cfg(test)]
mod tests;

//! The shell: a cloneable handle, and the driver that follows the source.

mod checkpoint;
mod compare;
mod cursor;
mod driver;
mod feed;
mod fresh;
mod list;
mod list_stream;
mod metrics;
mod pump;
mod relay;
mod run;
mod shared;
mod sink;
mod snapshot;
mod stats;
mod validate;
mod verify;
mod wait;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::core::object::Object;
use crate::core::predicate::Predicate;
use crate::core::schema::Schema;
use crate::core::selector::Selector;
use crate::error::{Error, ErrorKind, Result};
use crate::source::{Freshness, Source};

use run::{Closing, Command};
use shared::Shared;

#[doc(hidden)]
pub use checkpoint::fuzz_checkpoint;
pub use driver::Driver;
pub use list::{At, ListRequest, ListResponse};
pub use list_stream::ListStream;
pub use pump::Pump;
pub use sink::{Delivery, Flow, Sink, Subscription};
pub use snapshot::Snapshot;
pub use stats::{Latency, Stats};
pub use verify::Verification;
pub use watch::{Start, WatchRequest, Watcher};

/// A revision-consistent copy of a source's prefixes. Cloning the handle is cheap.
///
/// ```
/// use std::sync::Arc;
/// use watch_cache::{Cache, Config, ListRequest, MemorySource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> watch_cache::Result<()> {
/// let source = Arc::new(MemorySource::new());
/// let (cache, driver) = Cache::open(source.clone(), vec![], Config::default())?;
/// let driver = tokio::spawn(driver);
///
/// source.put("/pods/a", "running");
/// let pods = cache.list(ListRequest::new("/pods/")).await?; // consistent: sees the put
/// assert_eq!(pods.objects[0].value(), b"running");
///
/// drop(cache);
/// driver.await.unwrap()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Cache {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Cache {
    /// A cache of the prefixes in `config` that follows `source`, and the driver to spawn. Of the
    /// objects it knows what the schema says, or the indexes do.
    ///
    /// Nothing is read before the driver runs.
    ///
    /// # Errors
    ///
    /// `Invalid` if a setting is out of its range, there are more than 65,535 indexes, two of them
    /// have one name, one needs a codec that is not there, or several prefixes are asked of a source
    /// that can only list.
    pub fn open(
        source: Arc<dyn Source>,
        schema: impl Into<Schema>,
        mut config: Config,
    ) -> Result<(Self, Driver)> {
        config.check()?;
        let planner = schema.into().planner()?;
        if config.prefixes.len() > 1 && matches!(source.freshness(), Freshness::ListOnly) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "config: prefixes: a source that can only list has no revision common to \
                 several: open one cache for each",
            ));
        }
        config.prefixes.sort();
        let pumps: Vec<_> = (0..config.pumps).map(|_| mpsc::unbounded_channel()).collect();
        let senders = pumps.iter().map(|(sender, _)| sender.clone()).collect();
        let shared = Arc::new(Shared::new(planner, config, senders));
        let (commands, inbox) = mpsc::unbounded_channel();
        let pump = |errands| Pump::new(Arc::clone(&shared), commands.downgrade(), errands);
        let pumps = pumps.into_iter().map(pump).collect();
        let closing = Closing { shared: Arc::clone(&shared), commands: inbox };
        Ok((Self { shared, commands }, Driver::new(run::run(source, closing), pumps)))
    }

    /// The object at `key`, as last published.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Object> {
        loop {
            // A version that was forgotten meanwhile has a successor that is published.
            if let Ok(found) = self.shared.view().root.get(key) {
                return found;
            }
        }
    }

    /// The state as last published. It stays as it is, whatever happens to the cache.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (view, pin) = self.shared.pinned();
        Snapshot::new(&view, pin, self.shared.planner.clone())
    }

    /// The revision of the state as last published; 0 until the first listing is in.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.shared.view().revision
    }

    /// Counters and sizes, for people and metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The predicate of a request, if the cache can answer it.
    fn predicate(&self, prefix: Bytes, selector: Selector) -> Result<Predicate> {
        let held = &self.shared.config.prefixes;
        if !held.iter().any(|held| prefix.starts_with(held)) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("prefix {prefix:?} is not held: ask within {held:?}"),
            ));
        }
        self.shared.planner.predicate(prefix, selector)
    }
}

//! A cache over a script.

use std::sync::Arc;

use benches::kv_journal::Outcome;
use benches::watch_cache::{Script, by_node, by_phase};
use watch_cache::{Cache, Config};

/// A tenth as many nodes as pods.
const PODS_OF_NODE: u32 = 10;

/// So many pods, ten on a node.
pub(crate) fn script(pods: usize) -> Outcome<Script> {
    let pods = u32::try_from(pods)?;
    Ok(Script::new(pods, (pods / PODS_OF_NODE).max(1)))
}

pub(crate) struct Stack {
    pub(crate) script: Arc<Script>,
    pub(crate) cache: Cache,
}

impl Stack {
    /// A cache of so many pods, ten on a node, with two indexes, its listing applied.
    pub(crate) async fn open(pods: usize) -> Outcome<Self> {
        Self::of(script(pods)?, Config::default()).await
    }

    /// A cache of a script with two indexes, its listing applied.
    pub(crate) async fn of(script: Script, mut config: Config) -> Outcome<Self> {
        let script = Arc::new(script);
        // A round may take long on a busy machine; that is then its figure.
        config.wait_timeout = Config::WAIT_TIMEOUT.max;
        let indexes = vec![by_node(), by_phase()];
        let (cache, mut driver) = Cache::open(script.clone(), indexes, config)?;
        for pump in driver.take_pumps() {
            tokio::spawn(pump);
        }
        tokio::spawn(driver);
        cache.ready().await?;
        Ok(Self { script, cache })
    }
}

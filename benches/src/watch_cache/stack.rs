//! A cache over a script.

use std::sync::Arc;

use watch_cache::{Cache, Config, Source};

use super::{Script, by_node, by_phase};
use crate::kv_journal::Outcome;

/// A tenth as many nodes as pods.
const PODS_OF_NODE: u32 = 10;

/// So many pods, ten on a node.
///
/// # Errors
/// If they are more than 2^32.
pub fn script(pods: usize) -> Outcome<Script> {
    let pods = u32::try_from(pods)?;
    Ok(Script::new(pods, (pods / PODS_OF_NODE).max(1)))
}

/// A cache, and the script that it follows.
#[derive(Debug)]
pub struct Stack {
    /// The source.
    pub script: Arc<Script>,
    /// The cache.
    pub cache: Cache,
}

impl Stack {
    /// A cache of so many pods, ten on a node, with two indexes, its listing applied.
    ///
    /// # Errors
    /// Those of the cache.
    pub async fn open(pods: usize) -> Outcome<Self> {
        Self::of(script(pods)?, Config::default()).await
    }

    /// A cache of a script with two indexes, its listing applied.
    ///
    /// # Errors
    /// Those of the cache.
    pub async fn of(script: Script, config: Config) -> Outcome<Self> {
        let script = Arc::new(script);
        let cache = open(script.clone(), config).await?;
        Ok(Self { script, cache })
    }
}

/// A cache of a source with two indexes, its listing applied.
///
/// # Errors
/// Those of the cache.
pub async fn open(source: Arc<dyn Source>, mut config: Config) -> Outcome<Cache> {
    // A round may take long on a busy machine; that is then its figure.
    config.wait_timeout = Config::WAIT_TIMEOUT.max;
    // The driver runs a single one itself: an event then wakes one task and not two.
    let pumps = config.pumps;
    let (cache, mut driver) = Cache::open(source, vec![by_node(), by_phase()], config)?;
    if pumps > 1 {
        driver.take_pumps().into_iter().for_each(|pump| drop(tokio::spawn(pump)));
    }
    tokio::spawn(driver);
    cache.ready().await?;
    Ok(cache)
}

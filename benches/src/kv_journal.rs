//! Seeded workloads for `kv-journal`, and the stores that they run on.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use kv_journal::{
    Components, Config, FileCheckpoints, FileCheckpointsConfig, FileConfig, FileJournal,
};
use kv_journal::{Journal, PutRequest, Result, Store};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::SEED;

/// What a bench fails with.
pub type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Puts that are under way at a time when a store is filled.
const FILL: usize = 4096;

/// Keys as an API server has them, in ascending order.
#[must_use]
pub fn keys(count: usize) -> Vec<Bytes> {
    let key = |i| Bytes::from(format!("/registry/pods/team-{:04}/worker-{i:07}", i / 2500));
    (0..count).map(key).collect()
}

/// The same keys in the order in which they came to be: none.
#[must_use]
pub fn shuffled(mut keys: Vec<Bytes>) -> Vec<Bytes> {
    keys.shuffle(&mut StdRng::seed_from_u64(SEED));
    keys
}

/// Random values of `len` bytes.
#[must_use]
pub fn values(count: usize, len: usize) -> Vec<Bytes> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut value = || {
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        Bytes::from(bytes)
    };
    (0..count).map(|_| value()).collect()
}

/// `count` of `keys`, drawn evenly and with repetition.
#[must_use]
pub fn sample(keys: &[Bytes], count: usize) -> Vec<Bytes> {
    let mut rng = StdRng::seed_from_u64(SEED + 1);
    (0..count).map(|_| keys[rng.random_range(0..keys.len())].clone()).collect()
}

/// Puts every key once, `in_flight` at a time, with the values in turn.
///
/// # Errors
/// Of the first put that fails.
pub async fn put_all(
    store: &Store,
    keys: &[Bytes],
    values: &[Bytes],
    in_flight: usize,
) -> Result<()> {
    let puts = keys.iter().zip(values.iter().cycle());
    stream::iter(puts)
        .map(|(key, value)| store.put(PutRequest::new(key.clone(), value.clone())))
        .buffer_unordered(in_flight)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
}

/// The runtime of every bench: a worker for each of two cores.
///
/// # Errors
/// If the system has no threads left.
pub fn runtime() -> Outcome<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// What a store in a directory keeps there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A journal, of which a start replays all.
    Journal,
    /// A journal and checkpoints, made as the default settings say.
    Checkpoints,
}

/// The parts of the store in `directory`.
///
/// # Errors
/// If one of them does not open.
pub async fn components(directory: &Path, durability: Durability) -> Outcome<Components> {
    let journal = FileJournal::open(directory.join("journal"), FileConfig::default()).await?;
    let components = Components::new(Arc::new(journal));
    Ok(match durability {
        Durability::Journal => components,
        Durability::Checkpoints => {
            let directory = directory.join("checkpoints");
            let checkpoints = FileCheckpoints::open(directory, FileCheckpointsConfig::default());
            components.checkpoints(Arc::new(checkpoints.await?))
        }
    })
}

/// A store whose driver runs.
pub struct Running {
    /// The handle.
    pub store: Store,
    driver: JoinHandle<Result<()>>,
}

impl Running {
    /// Opens a store on `journal` and spawns its driver.
    ///
    /// # Errors
    /// If the store does not open.
    pub async fn open(journal: impl Journal) -> Outcome<Self> {
        Self::open_with(Components::new(Arc::new(journal)), Config::default()).await
    }

    /// The same, on any components and with any settings.
    ///
    /// # Errors
    /// If the store does not open.
    pub async fn open_with(components: Components, config: Config) -> Outcome<Self> {
        let (store, driver) = Store::open_with(components, config).await?;
        Ok(Self { store, driver: tokio::spawn(driver) })
    }

    /// Opens the store in `directory`.
    ///
    /// # Errors
    /// If its parts or the store do not open.
    pub async fn open_file(directory: &Path, durability: Durability) -> Outcome<Self> {
        Self::open_with(components(directory, durability).await?, Config::default()).await
    }

    /// Puts every one of `keys` once, with the values in turn.
    ///
    /// # Errors
    /// If a put fails.
    pub async fn fill(&self, keys: &[Bytes], values: &[Bytes]) -> Outcome<()> {
        Ok(put_all(&self.store, keys, values, FILL).await?)
    }

    /// A store on `journal` with every one of `keys` put once, with the values in turn.
    ///
    /// # Errors
    /// If the store does not open or a put fails.
    pub async fn filled(journal: impl Journal, keys: &[Bytes], values: &[Bytes]) -> Outcome<Self> {
        let running = Self::open(journal).await?;
        running.fill(keys, values).await?;
        Ok(running)
    }

    /// Ends the driver, which frees the directory.
    ///
    /// # Errors
    /// If the driver has failed.
    pub async fn close(self) -> Outcome<()> {
        drop(self.store);
        Ok(self.driver.await??)
    }
}

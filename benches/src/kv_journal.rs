//! Seeded workloads for `kv-journal`.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use kv_journal::{PutRequest, Result, Store};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::SEED;

/// Keys as an API server has them, in ascending order.
#[must_use]
pub fn keys(count: usize) -> Vec<Bytes> {
    let key = |i| Bytes::from(format!("/registry/pods/team-{:04}/worker-{i:07}", i / 2500));
    (0..count).map(key).collect()
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

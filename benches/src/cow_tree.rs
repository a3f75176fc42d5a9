//! Seeded workloads for `cow-tree`.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::SEED;

/// Keys as an API server has them, in ascending order: a few hundred namespaces with pods.
#[must_use]
pub fn sorted_keys(count: u32) -> Vec<Bytes> {
    let key = |i: u32| {
        let (namespace, pod) = (i / 2500, i % 2500);
        Bytes::from(format!("/registry/pods/team-{namespace:04}/worker-{pod:06}"))
    };
    (0..count).map(key).collect()
}

/// The same keys in random order.
#[must_use]
pub fn shuffled_keys(count: u32) -> Vec<Bytes> {
    let mut keys = sorted_keys(count);
    keys.shuffle(&mut StdRng::seed_from_u64(SEED));
    keys
}

/// Keys to look up or write to, drawn evenly and with repetition.
#[must_use]
pub fn sample(keys: &[Bytes], count: usize) -> Vec<Bytes> {
    let mut rng = StdRng::seed_from_u64(SEED + 1);
    (0..count).map(|_| keys[rng.random_range(0..keys.len())].clone()).collect()
}

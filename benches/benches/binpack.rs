//! Benches of `binpack` on seeded workloads: a plan, its validation, the check of its certificate.

use std::hint::black_box;

use benches::binpack::{cluster, karpenter};
use binpack::{Config, Input, plan, validate, verify};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The step limit keeps a round short; `binpack-bar` measures plans that are optimised.
fn quick() -> Config {
    let mut config = Config::default();
    config.iterations = 16;
    config
}

fn bench(c: &mut Criterion) {
    let cases = [
        ("mix_8k_on_1000_nodes", cluster::mixed(8_152, 1_000)),
        ("tied_10k_on_2000_nodes", cluster::tied(10_000, 2_000)),
        ("karpenter_1k", karpenter::diverse(1_000)),
    ];
    for (name, input) in &cases {
        case(c, name, input);
    }
}

fn case(c: &mut Criterion, name: &str, input: &Input) {
    let Ok(made) = plan(input, &quick()) else { return };
    let mut group = c.benchmark_group(name);
    group.sample_size(10).throughput(Throughput::Elements(input.pods.len() as u64));
    group.bench_function("plan", |b| b.iter(|| black_box(plan(input, &quick()))));
    group.bench_function("validate", |b| b.iter(|| black_box(validate(input, &made))));
    group.bench_function("verify", |b| b.iter(|| black_box(verify(input, &made))));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

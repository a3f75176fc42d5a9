//! Benches of `binpack`: the time of a plan, and its cost against a simple rival.

use std::hint::black_box;

use benches::binpack::{first_fit_baseline, mixed, plain};
use binpack::{Config, Input, plan, validate};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The plan's cost, and the rival's: printed once, for a bench measures time.
#[expect(clippy::cast_precision_loss, reason = "dollars to print")]
fn cost(name: &str, input: &Input) {
    let Ok(plan) = plan(input, &Config::default()) else {
        return;
    };
    let alone = Input { nodes: Vec::new(), ..input.clone() };
    let Ok(launched) = binpack::plan(&alone, &Config::default()) else {
        return;
    };
    let rival = first_fit_baseline(&alone);
    println!(
        "{name}: {} pods, {} launches, {:.2} $/h; on new nodes alone {:.2} $/h, Karpenter-like first fit {:.2} $/h",
        plan.bindings.len(),
        plan.launches.len(),
        plan.cost_per_hour(),
        launched.cost_per_hour(),
        rival as f64 / 1e6,
    );
}

fn bench(c: &mut Criterion) {
    let cases = [
        ("mix_8k_on_1000_nodes", mixed(8_152, 1_000)),
        ("plain_20k", plain(20_000)),
        ("mix_5k", mixed(5_000, 0)),
    ];
    let mut group = c.benchmark_group("plan");
    group.sample_size(10);
    for (name, input) in &cases {
        cost(name, input);
        group.throughput(Throughput::Elements(input.pods.len() as u64));
        group.bench_function(*name, |b| b.iter(|| black_box(plan(input, &Config::default()))));
    }
    group.finish();

    let mut group = c.benchmark_group("validate");
    group.sample_size(10);
    for (name, input) in &cases {
        if let Ok(plan) = plan(input, &Config::default()) {
            group.throughput(Throughput::Elements(input.pods.len() as u64));
            group.bench_function(*name, |b| b.iter(|| black_box(validate(input, &plan))));
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

//! A built-in mix of pods, from published figures.

use crate::model::{Pod, Resources};
use crate::random::SplitMix;

const MIB: u64 = 1 << 20;

/// Karpenter's scheduling benchmark (`scheduling_benchmark_test.go`) draws CPU and memory evenly
/// from these.
const BENCH_CPU_MILLI: [u64; 5] = [100, 250, 500, 1_000, 1_500];
const BENCH_MEMORY_MIB: [u64; 6] = [100, 256, 512, 1_024, 2_048, 4_096];

/// CPU milli and memory MiB of deployments in Karpenter's "wide deployments" end-to-end suite.
const WIDE: [(u64, u64); 12] = [
    (240, 300),
    (650, 700),
    (900, 1_024),
    (1_400, 2_048),
    (1_900, 4_096),
    (2_400, 8_192),
    (2_800, 4_096),
    (3_300, 16_384),
    (3_700, 10_240),
    (1_850, 20_480),
    (3_800, 300),
    (2_800, 24_576),
];

/// CPU milli, memory MiB, GPU thousandths and how many of the 8,152 pods of Alibaba's GPU trace
/// of 2023 (openb; Weng et al., ATC '23) have this shape: its most frequent ones.
const OPENB_GPU: [(u64, u64, u64, u64); 8] = [
    (3_152, 5_600, 810, 1_047),
    (11_300, 49_152, 1_000, 857),
    (11_400, 48_128, 1_000, 534),
    (3_152, 5_600, 1_000, 470),
    (11_908, 47_104, 470, 388),
    (8_000, 30_517, 470, 360),
    (4_000, 22_888, 320, 111),
    (12_000, 24_576, 1_000, 158),
];

/// `n` pods named `mix-0` on: 70 % in the shapes of Karpenter's scheduling benchmark, 26 % in
/// those of its wide deployments, and 4 % GPU pods in the most frequent shapes of Alibaba's trace
/// of 2023, half of which share a GPU. The same `n` and `seed` give the same pods.
///
/// ```
/// let pods = binpack::workload::mix(1_000, 42);
/// assert_eq!(pods, binpack::workload::mix(1_000, 42));
/// assert!(pods.iter().any(|pod| pod.requests.gpu_milli > 0));
/// ```
#[must_use]
pub fn mix(n: usize, seed: u64) -> Vec<Pod> {
    let mut random = SplitMix::new(seed);
    (0..n).map(|i| Pod::new(format!("mix-{i}"), shape(&mut random).with_pods(1))).collect()
}

fn shape(random: &mut SplitMix) -> Resources {
    match random.below(100) {
        0..70 => {
            Resources::new(*pick(random, &BENCH_CPU_MILLI), *pick(random, &BENCH_MEMORY_MIB) * MIB)
        }
        70..96 => {
            let (cpu_milli, memory_mib) = *pick(random, &WIDE);
            Resources::new(cpu_milli, memory_mib * MIB)
        }
        _ => gpu_shape(random),
    }
}

fn gpu_shape(random: &mut SplitMix) -> Resources {
    let total = OPENB_GPU.iter().map(|(.., count)| count).sum();
    let mut at = random.below(total);
    let mut chosen = OPENB_GPU[0];
    for shape in OPENB_GPU {
        if at < shape.3 {
            chosen = shape;
            break;
        }
        at -= shape.3;
    }
    let (cpu_milli, memory_mib, gpu_milli, _) = chosen;
    Resources::new(cpu_milli, memory_mib * MIB).with_gpu_milli(gpu_milli)
}

fn pick<'a, T>(random: &mut SplitMix, from: &'a [T]) -> &'a T {
    &from[random.index(from.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_as_documented() {
        let pods = mix(10_000, 7);
        let gpu = pods.iter().filter(|pod| pod.requests.gpu_milli > 0).count();
        let shared = pods.iter().filter(|pod| (1..1_000).contains(&pod.requests.gpu_milli)).count();
        assert!((300..500).contains(&gpu), "{gpu} of 10,000 use a GPU");
        assert!((gpu * 4 / 10..gpu * 6 / 10).contains(&shared), "{shared} of {gpu} share one");
        assert_ne!(mix(100, 1), mix(100, 2));
    }
}

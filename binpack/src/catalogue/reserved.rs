//! What the system keeps of a machine.

/// Thousandths of cores that Amazon's EKS image and Google's GKE keep alike: 6 % of the first
/// core, 1 % of the second, 0.5 % of the next two and 0.25 % of the rest.
pub(super) fn cpu_milli(vcpu: u64) -> u64 {
    let cores = |from: u64, to: u64| vcpu.clamp(from, to) - from;
    let tenths = 600 * cores(0, 1) + 100 * cores(1, 2) + 50 * cores(2, 4) + 25 * cores(4, u64::MAX);
    tenths / 10
}

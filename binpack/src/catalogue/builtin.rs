//! A table of facts about common AWS families.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Catalogue, reserved};
use crate::error::Result;
use crate::model::{CapacityType, GPU_MILLI, InstanceType, Offering, Resources, key, labels};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A built-in catalogue of common AWS families at on-demand prices of us-east-1.
///
/// The facts are a few numbers per family: AWS's public on-demand price per vCPU, GiB of memory
/// per vCPU, and the sizes; what a size has and costs follows by arithmetic, because AWS prices
/// these families linearly. GPU families are not linear and list a price for each size. What the
/// system keeps back follows the rules of Amazon's EKS image and Karpenter: 6 % of the first core,
/// 1 % of the second, 0.5 % of the next two and 0.25 % of the rest; 7.5 % of memory for the
/// hypervisor (on arm64 of all but 64 MiB), then 255 MiB plus 11 MiB per pod, and 100 MiB before
/// eviction; of a 20 GiB disk
/// 1 GiB and 10 %. Prices are those of mid-2026; a list price that changes is not noticed here.
///
/// Every type is offered on demand in three zones. There is no spot price, for it is no constant:
/// use a [`CsvCatalogue`](super::CsvCatalogue) for spot.
#[derive(Debug, Clone)]
pub struct BuiltinCatalogue {
    types: Arc<[InstanceType]>,
}

impl BuiltinCatalogue {
    /// The zones of every offering.
    pub const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

    /// The table.
    #[must_use]
    pub fn new() -> Self {
        let linear = FAMILIES.iter().flat_map(Family::types);
        let gpu = GPU_SIZES.iter().map(GpuSize::instance_type);
        Self { types: linear.chain(gpu).collect() }
    }

    /// The types: families in the table's order, sizes ascending.
    #[must_use]
    pub fn types(&self) -> Arc<[InstanceType]> {
        self.types.clone()
    }
}

impl Default for BuiltinCatalogue {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Catalogue for BuiltinCatalogue {
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>> {
        Ok(self.types.clone())
    }
}

/// A family that AWS prices by the vCPU.
struct Family {
    name: &'static str,
    arch: &'static str,
    /// Millionths of a dollar per vCPU and hour.
    vcpu_micros: u64,
    gib_per_vcpu: u64,
    /// In vCPUs.
    sizes: &'static [u64],
}

const fn family(
    name: &'static str,
    arch: &'static str,
    vcpu_micros: u64,
    gib_per_vcpu: u64,
    sizes: &'static [u64],
) -> Family {
    Family { name, arch, vcpu_micros, gib_per_vcpu, sizes }
}

const TO_16XL: &[u64] = &[1, 2, 4, 8, 16, 32, 48, 64];
const TO_32XL: &[u64] = &[2, 4, 8, 16, 32, 48, 64, 96, 128];
const A_TO_48XL: &[u64] = &[2, 4, 8, 16, 32, 48, 64, 96, 128, 192];
const I_TO_48XL: &[u64] = &[2, 4, 8, 16, 32, 48, 64, 96, 192];
const G_TO_48XL: &[u64] = &[1, 2, 4, 8, 16, 32, 48, 64, 96, 192];

const FAMILIES: &[Family] = &[
    family("c6i", "amd64", 42_500, 2, TO_32XL),
    family("c6a", "amd64", 38_250, 2, A_TO_48XL),
    family("c6g", "arm64", 34_000, 2, TO_16XL),
    family("c7i", "amd64", 44_625, 2, I_TO_48XL),
    family("c7a", "amd64", 51_320, 2, A_TO_48XL),
    family("c7g", "arm64", 36_250, 2, TO_16XL),
    family("c8g", "arm64", 39_880, 2, G_TO_48XL),
    family("m6i", "amd64", 48_000, 4, TO_32XL),
    family("m6a", "amd64", 43_200, 4, A_TO_48XL),
    family("m6g", "arm64", 38_500, 4, TO_16XL),
    family("m7i", "amd64", 50_400, 4, I_TO_48XL),
    family("m7a", "amd64", 57_960, 4, A_TO_48XL),
    family("m7g", "arm64", 40_800, 4, TO_16XL),
    family("m8g", "arm64", 44_880, 4, G_TO_48XL),
    family("r6i", "amd64", 63_000, 8, TO_32XL),
    family("r6a", "amd64", 56_700, 8, A_TO_48XL),
    family("r6g", "arm64", 50_400, 8, TO_16XL),
    family("r7i", "amd64", 66_150, 8, I_TO_48XL),
    family("r7a", "amd64", 76_075, 8, A_TO_48XL),
    family("r7g", "arm64", 53_550, 8, TO_16XL),
    family("r8g", "arm64", 58_910, 8, G_TO_48XL),
];

impl Family {
    fn types(&self) -> impl Iterator<Item = InstanceType> {
        self.sizes.iter().map(|vcpu| {
            let machine = Machine {
                family: self.name,
                arch: self.arch,
                vcpu: *vcpu,
                gib: vcpu * self.gib_per_vcpu,
                max_pods: max_pods(*vcpu),
                gpus: 0,
                gpu_name: "",
            };
            machine.instance_type(vcpu * self.vcpu_micros)
        })
    }
}

/// Network interfaces × (addresses of each − 1) + 2, which Nitro machines of these generations
/// have by size: 2×4, 3×10, 4×15, 8×30 and 15×50.
fn max_pods(vcpu: u64) -> u64 {
    match vcpu {
        0..=1 => 8,
        2..=3 => 29,
        4..=15 => 58,
        16..=63 => 234,
        _ => 737,
    }
}

/// One size of a GPU family.
struct GpuSize {
    family: &'static str,
    gpu_name: &'static str,
    vcpu: u64,
    gib: u64,
    gpus: u64,
    max_pods: u64,
    price_micros: u64,
}

const fn gpu(
    (family, gpu_name): (&'static str, &'static str),
    vcpu: u64,
    gib: u64,
    gpus: u64,
    max_pods: u64,
    price_micros: u64,
) -> GpuSize {
    GpuSize { family, gpu_name, vcpu, gib, gpus, max_pods, price_micros }
}

const G4DN: (&str, &str) = ("g4dn", "t4");
const G5: (&str, &str) = ("g5", "a10g");
const G6: (&str, &str) = ("g6", "l4");

const GPU_SIZES: &[GpuSize] = &[
    gpu(G4DN, 4, 16, 1, 29, 526_000),
    gpu(G4DN, 8, 32, 1, 29, 752_000),
    gpu(G4DN, 16, 64, 1, 29, 1_204_000),
    gpu(G4DN, 32, 128, 1, 58, 2_176_000),
    gpu(G4DN, 48, 192, 4, 234, 3_912_000),
    gpu(G4DN, 64, 256, 1, 58, 4_352_000),
    gpu(G5, 4, 16, 1, 58, 1_006_000),
    gpu(G5, 8, 32, 1, 58, 1_212_000),
    gpu(G5, 16, 64, 1, 234, 1_624_000),
    gpu(G5, 32, 128, 1, 234, 2_448_000),
    gpu(G5, 48, 192, 4, 737, 5_672_000),
    gpu(G5, 64, 256, 1, 234, 4_096_000),
    gpu(G5, 96, 384, 4, 737, 8_144_000),
    gpu(G5, 192, 768, 8, 345, 16_288_000),
    gpu(G6, 4, 16, 1, 58, 804_800),
    gpu(G6, 8, 32, 1, 58, 977_600),
    gpu(G6, 16, 64, 1, 234, 1_323_200),
    gpu(G6, 32, 128, 1, 234, 2_014_400),
    gpu(G6, 48, 192, 4, 234, 4_601_600),
    gpu(G6, 64, 256, 1, 737, 3_396_800),
    gpu(G6, 96, 384, 4, 737, 6_675_200),
    gpu(G6, 192, 768, 8, 737, 13_350_400),
    gpu(("p4d", "a100"), 96, 1_152, 8, 737, 21_957_600),
    gpu(("p5", "h100"), 192, 2_048, 8, 100, 55_040_000),
];

impl GpuSize {
    fn instance_type(&self) -> InstanceType {
        let machine = Machine {
            family: self.family,
            arch: "amd64",
            vcpu: self.vcpu,
            gib: self.gib,
            max_pods: self.max_pods,
            gpus: self.gpus,
            gpu_name: self.gpu_name,
        };
        machine.instance_type(self.price_micros)
    }
}

/// What a size has; the rest follows.
struct Machine {
    family: &'static str,
    arch: &'static str,
    vcpu: u64,
    gib: u64,
    max_pods: u64,
    gpus: u64,
    gpu_name: &'static str,
}

impl Machine {
    fn instance_type(&self, price_micros: u64) -> InstanceType {
        let name = format!("{}.{}", self.family, self.size());
        let capacity = Resources::new(self.vcpu * 1_000, self.gib * GIB)
            .with_pods(self.max_pods)
            .with_ephemeral_bytes(20 * GIB)
            .with_gpu_milli(self.gpus * GPU_MILLI);
        let mut it = InstanceType::new(name.clone(), capacity).with_allocatable(self.allocatable());
        it.labels = self.labels(&name);
        it.offerings = BuiltinCatalogue::ZONES
            .map(|zone| Offering::new(zone, CapacityType::OnDemand, price_micros))
            .to_vec();
        it
    }

    /// AWS names sizes by their multiple of four vCPUs.
    fn size(&self) -> String {
        match self.vcpu {
            1 => "medium".into(),
            2 => "large".into(),
            4 => "xlarge".into(),
            vcpu => format!("{}xlarge", vcpu / 4),
        }
    }

    fn allocatable(&self) -> Resources {
        // Linux on arm64 sets 64 MiB aside for contiguous allocations.
        let contiguous = if self.arch == "arm64" { 64 * MIB } else { 0 };
        let after_hypervisor = (self.gib * GIB - contiguous) / 1_000 * 925;
        let kept_memory = (255 + 11 * self.max_pods + 100) * MIB;
        Resources::new(
            self.vcpu * 1_000 - reserved::cpu_milli(self.vcpu),
            after_hypervisor.saturating_sub(kept_memory),
        )
        .with_pods(self.max_pods)
        .with_ephemeral_bytes((20 - 1 - 2) * GIB)
        .with_gpu_milli(self.gpus * GPU_MILLI)
    }

    fn labels(&self, name: &str) -> crate::model::Labels {
        let digits: String = self.family.chars().filter(char::is_ascii_digit).collect();
        let category: String = self.family.chars().take(1).collect();
        let mut all = labels([
            (key::OS, "linux"),
            (key::ARCH, self.arch),
            (key::INSTANCE_TYPE, name),
            (key::INSTANCE_FAMILY, self.family),
            (key::INSTANCE_CATEGORY, &category),
            (key::INSTANCE_GENERATION, &digits),
            (key::INSTANCE_SIZE, &self.size()),
            (key::INSTANCE_CPU, &self.vcpu.to_string()),
            (key::INSTANCE_MEMORY, &(self.gib * 1_024).to_string()),
        ]);
        if self.gpus > 0 {
            all.extend(labels([
                (key::INSTANCE_GPU_NAME, self.gpu_name),
                (key::INSTANCE_GPU_COUNT, &self.gpus.to_string()),
            ]));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_by_arithmetic() {
        let types = BuiltinCatalogue::new().types();
        let of = |name: &str| types.iter().find(|it| &*it.name == name).expect("in the table");
        let large = of("m7i.large");
        assert_eq!(
            (large.offerings[0].price_micros, large.capacity.memory_bytes),
            (100_800, 8 << 30)
        );
        assert_eq!(
            (large.allocatable.cpu_milli, large.allocatable.memory_bytes >> 20),
            (1_930, 6_903)
        );
        assert_eq!(of("c7i.48xlarge").allocatable.cpu_milli, 191_450);
        assert_eq!(of("p5.48xlarge").allocatable.gpu_milli, 8_000);
        assert_eq!(of("g5.xlarge").labels[key::INSTANCE_GPU_NAME].as_ref(), "a10g");
    }
}

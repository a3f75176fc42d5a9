//! The form of Google Compute Engine's prices, and what each machine type has.

use super::{Form, GIB, MIB};
use crate::catalogue::reserved;
use crate::error::Result;
use crate::model::{GPU_MILLI, InstanceType, Resources, key, labels};
use crate::table::Row;

pub(super) const FORM: Form = Form {
    name: "Google Compute Engine",
    mark: "vcpu_from_name",
    columns: &["name", "vcpu_from_name", "od_usd_per_hour", "preemptible_usd_per_hour"],
    zones: &["us-central1-a", "us-central1-b", "us-central1-c"],
    prices: ["od_usd_per_hour", "preemptible_usd_per_hour"],
    instance_type,
};

/// The most vCPUs of a machine: a hundred times the largest one, whose memory is still a quantity.
const MAX_VCPU: u64 = 100_000;

/// Classes whose memory follows from the vCPUs: thousandths of a GiB for each.
///
/// Source of all tables: Google's pages on machine families ("Machine families resource and
/// comparison guide" and those of each family), as of mid-2026.
const RATIOS: &[(&str, &[(&str, u64)])] = &[
    ("c2", &[("standard", 4_000)]),
    ("c2d", &[("highcpu", 2_000), ("standard", 4_000), ("highmem", 8_000)]),
    ("c3", &[("highcpu", 2_000), ("standard", 4_000), ("highmem", 8_000)]),
    ("c3d", &[("highcpu", 2_000), ("standard", 4_000), ("highmem", 8_000)]),
    ("c4", &[("highcpu", 2_000), ("standard", 3_750), ("highmem", 7_750)]),
    ("c4a", &[("highcpu", 2_000), ("standard", 4_000), ("highmem", 8_000)]),
    ("e2", &[("highcpu", 1_000), ("standard", 4_000), ("highmem", 8_000)]),
    ("h3", &[("standard", 4_000)]),
    ("h4d", &[("standard", 3_750), ("highmem", 7_750)]),
    ("m1", &[("ultramem", 24_025)]),
    ("m3", &[("megamem", 15_250), ("ultramem", 30_500)]),
    ("n1", &[("highcpu", 900), ("standard", 3_750), ("highmem", 6_500)]),
    ("n2", &[("highcpu", 1_000), ("standard", 4_000), ("highmem", 8_000)]),
    ("n2d", &[("highcpu", 1_000), ("standard", 4_000), ("highmem", 8_000)]),
    ("n4", &[("highcpu", 2_000), ("standard", 4_000), ("highmem", 8_000)]),
    ("t2a", &[("standard", 4_000)]),
    ("t2d", &[("standard", 4_000)]),
    ("z3", &[("highmem", 8_000)]),
];

/// What follows a number of vCPUs in a name and says nothing of CPU and memory: local disks.
const DISKS: [&str; 4] = ["", "lssd", "standardlssd", "highlssd"];

/// Families whose processors are Arm's.
const ARM64: [&str; 2] = ["c4a", "t2a"];

/// Machine types by name: vCPUs, thousandths of a GiB of memory.
const SIZES: &[(&str, u64, u64)] = &[
    ("c3d-highcpu-30", 30, 59_000),
    ("c3d-highcpu-60", 60, 118_000),
    ("c3d-highcpu-90", 90, 177_000),
    ("c3d-highcpu-180", 180, 354_000),
    ("c3d-highcpu-360", 360, 708_000),
    ("c4-standard-2", 2, 7_000),
    ("c4-highmem-2", 2, 15_000),
    ("e2-micro", 2, 1_000),
    ("e2-small", 2, 2_000),
    ("e2-medium", 2, 4_000),
    ("m1-megamem-96", 96, 1_433_600),
    ("m2-megamem-416", 416, 5_888_000),
    ("m2-hypermem-416", 416, 8_832_000),
    ("m2-ultramem-208", 208, 5_888_000),
    ("m2-ultramem-416", 416, 11_776_000),
    ("n2-highmem-128", 128, 864_000),
];

/// GPUs: the label [`key::INSTANCE_GPU_NAME`] and that of GKE.
type Gpu = (&'static str, &'static str);
const A100: Gpu = ("a100", "nvidia-tesla-a100");
const A100_80: Gpu = ("a100", "nvidia-a100-80gb");
const H100: Gpu = ("h100", "nvidia-h100-80gb");
const H100_MEGA: Gpu = ("h100", "nvidia-h100-mega-80gb");
const L4: Gpu = ("l4", "nvidia-l4");

/// Machine types with GPUs: vCPUs, GiB of memory, GPUs.
const GPU_SIZES: &[(&str, u64, u64, u64, Gpu)] = &[
    ("a2-highgpu-1g", 12, 85, 1, A100),
    ("a2-highgpu-2g", 24, 170, 2, A100),
    ("a2-highgpu-4g", 48, 340, 4, A100),
    ("a2-highgpu-8g", 96, 680, 8, A100),
    ("a2-megagpu-16g", 96, 1_360, 16, A100),
    ("a2-ultragpu-1g", 12, 170, 1, A100_80),
    ("a2-ultragpu-2g", 24, 340, 2, A100_80),
    ("a2-ultragpu-4g", 48, 680, 4, A100_80),
    ("a2-ultragpu-8g", 96, 1_360, 8, A100_80),
    ("a3-highgpu-1g", 26, 234, 1, H100),
    ("a3-highgpu-2g", 52, 468, 2, H100),
    ("a3-highgpu-4g", 104, 936, 4, H100),
    ("a3-highgpu-8g", 208, 1_872, 8, H100),
    ("a3-megagpu-8g", 208, 1_872, 8, H100_MEGA),
    ("g2-standard-4", 4, 16, 1, L4),
    ("g2-standard-8", 8, 32, 1, L4),
    ("g2-standard-12", 12, 48, 1, L4),
    ("g2-standard-16", 16, 64, 1, L4),
    ("g2-standard-24", 24, 96, 2, L4),
    ("g2-standard-32", 32, 128, 1, L4),
    ("g2-standard-48", 48, 192, 4, L4),
    ("g2-standard-96", 96, 384, 8, L4),
];

/// Pods per node, GKE's default.
const MAX_PODS: u64 = 110;

/// The file system of GKE's default boot disk of 100 GB and what is left of it for pods: the
/// example in "Plan GKE Standard node sizes".
const DISK_BYTES: u64 = 98_831_908 << 10;
const DISK_LEFT_BYTES: u64 = 47_060_071_478;

/// What a machine type has.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    vcpu: u64,
    memory_bytes: u64,
    gpus: Option<(u64, Gpu)>,
}

fn instance_type(row: &Row<'_>) -> Result<Option<InstanceType>> {
    let name = row.name("name")?;
    let said = row.optional("vcpu_from_name", MAX_VCPU)?;
    let Some(machine) = machine(name, said) else { return Ok(None) };
    if said.is_some_and(|said| said != machine.vcpu) {
        let problem = format!("is not {}, which {name} has: correct it", machine.vcpu);
        return Err(row.wrong("vcpu_from_name", problem));
    }
    let devices = machine.gpus.map_or(0, |(gpus, _)| gpus * GPU_MILLI);
    let all = |cpu_milli, memory, disk| {
        Resources::new(cpu_milli, memory)
            .with_pods(MAX_PODS)
            .with_ephemeral_bytes(disk)
            .with_gpu_milli(devices)
    };
    let kept_memory = kept_memory(machine.memory_bytes);
    let mut it =
        InstanceType::new(name, all(machine.vcpu * 1_000, machine.memory_bytes, DISK_BYTES))
            .with_allocatable(all(
                (machine.vcpu * 1_000).saturating_sub(kept_cpu(name, machine.vcpu)),
                machine.memory_bytes.saturating_sub(kept_memory),
                DISK_LEFT_BYTES,
            ));
    label(&mut it, &machine);
    Ok(Some(it))
}

/// What a machine type of this name has, with these vCPUs unless the tables know better; `None`
/// where the tables don't tell, as for machines to measure (`custom`) and the shared cores of the
/// first generation (`f1-micro`, `g1-small`), which GKE does not provision on its own.
fn machine(name: &str, vcpu: Option<u64>) -> Option<Machine> {
    if let Some((_, vcpu, gib, gpus, gpu)) = GPU_SIZES.iter().find(|(known, ..)| *known == name) {
        return Some(Machine { vcpu: *vcpu, memory_bytes: gib * GIB, gpus: Some((*gpus, *gpu)) });
    }
    let of = |vcpu: u64, gib_milli: u64| {
        let memory_bytes = u64::try_from(u128::from(gib_milli) * u128::from(GIB) / 1_000).ok()?;
        Some(Machine { vcpu, memory_bytes, gpus: None })
    };
    if let Some((_, vcpu, gib_milli)) = SIZES.iter().find(|(known, ..)| *known == name) {
        return of(*vcpu, *gib_milli);
    }
    let mut parts = name.splitn(4, '-');
    let (family, class, size) = (parts.next()?, parts.next()?, parts.next()?);
    let vcpu = vcpu.filter(|vcpu| *vcpu > 0 && size.parse() == Ok(*vcpu))?;
    if !DISKS.contains(&parts.next().unwrap_or_default()) {
        return None;
    }
    let (_, classes) = RATIOS.iter().find(|(known, _)| *known == family)?;
    let (_, ratio) = classes.iter().find(|(known, _)| *known == class)?;
    of(vcpu, vcpu * ratio)
}

/// Source of the rules: "Plan GKE Standard node sizes". Shared cores have two vCPUs, of which GKE
/// keeps more than one.
fn kept_cpu(name: &str, vcpu: u64) -> u64 {
    match name {
        "e2-micro" | "e2-small" | "e2-medium" => 1_060,
        _ => reserved::cpu_milli(vcpu),
    }
}

/// Source: the same. A quarter of the first 4 GiB, 20 % of the next 4, 10 % of the next 8, 6 % of
/// the next 112, 2 % of the rest, and 100 MiB before pods are evicted.
fn kept_memory(bytes: u64) -> u64 {
    const BANDS: [(u64, u64); 5] =
        [(0, 25), (4 * GIB, 20), (8 * GIB, 10), (16 * GIB, 6), (128 * GIB, 2)];
    let upper = BANDS.iter().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
    let hundredths: u64 = BANDS
        .iter()
        .zip(upper)
        .map(|((from, percent), to)| (bytes.clamp(*from, to) - from) * percent)
        .sum();
    hundredths.div_ceil(100) + 100 * MIB
}

fn label(it: &mut InstanceType, machine: &Machine) {
    let mut parts = it.name.splitn(3, '-');
    let (family, class) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let arch = if ARM64.contains(&family) { "arm64" } else { "amd64" };
    it.labels = labels([
        (key::OS, "linux"),
        (key::ARCH, arch),
        (key::INSTANCE_TYPE, &*it.name),
        ("karpenter.k8s.gcp/instance-family", family),
        ("karpenter.k8s.gcp/instance-shape", class),
        ("karpenter.k8s.gcp/instance-cpu", &machine.vcpu.to_string()),
        ("karpenter.k8s.gcp/instance-memory", &(machine.memory_bytes / MIB).to_string()),
    ]);
    if let Some((gpus, (model, accelerator))) = machine.gpus {
        it.labels.extend(labels([
            (key::INSTANCE_GPU_NAME, model),
            (key::INSTANCE_GPU_COUNT, &gpus.to_string()),
            ("cloud.google.com/gke-accelerator", accelerator),
        ]));
    }
}

#[cfg(test)]
mod tests {
    use super::super::CsvCatalogue;
    use super::*;
    use crate::model::{CapacityType, Offering};

    fn read(rows: &str) -> Result<CsvCatalogue> {
        CsvCatalogue::read(format!("{}\n{rows}", FORM.columns.join(",")).as_bytes())
    }

    #[test]
    fn a_row_becomes_a_type_with_its_offerings() {
        let catalogue = read("n1-standard-4,4,0.19,0.04\n").unwrap();
        let resources = |cpu, memory, disk| {
            Resources::new(cpu, memory).with_pods(110).with_ephemeral_bytes(disk)
        };
        // 25 % of 4 GiB, 20 % of 4, 10 % of 7, and 100 MiB.
        let kept = (1_024 + 100) * MIB + (4 * GIB).div_ceil(5) + (7 * GIB).div_ceil(10) - 1;
        let mut expected =
            InstanceType::new("n1-standard-4", resources(4_000, 15 * GIB, 98_831_908 * 1_024))
                .with_allocatable(resources(3_920, 15 * GIB - kept, 47_060_071_478));
        expected.labels = labels([
            ("kubernetes.io/arch", "amd64"),
            ("kubernetes.io/os", "linux"),
            ("node.kubernetes.io/instance-type", "n1-standard-4"),
            ("karpenter.k8s.gcp/instance-family", "n1"),
            ("karpenter.k8s.gcp/instance-shape", "standard"),
            ("karpenter.k8s.gcp/instance-cpu", "4"),
            ("karpenter.k8s.gcp/instance-memory", "15360"),
        ]);
        for (capacity_type, price) in
            [(CapacityType::OnDemand, 190_000), (CapacityType::Spot, 40_000)]
        {
            for zone in ["us-central1-a", "us-central1-b", "us-central1-c"] {
                expected.offerings.push(Offering::new(zone, capacity_type, price));
            }
        }
        assert_eq!(catalogue.types()[0], expected);
    }

    #[test]
    fn memory_and_gpus_follow_from_the_name() {
        let gib = |name: &str, vcpu: Option<u64>| {
            machine(name, vcpu)
                .map(|machine| (machine.vcpu, (machine.memory_bytes * 10).div_ceil(GIB)))
        };
        assert_eq!(gib("n1-highcpu-16", Some(16)), Some((16, 144)));
        assert_eq!(gib("n2-highmem-96", Some(96)), Some((96, 7_680)));
        assert_eq!(gib("n2-highmem-128", Some(128)), Some((128, 8_640)));
        assert_eq!(gib("c3d-highcpu-16", Some(16)), Some((16, 320)));
        assert_eq!(gib("c3d-highcpu-360", Some(360)), Some((360, 7_080)));
        assert_eq!(gib("m1-ultramem-40", Some(40)), Some((40, 9_610)));
        assert_eq!(gib("m1-megamem-96", Some(96)), Some((96, 14_336)));
        assert_eq!(gib("z3-highmem-14-standardlssd", Some(14)), Some((14, 1_120)));
        assert_eq!(gib("h4d-highmem-192-lssd", Some(192)), Some((192, 14_880)));
        let largest = gib("m3-ultramem-100000", Some(MAX_VCPU)).unwrap();
        assert!(largest.1 / 10 * GIB < crate::model::MAX_QUANTITY);
        assert_eq!(gib("e2-small", None), Some((2, 20)));
        let a2 = machine("a2-megagpu-16g", None).unwrap();
        assert_eq!((a2.vcpu, a2.memory_bytes, a2.gpus), (96, 1_360 * GIB, Some((16, A100))));
        let catalogue = read("g2-standard-24,24,2.11,0.63\nt2a-standard-1,1,0.0385,\n").unwrap();
        let [g2, t2a] = &*catalogue.types() else { panic!("two types") };
        assert_eq!((g2.capacity.gpu_milli, g2.allocatable.gpu_milli), (2_000, 2_000));
        assert_eq!(&*g2.labels[key::INSTANCE_GPU_NAME], "l4");
        assert_eq!(&*g2.labels["cloud.google.com/gke-accelerator"], "nvidia-l4");
        assert_eq!((&*t2a.labels[key::ARCH], t2a.offerings.len()), ("arm64", 3));
    }

    #[test]
    fn what_a_name_does_not_tell_is_skipped_and_not_guessed() {
        let rows = "f1-micro,,0.0076,0.0035\nn2-custom-4-8192,,0.2,\ncustom-4-8192,4,0.2,\n\
                    z9-standard-4,4,0.2,\nn2-standard-4-metal,4,0.2,\nn2-standard-4,,0.2,\n\
                    n2-standard-x,4,0.2,\nn2-standard-8,4,0.2,\nn2-standard-0,0,0.2,\n\
                    n2-standard-16,16,,\ne2-medium,,0.03351,0.01005\n";
        let catalogue = read(rows).unwrap();
        assert_eq!((catalogue.types().len(), catalogue.skipped()), (1, 10));
        assert_eq!(catalogue.types()[0].allocatable.cpu_milli, 940);
    }

    #[test]
    fn errors_name_line_and_column() {
        let said = |row: &str| read(row).unwrap_err().to_string();
        assert_eq!(
            said("g2-standard-4,8,0.76,0.23\n"),
            "line 2, column vcpu_from_name: is not 4, which g2-standard-4 has: correct it"
        );
        assert!(
            said("n2-standard-4,x,1,\n").starts_with("line 2, column vcpu_from_name: is \"x\"")
        );
        assert!(said("a,1,-1,\n").starts_with("line 2, column od_usd_per_hour: is \"-1\""));
        assert!(said("a,1,1,\na,1,1,\n").starts_with("line 3, column name: a is given twice"));
    }

    #[test]
    fn the_reserve_grows_in_bands() {
        let mib = |gib: u64| kept_memory(gib * GIB).div_ceil(MIB) - 100;
        // Percent of each band, in MiB, rounded up.
        assert_eq!([4, 8, 16, 128, 228].map(mib), [1_024, 1_844, 2_663, 9_544, 11_592]);
    }
}

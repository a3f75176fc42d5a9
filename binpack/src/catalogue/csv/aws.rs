//! The form of AWS's instance types, as Karpenter documents them.

use super::{CsvCatalogue, Form, GIB, MIB};
use crate::error::Result;
use crate::model::{GPU_MILLI, InstanceType, MAX_GPUS, MAX_QUANTITY, Resources, key, labels};
use crate::table::Row;

pub(super) const FORM: Form = Form {
    name: "AWS",
    mark: "alloc_cpu_m",
    columns: &COLUMNS,
    zones: &CsvCatalogue::ZONES,
    prices: ["od_usd_per_hour", "spot_usd_per_hour_est"],
    instance_type: |row| instance_type(row).map(Some),
};

const COLUMNS: [&str; 21] = [
    "name",
    "family",
    "category",
    "generation",
    "size",
    "arch",
    "vcpu",
    "memory_mib",
    "gpu_count",
    "gpu_name",
    "gpu_manufacturer",
    "accel_count",
    "accel_name",
    "local_nvme_gib",
    "max_pods",
    "alloc_cpu_m",
    "alloc_memory_mib",
    "alloc_ephemeral_gib",
    "od_usd_per_hour",
    "spot_usd_per_hour_est",
    "hypervisor",
];

fn instance_type(row: &Row<'_>) -> Result<InstanceType> {
    let vcpu = row.number("vcpu", MAX_QUANTITY / 1_000)?;
    let memory_mib = row.number("memory_mib", MAX_QUANTITY / MIB)?;
    let ephemeral = row.number("alloc_ephemeral_gib", MAX_QUANTITY / GIB)? * GIB;
    let devices = devices(row)?;
    let pods = row.number("max_pods", MAX_QUANTITY)?;
    let with_devices = |resources: Resources| {
        let fixed = resources
            .with_pods(pods)
            .with_ephemeral_bytes(ephemeral)
            .with_gpu_milli(devices.gpu_milli);
        devices.extended.iter().fold(fixed, |all, (name, n)| all.with_extended(*name, *n))
    };
    let alloc_cpu = row.number("alloc_cpu_m", vcpu * 1_000)?;
    let alloc_memory = row.number("alloc_memory_mib", memory_mib)? * MIB;
    let mut it = InstanceType::new(
        row.name("name")?,
        with_devices(Resources::new(vcpu * 1_000, memory_mib * MIB)),
    );
    it.allocatable = with_devices(Resources::new(alloc_cpu, alloc_memory));
    it.labels = labels([
        (key::OS, "linux"),
        (key::ARCH, row.name("arch")?),
        (key::INSTANCE_TYPE, row.name("name")?),
        (key::INSTANCE_FAMILY, row.name("family")?),
        (key::INSTANCE_CATEGORY, row.name("category")?),
        (key::INSTANCE_GENERATION, row.name("generation")?),
        (key::INSTANCE_SIZE, row.name("size")?),
        (key::INSTANCE_CPU, &vcpu.to_string()),
        (key::INSTANCE_MEMORY, &memory_mib.to_string()),
    ]);
    optional_labels(row, &mut it)?;
    Ok(it)
}

fn optional_labels(row: &Row<'_>, it: &mut InstanceType) -> Result<()> {
    let gpus = row.text("gpu_count")?;
    let nvme = row.number("local_nvme_gib", MAX_QUANTITY / GIB)?.to_string();
    let pairs = [
        (key::INSTANCE_GPU_NAME, row.text("gpu_name")?),
        (key::INSTANCE_GPU_COUNT, if gpus == "0" { "" } else { gpus }),
        ("karpenter.k8s.aws/instance-gpu-manufacturer", row.text("gpu_manufacturer")?),
        ("karpenter.k8s.aws/instance-accelerator-name", row.text("accel_name")?),
        ("karpenter.k8s.aws/instance-hypervisor", row.text("hypervisor")?),
        ("karpenter.k8s.aws/instance-local-nvme", if nvme == "0" { "" } else { &nvme }),
    ];
    let present = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    it.labels.extend(present.map(|(key, value)| (key.into(), value.into())));
    Ok(())
}

struct Devices {
    gpu_milli: u64,
    extended: Vec<(&'static str, u64)>,
}

fn devices(row: &Row<'_>) -> Result<Devices> {
    let gpus = row.number("gpu_count", MAX_GPUS)?;
    let accelerators = row.number("accel_count", MAX_QUANTITY)?;
    let mut devices = Devices { gpu_milli: 0, extended: Vec::new() };
    match row.text("gpu_manufacturer")? {
        "nvidia" => devices.gpu_milli = gpus * GPU_MILLI,
        "amd" => devices.extended.push(("amd.com/gpu", gpus)),
        "" if gpus == 0 => {}
        other => {
            return Err(row.wrong("gpu_manufacturer", format!("is {other:?}: write nvidia or amd")));
        }
    }
    if accelerators > 0 {
        let qualcomm = row.text("accel_name")?.starts_with("qualcomm");
        devices.extended.push((
            if qualcomm { "qualcomm.com/qaic" } else { "aws.amazon.com/neuron" },
            accelerators,
        ));
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CapacityType, Offering};

    fn read(rows: &str) -> Result<CsvCatalogue> {
        CsvCatalogue::read_for_zones(
            format!("{}\n{rows}", COLUMNS.join(",")).as_bytes(),
            &["a", "b"],
        )
    }

    #[test]
    fn a_row_becomes_a_type_with_its_offerings() {
        let row = "g5.xlarge,g5,g,5,xlarge,amd64,4,16384,1,a10g,nvidia,0,,250,58,3920,14162,17,1.006,0.41246,nitro\n\
                   x1.old,x1,x,1,old,amd64,4,16384,0,,,0,,0,58,3920,14162,17,,,xen\n";
        let catalogue = read(row).unwrap();
        let types = catalogue.types();
        assert_eq!((types.len(), catalogue.skipped()), (1, 1));
        let it = &types[0];
        assert_eq!(
            (it.capacity.cpu_milli, it.allocatable.cpu_milli, it.allocatable.gpu_milli),
            (4_000, 3_920, 1_000)
        );
        assert_eq!(it.allocatable.memory_bytes, 14_162 << 20);
        assert_eq!(&*it.labels[key::INSTANCE_GPU_NAME], "a10g");
        let spot = Offering::new("b", CapacityType::Spot, 412_460);
        assert!(it.offerings.len() == 4 && it.offerings.contains(&spot));
    }

    #[test]
    fn errors_name_line_and_column() {
        let said = |rows: &str| read(rows).unwrap_err().to_string();
        let row = |cpu: &str, price: &str| {
            format!("m.l,m,m,1,l,amd64,2,8192,0,,,0,,0,29,{cpu},6903,17,{price},,nitro\n")
        };
        assert!(
            said(&row("1930", "NaN")).starts_with("line 2, column od_usd_per_hour: is \"NaN\"")
        );
        assert!(said(&row("1930", "-1")).starts_with("line 2, column od_usd_per_hour: is \"-1\""));
        assert!(
            said(&row("2001", "1")).starts_with("line 2, column alloc_cpu_m: is 2001, above 2000")
        );
        assert!(
            said(&format!("{}{}", row("1", "1"), row("1", "1")))
                .starts_with("line 3, column name: m.l is given twice")
        );
    }
}

//! A catalogue in a CSV file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::Catalogue;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    CapacityType, GPU_MILLI, InstanceType, MAX_GPUS, MAX_PRICE_MICROS, MAX_QUANTITY, Offering,
    Resources, key, labels,
};
use crate::table::{Row, Table};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The columns that are read; a file may have others.
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

/// A catalogue read from a CSV file with a row per instance type.
///
/// The header must have the columns `name,family,category,generation,size,arch,vcpu,memory_mib,`
/// `gpu_count,gpu_name,gpu_manufacturer,accel_count,accel_name,local_nvme_gib,max_pods,`
/// `alloc_cpu_m,alloc_memory_mib,alloc_ephemeral_gib,od_usd_per_hour,spot_usd_per_hour_est,hypervisor`,
/// in any order. A type is offered on demand at `od_usd_per_hour` and, where
/// `spot_usd_per_hour_est` is not empty, as spot, both in every zone. A row with neither price is
/// skipped and counted.
///
/// NVIDIA's GPUs become `gpu_milli`; other accelerators become extended resources under their
/// device plugins' names (`amd.com/gpu`, `aws.amazon.com/neuron`, `qualcomm.com/qaic`).
#[derive(Debug, Clone)]
pub struct CsvCatalogue {
    types: Arc<[InstanceType]>,
    skipped: usize,
}

impl CsvCatalogue {
    /// The zones of [`open`](Self::open) and [`read`](Self::read), for a file that names none.
    pub const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

    /// Reads a file, at once and as a whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is no such file, [`ErrorKind::Unavailable`] if it can't be
    /// read, else as [`read`](Self::read). Each names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| unopened(path, error))?;
        Self::read(io::BufReader::new(file))
            .map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// Reads from `input`, for the zones [`ZONES`](Self::ZONES).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] that names the line and the column.
    pub fn read(input: impl Read) -> Result<Self> {
        Self::read_for_zones(input, &Self::ZONES)
    }

    /// Reads from `input`, for these zones.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] that names the line and the column, or if there is no zone.
    pub fn read_for_zones(input: impl Read, zones: &[&str]) -> Result<Self> {
        if zones.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "zones: the list is empty: name at least one",
            ));
        }
        let zones: Vec<Arc<str>> = zones.iter().map(|zone| Arc::from(*zone)).collect();
        let (mut types, mut skipped) = (Vec::new(), 0);
        let mut names = std::collections::HashSet::new();
        Table::open(input, &COLUMNS)?.for_each(|row| {
            let offerings = offerings(row, &zones)?;
            let it = instance_type(row, offerings)?;
            if !names.insert(it.name.clone()) {
                return Err(row.wrong("name", format!("{} is given twice: remove one", it.name)));
            }
            if it.offerings.is_empty() {
                skipped += 1;
            } else {
                types.push(it);
            }
            Ok(())
        })?;
        Ok(Self { types: types.into(), skipped })
    }

    /// The types, in the file's order.
    #[must_use]
    pub fn types(&self) -> Arc<[InstanceType]> {
        self.types.clone()
    }

    /// How many rows had no price.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

#[async_trait]
impl Catalogue for CsvCatalogue {
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>> {
        Ok(self.types.clone())
    }
}

fn unopened(path: &Path, error: io::Error) -> Error {
    let (kind, problem) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "there is no such file"),
        _ => (ErrorKind::Unavailable, "the file can't be opened"),
    };
    Error::new(kind, format!("{}: {problem}: check the path", path.display())).with_source(error)
}

fn offerings(row: &Row<'_>, zones: &[Arc<str>]) -> Result<Vec<Offering>> {
    let mut offerings = Vec::new();
    let sold = [
        (CapacityType::OnDemand, "od_usd_per_hour"),
        (CapacityType::Spot, "spot_usd_per_hour_est"),
    ];
    for (capacity_type, column) in sold {
        if let Some(price) = row.micros(column, MAX_PRICE_MICROS)? {
            offerings
                .extend(zones.iter().map(|zone| Offering::new(zone.clone(), capacity_type, price)));
        }
    }
    Ok(offerings)
}

fn instance_type(row: &Row<'_>, offerings: Vec<Offering>) -> Result<InstanceType> {
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
    it.offerings = offerings;
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
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "name,family,category,generation,size,arch,vcpu,memory_mib,gpu_count,gpu_name,\
        gpu_manufacturer,accel_count,accel_name,local_nvme_gib,max_pods,alloc_cpu_m,alloc_memory_mib,\
        alloc_ephemeral_gib,od_usd_per_hour,spot_usd_per_hour_est,hypervisor";

    fn read(rows: &str) -> Result<CsvCatalogue> {
        CsvCatalogue::read_for_zones(format!("{HEADER}\n{rows}").as_bytes(), &["a", "b"])
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
        let missing = CsvCatalogue::open("/nonexistent/types.csv").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_is_read_is_well_formed(
            cells in prop::collection::vec(prop::collection::vec("[-0-9.,\"a-z\n]{0,6}|[0-9]{1,3}", 21), 0..4),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let rows: Vec<String> = cells.iter().map(|row| row.join(",")).collect();
            if let Ok(catalogue) = read(&rows.join("\n")) {
                crate::model::check_types(&catalogue.types()).expect("what is read passes the input's check");
            }
            let mut bytes = HEADER.as_bytes().to_vec();
            bytes.push(b'\n');
            bytes.extend(&noise);
            let _ = CsvCatalogue::read(bytes.as_slice());
            let _ = CsvCatalogue::read(noise.as_slice());
        }
    }
}

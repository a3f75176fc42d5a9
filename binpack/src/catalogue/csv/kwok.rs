//! The form of Karpenter's KWOK catalogue: machines that don't exist, for tests at scale.

use super::{Form, MIB};
use crate::error::Result;
use crate::model::{InstanceType, MAX_QUANTITY, Resources, key, labels};
use crate::table::Row;

pub(super) const FORM: Form = Form {
    name: "KWOK",
    mark: "od_price",
    columns: &[
        "name",
        "arch",
        "os",
        "cpu",
        "memory",
        "pods",
        "ephemeral_storage",
        "od_price",
        "spot_price",
    ],
    zones: &["test-zone-a", "test-zone-b", "test-zone-c", "test-zone-d"],
    prices: ["od_price", "spot_price"],
    instance_type: |row| instance_type(row).map(Some),
};

/// What the system keeps of CPU and memory. Source of it and of the labels: `newInstanceType` and
/// `setDefaultOptions` in `kwok/cloudprovider/helpers.go` of kubernetes-sigs/karpenter.
const KEPT_CPU_MILLI: u64 = 100;
const KEPT_MEMORY_BYTES: u64 = 10 * MIB;

fn instance_type(row: &Row<'_>) -> Result<InstanceType> {
    let name = row.name("name")?;
    let capacity = Resources::new(
        row.quantity("cpu", 1_000, MAX_QUANTITY)?,
        row.quantity("memory", 1, MAX_QUANTITY)?,
    )
    .with_pods(row.number("pods", MAX_QUANTITY)?)
    .with_ephemeral_bytes(row.quantity("ephemeral_storage", 1, MAX_QUANTITY)?);
    let kept = Resources::new(KEPT_CPU_MILLI, KEPT_MEMORY_BYTES);
    let allocatable = capacity.saturating_sub(&kept);
    let mut it = InstanceType::new(name, capacity).with_allocatable(allocatable);
    it.labels = labels([
        (key::OS, row.name("os")?),
        (key::ARCH, row.name("arch")?),
        (key::INSTANCE_TYPE, name),
        ("karpenter.kwok.sh/instance-family", family(name)),
        // Karpenter takes the CPUs for the size of every name that is not AWS's.
        ("karpenter.kwok.sh/instance-size", row.name("cpu")?),
        ("karpenter.kwok.sh/instance-cpu", row.name("cpu")?),
        ("karpenter.kwok.sh/instance-memory", row.name("memory")?),
    ]);
    Ok(it)
}

/// The name up to its first delimiter; without one, its first character.
fn family(name: &str) -> &str {
    let first = name.chars().next().map_or(0, char::len_utf8);
    name.split_once(['.', '-']).map_or(&name[..first], |(family, _)| family)
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
        let row = "c-1x-arm64-windows,arm64,windows,1,2Gi,16,20Gi,0.027147483648,0.019003238553599998\n\
                   unsold-1x,amd64,linux,1,2Gi,16,20Gi,,\n";
        let catalogue = read(row).unwrap();
        assert_eq!((catalogue.types().len(), catalogue.skipped()), (1, 1));
        let capacity =
            Resources::new(1_000, 2_048 * MIB).with_pods(16).with_ephemeral_bytes(20 << 30);
        let mut expected = InstanceType::new("c-1x-arm64-windows", capacity.clone())
            .with_allocatable(Resources { cpu_milli: 900, memory_bytes: 2_038 * MIB, ..capacity });
        expected.labels = labels([
            ("kubernetes.io/arch", "arm64"),
            ("kubernetes.io/os", "windows"),
            ("node.kubernetes.io/instance-type", "c-1x-arm64-windows"),
            ("karpenter.kwok.sh/instance-family", "c"),
            ("karpenter.kwok.sh/instance-size", "1"),
            ("karpenter.kwok.sh/instance-cpu", "1"),
            ("karpenter.kwok.sh/instance-memory", "2Gi"),
        ]);
        for (capacity_type, price) in
            [(CapacityType::OnDemand, 27_148), (CapacityType::Spot, 19_004)]
        {
            for zone in ["test-zone-a", "test-zone-b", "test-zone-c", "test-zone-d"] {
                expected.offerings.push(Offering::new(zone, capacity_type, price));
            }
        }
        assert_eq!(catalogue.types()[0], expected);
    }

    #[test]
    fn errors_name_line_and_column() {
        let said = |row: &str| read(row).unwrap_err().to_string();
        assert_eq!(
            said("a-1x,amd64,linux,1,2GB,16,20Gi,1,\n"),
            "line 2, column memory: is \"2GB\": write a quantity, such as 16Gi"
        );
        assert!(said("a,amd64,linux,-1,2Gi,16,20Gi,1,\n").starts_with("line 2, column cpu: is"));
        assert!(said("a,amd64,,1,2Gi,16,20Gi,1,\n").starts_with("line 2, column os: is empty"));
        assert!(said("a,amd64,linux,1,2Gi,16,20Gi,x,\n").starts_with("line 2, column od_price"));
        assert_eq!(
            said("a,amd64,linux,1,9Pi,16,20Gi,1,\n"),
            "line 2, column memory: is 9Pi, too much: check its unit"
        );
    }

    #[test]
    fn a_family_is_the_first_part_of_the_name() {
        assert_eq!(["m5.large", "n2-standard-4", "Standard"].map(family), ["m5", "n2", "S"]);
    }
}

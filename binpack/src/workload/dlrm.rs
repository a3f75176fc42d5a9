//! The CSV form of Alibaba's trace of disaggregated recommendation models of 2025.

use std::collections::HashSet;
use std::io::Read;

use super::pods::{Form, TraceOptions, each_row};
use crate::error::Result;
use crate::model::{
    GPU_MILLI, LabelSelector, MAX_GPUS, MAX_QUANTITY, Pod, Resources, TopologySpread, key,
};
use crate::table::{Headed, Row};

const GIB: u64 = 1 << 30;

/// Koordinator's resource of which a network card has 100.
const RDMA: &str = "koordinator.sh/rdma";

const COLUMNS: [&str; 9] = [
    "instance",
    "role",
    "app",
    "cpu",
    "gpu",
    "rdma_pct",
    "memory_gib",
    "disk_gib",
    "max_instance_per_node",
];

pub(super) fn form<R: Read>() -> Form<R> {
    Form { name: "Alibaba DLRM 2025", mark: "rdma_pct", pods: read }
}

/// Source of what the columns mean: the README of `cluster-trace-gpu-v2025`.
fn read<R: Read>(file: Headed<R>, options: &TraceOptions) -> Result<Vec<Pod>> {
    let mut names = HashSet::new();
    each_row(file.table(&COLUMNS)?, |row| {
        let name = format!("dlrm-{}", row.unique("instance", &mut names)?);
        let labels = [("app", row.name("app")?), ("role", role(row)?)];
        let mut pod = Pod::new(name, requests(row, options)?);
        for (key, value) in labels {
            pod = pod.with_label(key, value);
        }
        Ok(match most_per_node(row)? {
            Some(most) => {
                let alike = LabelSelector::labels(labels);
                pod.spread(TopologySpread::new(key::HOSTNAME, alike, most))
            }
            None => pod,
        })
    })
}

fn role<'a>(row: &'a Row<'_>) -> Result<&'a str> {
    match row.text("role")? {
        role @ ("CN" | "HN") => Ok(role),
        other => Err(row.wrong("role", format!("is {other:?}: write CN or HN"))),
    }
}

fn requests(row: &Row<'_>, options: &TraceOptions) -> Result<Resources> {
    let cpu_milli = row.decimal("cpu", 1_000, MAX_QUANTITY)?;
    let memory = row.decimal("memory_gib", GIB, MAX_QUANTITY)?;
    let disk = row.decimal("disk_gib", GIB, MAX_QUANTITY)?;
    let gpus = row.number("gpu", MAX_GPUS)?;
    let rdma = row.number("rdma_pct", 100)?;
    Ok(Resources::new(cpu_milli, memory)
        .with_pods(1)
        .with_ephemeral_bytes(options.disk.of(disk))
        .with_gpu_milli(gpus * GPU_MILLI)
        .with_extended(RDMA, options.rdma.of(rdma)))
}

/// -1, and nothing at all, is no limit.
fn most_per_node(row: &Row<'_>) -> Result<Option<u32>> {
    let column = "max_instance_per_node";
    if matches!(row.text(column)?, "" | "0" | "-1") {
        return Ok(None);
    }
    let most = row.number(column, u64::from(u32::MAX))?;
    Ok(u32::try_from(most).ok().filter(|most| *most > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Claim, read_pods};

    fn read(rows: &str, options: &TraceOptions) -> Result<Vec<Pod>> {
        let csv = format!("{},creation_s\n{rows}", COLUMNS.join(","));
        read_pods(csv.as_bytes(), options).map(|workload| workload.pods)
    }

    #[test]
    fn a_row_becomes_a_pod() {
        let rows = "7185,HN,0,12,1,25,937.5,680,8,\n13574,CN,130,64,0,0,320,255,-1,5.0\n";
        let pods = read(rows, &TraceOptions::default()).unwrap();
        let requests = Resources::new(12_000, 1_875 << 29)
            .with_pods(1)
            .with_ephemeral_bytes(680 << 30)
            .with_gpu_milli(1_000)
            .with_extended("koordinator.sh/rdma", 25);
        let alike = LabelSelector::labels([("app", "0"), ("role", "HN")]);
        let first = Pod::new("dlrm-7185", requests)
            .with_label("app", "0")
            .with_label("role", "HN")
            .spread(TopologySpread::new("kubernetes.io/hostname", alike, 8));
        let requests = Resources::new(64_000, 320 << 30).with_pods(1);
        let second = Pod::new("dlrm-13574", requests.with_ephemeral_bytes(255 << 30))
            .with_label("app", "130")
            .with_label("role", "CN");
        assert_eq!(pods, [first, second]);
    }

    #[test]
    fn disk_and_network_cards_are_left_out_on_demand() {
        let options =
            TraceOptions { disk: Claim::Ignore, rdma: Claim::Ignore, ..TraceOptions::default() };
        let pods = read("0,CN,0,8,0,25,40,255,,\n", &options).unwrap();
        assert_eq!(pods[0].requests, Resources::new(8_000, 40 << 30).with_pods(1));
    }

    #[test]
    fn errors_name_line_and_column() {
        let said = |row: &str| read(row, &TraceOptions::default()).unwrap_err().to_string();
        assert!(said("0,XN,0,8,0,1,40,255,,\n").starts_with("line 2, column role: is \"XN\""));
        assert!(said("0,CN,0,8,0,101,40,255,,\n").starts_with("line 2, column rdma_pct: is 101"));
        assert!(said("0,CN,0,8,0,1,4Gi,255,,\n").starts_with("line 2, column memory_gib: is"));
        assert!(said("0,CN,0,8,0,1,1,255,-2,\n").starts_with("line 2, column max_instance_per"));
        assert!(
            said("0,CN,0,8,0,1,1,1,,\n0,CN,0,8,0,1,1,1,,\n")
                .starts_with("line 3, column instance: 0 is given twice")
        );
    }
}

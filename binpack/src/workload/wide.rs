//! The CSV form of the "wide deployments" of Karpenter's end-to-end tests.

use std::collections::HashSet;
use std::io::Read;

use super::pods::{Form, Replicas, TraceOptions};
use crate::error::Result;
use crate::model::{LabelSelector, MAX_QUANTITY, Pod, Resources, TopologySpread, key};
use crate::table::{Headed, Row};

const MIB: u64 = 1 << 20;

/// The most pods of a file. Source: "Considerations for large clusters" of Kubernetes.
const MAX_PODS: u64 = 150_000;

const COLUMNS: [&str; 8] = [
    "name",
    "cpu_m",
    "memory_mib",
    "initial_pods",
    "scaled_in_pods",
    "hostname_anti_affinity",
    "zone_spread_max_skew",
    "hostname_spread_max_skew",
];

pub(super) fn form<R: Read>() -> Form<R> {
    Form { name: "Karpenter's wide deployments", mark: "initial_pods", pods: read }
}

fn read<R: Read>(file: Headed<R>, options: &TraceOptions) -> Result<Vec<Pod>> {
    let mut names = HashSet::new();
    let (mut pods, mut left) = (Vec::new(), MAX_PODS);
    file.table(&COLUMNS)?.for_each(|row| {
        let name = row.unique("name", &mut names)?;
        let replicas = replicas(row, options, left)?;
        left -= replicas;
        let like_all = pod(row, name)?;
        pods.extend((0..replicas).map(|i| {
            let mut pod = like_all.clone();
            pod.name = format!("{name}-{i}").into();
            pod
        }));
        Ok(())
    })?;
    Ok(pods)
}

fn replicas(row: &Row<'_>, options: &TraceOptions, left: u64) -> Result<u64> {
    let column = match options.replicas {
        Replicas::Initial => "initial_pods",
        Replicas::ScaledIn => "scaled_in_pods",
    };
    let replicas = row.number(column, MAX_PODS)?;
    if replicas > left {
        let problem = format!("makes more than {MAX_PODS} pods with those before: split the file");
        return Err(row.wrong(column, problem));
    }
    Ok(replicas)
}

fn pod(row: &Row<'_>, name: &str) -> Result<Pod> {
    let cpu_milli = row.number("cpu_m", MAX_QUANTITY)?;
    let memory = row.number("memory_mib", MAX_QUANTITY / MIB)? * MIB;
    let alike = LabelSelector::labels([("app", name)]);
    let mut pod =
        Pod::new(name, Resources::new(cpu_milli, memory).with_pods(1)).with_label("app", name);
    if row.optional("hostname_anti_affinity", 1)? == Some(1) {
        pod = pod.alone_among(alike.clone());
    }
    let spreads =
        [("zone_spread_max_skew", key::ZONE), ("hostname_spread_max_skew", key::HOSTNAME)];
    for (column, topology_key) in spreads {
        if let Some(max_skew) = max_skew(row, column)? {
            pod = pod.spread(TopologySpread::new(topology_key, alike.clone(), max_skew));
        }
    }
    Ok(pod)
}

fn max_skew(row: &Row<'_>, column: &str) -> Result<Option<u32>> {
    match row.optional(column, u64::from(u32::MAX))? {
        Some(0) => Err(row.wrong(column, "is 0: write at least 1, or nothing for no spread")),
        skew => Ok(skew.and_then(|skew| u32::try_from(skew).ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::read_pods;

    fn read(rows: &str, options: &TraceOptions) -> Result<Vec<Pod>> {
        let csv = format!("{}\n{rows}", COLUMNS.join(","));
        read_pods(csv.as_bytes(), options).map(|workload| workload.pods)
    }

    #[test]
    fn a_row_becomes_the_pods_of_a_deployment() {
        let rows = "web,240,300,2,1,1,1,\ndb,900,1024,1,1,0,1,2\njob,100,1,1,0,0,,\n";
        let app = |name: &str| LabelSelector::labels([("app", name)]);
        let zones = |name: &str| TopologySpread::new("topology.kubernetes.io/zone", app(name), 1);
        let web = |name: &str| {
            Pod::new(name, Resources::new(240, 300 * MIB).with_pods(1))
                .with_label("app", "web")
                .alone_among(app("web"))
                .spread(zones("web"))
        };
        let db = Pod::new("db-0", Resources::new(900, 1_024 * MIB).with_pods(1))
            .with_label("app", "db")
            .spread(zones("db"))
            .spread(TopologySpread::new("kubernetes.io/hostname", app("db"), 2));
        let job = Pod::new("job-0", Resources::new(100, MIB).with_pods(1)).with_label("app", "job");
        let initial = read(rows, &TraceOptions::default()).unwrap();
        assert_eq!(initial, [web("web-0"), web("web-1"), db.clone(), job]);
        let options = TraceOptions { replicas: Replicas::ScaledIn, ..TraceOptions::default() };
        assert_eq!(read(rows, &options).unwrap(), [web("web-0"), db]);
    }

    #[test]
    fn errors_name_line_and_column() {
        let said = |rows: &str| read(rows, &TraceOptions::default()).unwrap_err().to_string();
        assert!(said("a,1,1,1,1,2,,\n").starts_with("line 2, column hostname_anti_affinity: is 2"));
        assert!(said("a,1,1,1,1,,0,\n").starts_with("line 2, column zone_spread_max_skew: is 0"));
        assert!(said("a,1,1,1,1,,,x\n").starts_with("line 2, column hostname_spread_max_skew"));
        assert!(said("a,1,1,150001,1,,,\n").starts_with("line 2, column initial_pods: is 150001"));
        assert!(
            said("a,1,1,149999,1,,,\nb,1,1,2,1,,,\n")
                .starts_with("line 3, column initial_pods: makes more than 150000 pods")
        );
        assert!(
            said("a,1,1,1,1,,,\na,1,1,1,1,,,\n")
                .starts_with("line 3, column name: a is given twice")
        );
    }
}

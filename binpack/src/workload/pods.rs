//! Pods from a trace's file of any known form.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::{dlrm, openb, wide};
use crate::error::Result;
use crate::file::read_file;
use crate::model::Pod;
use crate::table::{Headed, Row, Table};

/// What was read of a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// The pods, in the file's order.
    pub pods: Vec<Pod>,
    /// How many pods [`TraceOptions::devices`] left out.
    pub skipped: usize,
}

/// How a trace is read. Each setting says which traces it is for; others ignore it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceOptions {
    /// Which pods are read, of every trace.
    pub devices: Devices,
    /// How many pods a deployment has: Karpenter's wide deployments.
    pub replicas: Replicas,
    /// What becomes of the GPU models that a pod accepts: openb.
    pub gpu_spec: GpuSpec,
    /// Whether disk is requested as ephemeral storage: DLRM. A cloud's instance types have little
    /// of it, because disks of any size are attached to them; [`Claim::Ignore`] is for those.
    pub disk: Claim,
    /// Whether a part of a network card is requested as `koordinator.sh/rdma`, in percent of one
    /// card: DLRM. The catalogues of this crate have no such cards; [`Claim::Ignore`] is for those.
    pub rdma: Claim,
}

/// Which pods of a trace are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Devices {
    /// All.
    #[default]
    Any,
    /// Those without GPUs; of the DLRM trace, the 16,485 CPU instances.
    NoGpu,
    /// Those with GPUs; of the DLRM trace, the 7,386 instances of heterogeneous GPU nodes.
    Gpu,
}

/// How many pods a deployment of the wide deployments has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replicas {
    /// As many as at first.
    #[default]
    Initial,
    /// As many as after it was scaled in: the first of the former.
    ScaledIn,
}

/// What becomes of openb's column `gpu_spec`: models that a pod accepts, separated by `|`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuSpec {
    /// Nothing.
    #[default]
    Ignore,
    /// A condition that the node's label
    /// [`key::INSTANCE_GPU_NAME`](crate::key::INSTANCE_GPU_NAME) has one of the values that are
    /// listed here for these models.
    Map(BTreeMap<String, Vec<String>>),
}

/// Whether what a trace says of a resource becomes a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// It does.
    #[default]
    Request,
    /// It does not.
    Ignore,
}

impl Claim {
    /// The amount that is requested.
    pub(super) fn of(self, amount: u64) -> u64 {
        match self {
            Self::Request => amount,
            Self::Ignore => 0,
        }
    }
}

/// How files of one trace are read.
pub(super) struct Form<R> {
    /// Whose file it is.
    pub(super) name: &'static str,
    /// The column that tells it from the others.
    pub(super) mark: &'static str,
    /// Reads all rows.
    pub(super) pods: fn(Headed<R>, &TraceOptions) -> Result<Vec<Pod>>,
}

/// Reads pods from a CSV file of a known form, which its header tells; columns may be in any
/// order, and others are ignored.
///
/// **openb**, Alibaba's GPU cluster trace of 2023, told by `gpu_milli`: as [`openb`](super::openb),
/// with [`TraceOptions::gpu_spec`].
///
/// **DLRM**, Alibaba's trace of recommendation models of 2025 (`cluster-trace-gpu-v2025`; Yang et
/// al., NSDI '25), told by `rdma_pct`: a pod `dlrm-<instance>` for each row of the columns
/// `instance,role,app,cpu,gpu,rdma_pct,memory_gib,disk_gib,max_instance_per_node`, with the labels
/// `app` and `role` (`CN` for CPU nodes, `HN` for heterogeneous GPU nodes). Where a node may have
/// at most so many of an application, the pods with the same two labels are spread by hostname
/// with that skew.
///
/// **Wide deployments** of Karpenter's end-to-end tests, told by `initial_pods`: for each row of
/// the columns `name,cpu_m,memory_mib,initial_pods,scaled_in_pods,hostname_anti_affinity,`
/// `zone_spread_max_skew,hostname_spread_max_skew` the pods `<name>-0` on with the label `app`,
/// alone on their node among these where `hostname_anti_affinity` is 1, and spread over zones and
/// nodes where a skew is given. A file may have 150,000 pods, Kubernetes' limit of a cluster.
///
/// ```
/// use binpack::workload::{Replicas, TraceOptions, read_pods};
///
/// let csv = "name,cpu_m,memory_mib,initial_pods,scaled_in_pods,hostname_anti_affinity,\
///            zone_spread_max_skew,hostname_spread_max_skew\nweb,240,300,35,25,1,1,\n";
/// assert_eq!(read_pods(csv.as_bytes(), &TraceOptions::default())?.pods.len(), 35);
/// let mut options = TraceOptions::default();
/// options.replicas = Replicas::ScaledIn;
/// assert_eq!(read_pods(csv.as_bytes(), &options)?.pods.len(), 25);
/// # Ok::<(), binpack::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) that names the line and the column; for a
/// header of no known form, it lists the known ones.
pub fn read_pods(input: impl Read, options: &TraceOptions) -> Result<Workload> {
    let file = Headed::read(input)?;
    let forms = [openb::form(), dlrm::form(), wide::form()];
    let read = file.form(&forms.map(|form| (form.name, form.mark, form.pods)))?;
    let mut pods = read(file, options)?;
    let all = pods.len();
    match options.devices {
        Devices::Any => {}
        Devices::NoGpu => pods.retain(|pod| pod.requests.gpu_milli == 0),
        Devices::Gpu => pods.retain(|pod| pod.requests.gpu_milli > 0),
    }
    Ok(Workload { skipped: all - pods.len(), pods })
}

/// Reads pods from a file, as [`read_pods`].
///
/// # Errors
///
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such file,
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if it can't be read, else as
/// [`read_pods`]. Each names the file.
pub fn open_pods(path: impl AsRef<Path>, options: &TraceOptions) -> Result<Workload> {
    read_file(path.as_ref(), |file| read_pods(file, options))
}

/// What `pod` makes of each row.
pub(super) fn each_row<R: Read>(
    table: Table<R>,
    mut pod: impl FnMut(&Row<'_>) -> Result<Pod>,
) -> Result<Vec<Pod>> {
    let mut pods = Vec::new();
    table.for_each(|row| {
        pods.push(pod(row)?);
        Ok(())
    })?;
    Ok(pods)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Input;

    const HEADERS: [&str; 3] = [
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec",
        "instance,role,app,cpu,gpu,rdma_pct,memory_gib,disk_gib,max_instance_per_node",
        "name,cpu_m,memory_mib,initial_pods,scaled_in_pods,hostname_anti_affinity,\
         zone_spread_max_skew,hostname_spread_max_skew",
    ];

    fn options(devices: Devices, gpu_spec: GpuSpec) -> TraceOptions {
        TraceOptions { devices, gpu_spec, ..TraceOptions::default() }
    }

    #[test]
    fn an_unknown_header_is_refused_with_the_known_ones() {
        let read = read_pods("name,cpu\na,1\n".as_bytes(), &TraceOptions::default());
        let said = read.unwrap_err().to_string();
        assert!(said.starts_with("line 1: the header is of no known form"), "{said}");
        for mark in ["gpu_milli", "rdma_pct", "initial_pods"] {
            assert!(said.contains(mark), "{said}");
            assert_eq!(HEADERS.iter().filter(|h| h.split(',').any(|c| c == mark)).count(), 1);
        }
        let missing = open_pods("/nonexistent/pods.csv", &TraceOptions::default()).unwrap_err();
        assert_eq!(missing.kind(), crate::ErrorKind::NotFound);
        assert!(missing.to_string().starts_with("/nonexistent/pods.csv: there is no such file"));
    }

    #[test]
    fn pods_are_chosen_by_their_devices() {
        let csv = format!("{}\na,1,1,0,0,\nb,1,1,1,500,\nc,1,1,2,1000,\n", HEADERS[0]);
        let read = |devices| {
            let all = read_pods(csv.as_bytes(), &options(devices, GpuSpec::Ignore)).unwrap();
            let names: String = all.pods.iter().map(|pod| &*pod.name).collect();
            (names, all.skipped)
        };
        assert_eq!(read(Devices::Any), ("abc".into(), 0));
        assert_eq!(read(Devices::NoGpu), ("a".into(), 2));
        assert_eq!(read(Devices::Gpu), ("bc".into(), 1));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_is_read_is_well_formed(
            form in 0..HEADERS.len(),
            cells in prop::collection::vec(
                prop::collection::vec("[-0-9.,\"a-z\n]{0,6}|[0-9]{1,3}|[01]|[CH]N", 9),
                0..4,
            ),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let header = HEADERS[form];
            let columns = header.split(',').count();
            let rows: Vec<String> = cells.iter().map(|row| row[..columns].join(",")).collect();
            let csv = format!("{header}\n{}", rows.join("\n"));
            let models = [("a".to_owned(), vec!["x".to_owned()]), ("b".to_owned(), vec![])];
            for gpu_spec in [GpuSpec::Ignore, GpuSpec::Map(BTreeMap::from(models))] {
                let options = options(Devices::Any, gpu_spec);
                if let Ok(Workload { pods, .. }) = read_pods(csv.as_bytes(), &options) {
                    Input { pods, ..Input::default() }.check().expect("what is read passes the input's check");
                }
                let bytes = [header.as_bytes(), b"\n", noise.as_slice()].concat();
                let _ = read_pods(bytes.as_slice(), &options);
                let _ = read_pods(noise.as_slice(), &options);
            }
        }
    }
}

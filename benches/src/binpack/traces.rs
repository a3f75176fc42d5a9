//! Real workloads and real catalogues, from the folder that `TRESTLE_DATA` names.

use std::path::{Path, PathBuf};

use binpack::workload::{Claim, Devices, Replicas, TraceOptions, open_pods};
use binpack::{CsvCatalogue, Input, NodePool, Requirement, key};

use crate::kv_journal::Outcome;

/// A workload and what may be launched for it.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    /// The name, as in `cost-<name>`.
    pub name: &'static str,
    pods: Pods,
    market: Sold,
}

#[derive(Debug, Clone, Copy)]
enum Pods {
    /// Karpenter's wide deployments.
    Wide(Replicas),
    /// Alibaba's openb.
    Openb(Devices),
    /// The CPU instances of Alibaba's DLRM trace.
    Dlrm,
}

#[derive(Debug, Clone, Copy)]
enum Sold {
    Kwok,
    Aws,
    /// AWS' families c, m and r only.
    AwsCmr,
}

/// All of them.
pub const TRACES: [Trace; 10] = [
    of("wide-1000-kwok", Pods::Wide(Replicas::Initial), Sold::Kwok),
    of("wide-700-kwok", Pods::Wide(Replicas::ScaledIn), Sold::Kwok),
    of("wide-1000-aws", Pods::Wide(Replicas::Initial), Sold::Aws),
    of("wide-700-aws", Pods::Wide(Replicas::ScaledIn), Sold::Aws),
    of("wide-1000-cmr", Pods::Wide(Replicas::Initial), Sold::AwsCmr),
    of("wide-700-cmr", Pods::Wide(Replicas::ScaledIn), Sold::AwsCmr),
    of("openb-cpu-aws", Pods::Openb(Devices::NoGpu), Sold::Aws),
    of("openb-cpu-cmr", Pods::Openb(Devices::NoGpu), Sold::AwsCmr),
    of("openb-gpu-aws", Pods::Openb(Devices::Any), Sold::Aws),
    of("dlrm-cpu-cmr", Pods::Dlrm, Sold::AwsCmr),
];

const fn of(name: &'static str, pods: Pods, market: Sold) -> Trace {
    Trace { name, pods, market }
}

/// The folder of the data files, or `None` with a loud line.
#[must_use]
pub fn folder(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TRESTLE_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: {what} wants TRESTLE_DATA to name the folder of the data files");
    }
    folder
}

impl Trace {
    /// Reads it: pods, one pool of Linux on amd64 on demand, and the types.
    ///
    /// # Errors
    /// If a file is missing or malformed.
    pub fn read(&self, folder: &Path) -> Outcome<Input> {
        let mut options = TraceOptions::default();
        let file = match self.pods {
            Pods::Wide(replicas) => {
                options.replicas = replicas;
                "karpenter_wide_deployments.csv"
            }
            Pods::Openb(devices) => {
                options.devices = devices;
                "openb_pod_list_default.csv"
            }
            Pods::Dlrm => {
                options.devices = Devices::NoGpu;
                // Disks of any size are attached to AWS' machines, and there are no such cards.
                (options.disk, options.rdma) = (Claim::Ignore, Claim::Ignore);
                "alibaba_dlrm_2025.csv"
            }
        };
        let pods = open_pods(folder.join(file), &options)?.pods;
        let mut pool = NodePool::linux_amd64_on_demand("default");
        let file = match self.market {
            Sold::Kwok => "kwok_instance_types.csv",
            Sold::Aws => "aws_instance_types.csv",
            Sold::AwsCmr => {
                pool = pool.require(Requirement::is_in(key::INSTANCE_CATEGORY, ["c", "m", "r"]));
                "aws_instance_types.csv"
            }
        };
        let instance_types = CsvCatalogue::open(folder.join(file))?.types();
        Ok(Input { pods, pools: vec![pool], instance_types, ..Input::default() })
    }
}

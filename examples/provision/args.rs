//! The command line.

use std::path::PathBuf;

use binpack::{Config, Limit};
use clap::{Parser, ValueEnum};

/// Decides where pods go and what to launch for them, from files: manifests and traces in, a plan
/// with its price and a checked lower bound out.
///
/// Exits with 0 if every pod has a place, 1 if some have none, 2 if a flag or a file is wrong, and
/// 3 if the plan fails its checks.
#[derive(Debug, Clone, Parser)]
#[command(name = "provision", version)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Args {
    /// Pods: manifests (`.yaml`, `.yml`, `.json` or a folder of them), which may bring nodes and
    /// node pools too, or a trace (`.csv`: openb, DLRM or wide deployments, told by its header).
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub(crate) pods: Vec<PathBuf>,

    /// Nodes that exist: manifests with nodes and the pods that run there, or openb's list of nodes
    /// (`.csv`).
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) nodes: Vec<PathBuf>,

    /// Manifests with node pools; with none anywhere there is one pool of Linux machines.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) pools: Vec<PathBuf>,

    /// Instance types and prices: `builtin`, a CSV of AWS, KWOK or GCE (told by its header), or a
    /// `.json` catalogue.
    #[arg(long, value_name = "FILE|builtin", default_value = BUILTIN)]
    pub(crate) catalog: PathBuf,

    /// Stops planning after so many milliseconds, and takes the best plan so far.
    #[arg(long, value_name = "N")]
    pub(crate) deadline_ms: Option<u64>,

    /// How many steps are made at most towards a cheaper plan.
    #[arg(long, value_name = "N", default_value_t = ITERATIONS.default,
          value_parser = clap::value_parser!(u32).range(i64::from(ITERATIONS.min)..=i64::from(ITERATIONS.max)))]
    pub(crate) iterations: u32,

    /// Which node that exists a pod goes to.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) fit: Fit,

    /// What becomes of affinity and spread that are preferred and not required.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) preferences: Preferences,

    /// Evicts pods that run for pods of higher priority that have no place else.
    #[arg(long)]
    pub(crate) preempt: bool,

    /// How machines of the default pool are paid for; on demand if not given.
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) capacity_type: Option<CapacityType>,

    /// The architecture of the default pool's machines; amd64 if not given.
    #[arg(long, value_enum)]
    pub(crate) arch: Option<Arch>,

    /// The instance categories of the default pool, such as `c,m,r`; all if not given.
    #[arg(long, value_name = "CATEGORIES", value_delimiter = ',')]
    pub(crate) instance_categories: Vec<String>,

    /// Which pods of a trace are read.
    #[arg(long, value_enum)]
    pub(crate) only: Option<Only>,

    /// How many pods each of the wide deployments has.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) replicas: Replicas,

    /// The values of the label `karpenter.k8s.aws/instance-gpu-name` that openb's GPU model stands
    /// for; give it for every model of the trace. Without it `gpu_spec` is ignored.
    #[arg(long, value_name = "MODEL=LABEL[,LABEL]", num_args = 1..)]
    pub(crate) gpu_spec: Vec<String>,

    /// Requests no disk for the DLRM trace's pods.
    #[arg(long)]
    pub(crate) ignore_disk: bool,

    /// Requests no part of a network card for the DLRM trace's pods.
    #[arg(long)]
    pub(crate) ignore_rdma: bool,

    /// Says why pods have no place and why each type was chosen.
    #[arg(long)]
    pub(crate) explain: bool,

    /// Writes the plan as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Draws the nodes and what fills them.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

const ITERATIONS: Limit<u32> = Config::ITERATIONS;

/// What `--catalog` calls the built-in table.
pub(crate) const BUILTIN: &str = "builtin";

/// Which node that exists a pod goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fit {
    /// The first that has room.
    First,
    /// The one that is left with the least room.
    #[default]
    Best,
}

/// What becomes of preferences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preferences {
    /// They hold where they can.
    #[default]
    Respect,
    /// They count for nothing.
    Ignore,
}

/// How machines are paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CapacityType {
    /// At the list price.
    OnDemand,
    /// Cheaper, and may be taken away.
    Spot,
    /// Whatever is cheapest.
    Any,
}

/// The architecture of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// x86 of 64 bits.
    Amd64,
    /// Arm of 64 bits.
    Arm64,
    /// Whatever is cheapest.
    Any,
}

/// Which pods of a trace are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// Those with GPUs.
    Gpu,
    /// Those without.
    Cpu,
}

/// How many pods a deployment of the wide deployments has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Replicas {
    /// As many as at first.
    #[default]
    Initial,
    /// As many as after it was scaled in.
    ScaledIn,
}

//! A bin-packing node provisioner: given pods that wait, nodes that exist and a catalogue of
//! instance types with prices, it decides where every pod goes and what to launch.
//!
//! [`plan`] is a plain function: the same question gets the same bytes. [`validate`] checks its
//! answer by other means. A [`Provisioner`] runs both against a [`Cluster`] and a [`Catalogue`],
//! batching triggers and repeating what fails.
//!
//! ```
//! use binpack::{BuiltinCatalogue, Config, Input, NodePool, Pod, Resources, plan, validate};
//!
//! let input = Input {
//!     pods: (0..20).map(|i| Pod::new(format!("web-{i}"), Resources::new(900, 1 << 30))).collect(),
//!     pools: vec![NodePool::linux_amd64_on_demand("default")],
//!     instance_types: BuiltinCatalogue::new().types(),
//!     ..Input::default()
//! };
//! let plan = plan(&input, &Config::default())?;
//! assert!(plan.unplaced.is_empty());
//! assert!(plan.cost_per_hour() < 1.0, "{} launches", plan.launches.len());
//! validate(&input, &plan)?;
//! # Ok::<(), binpack::Error>(())
//! ```
#![forbid(unsafe_code)]

mod catalogue;
mod cluster;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod core;
mod error;
mod explain;
mod file;
#[cfg(feature = "manifests")]
mod manifest;
mod model;
mod price;
mod provisioner;
mod quantity;
mod random;
mod table;
mod validate;
mod verify;
pub mod workload;

#[cfg(feature = "json")]
pub use catalogue::JsonCatalogue;
pub use catalogue::{BuiltinCatalogue, Catalogue, CsvCatalogue, MemoryCatalogue};
pub use cluster::{Cluster, ClusterState, MemoryCluster};
#[cfg(feature = "kubernetes")]
pub use cluster::{
    KubernetesAnswer, KubernetesClient, KubernetesCluster, KubernetesConfig, KubernetesRequest,
};
pub use config::{Config, Expander, Fit, Limit, Preemption, Preference};
pub use core::{
    Domain, Progress, Scheduled, Scheduler, consolidate, consolidate_until, plan, plan_until,
};
pub use error::{Error, ErrorKind, Result};
pub use explain::{Constraint, Explanation, LaunchReason, Remedy, Stuck, explain};
#[cfg(feature = "manifests")]
pub use manifest::{Manifests, open_node_groups, read_node_groups};
pub use model::{
    Binding, Budget, CapacityType, Certificate, Consolidation, ConsolidationPolicy, Disruption,
    DisruptionReason, Effect, Eviction, GPU_MILLI, Gang, HostPort, Input, InstanceType, Kept,
    KeptKind, LabelSelector, Labels, Launch, MAX_GPUS, MAX_PRICE_MICROS, MAX_QUANTITY, MinValues,
    Move, Namespaces, Node, NodeCount, NodeGroup, NodeInclusion, NodePool, Offering, Operator,
    Plan, Pod, PodAffinityTerm, PodDisruptionBudget, PoolLimits, PreemptionPolicy, Preemptor,
    Preferences, Protocol, Reason, ReasonKind, Relaxation, Relaxed, Removal, Requirement,
    Resources, RunningPod, ScaleUp, Taint, Target, Toleration, TolerationOperator, TopologySpread,
    Unplaced, Volume, Weighted, WhenUnsatisfiable, key, labels,
};
pub use provisioner::{Driver, Provisioner, Stats};
pub use validate::{
    Breach, Rule, breaches, consolidation_breaches, validate, validate_consolidation,
};
pub use verify::{Verified, verify};

//! Where pods and nodes come from when no cluster is at hand: a trace, or a built-in mix.

mod dlrm;
mod mix;
mod openb;
mod pods;
mod wide;

pub use mix::mix;
pub use openb::{openb, openb_nodes};
pub use pods::{Claim, Devices, GpuSpec, Replicas, TraceOptions, Workload, open_pods, read_pods};

//! Workloads for `binpack`, and a rival in cost: Karpenter's rules of packing.

pub mod cluster;
pub mod karpenter;
pub mod rules;
pub mod traces;

//! Seeded workloads for `cow-tree`.

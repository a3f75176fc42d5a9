//! Seeded workloads for `binpack`.

//! Seeded workloads for `lazy-blob`.

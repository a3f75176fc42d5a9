//! Seeded workloads for `dns-cache`.

//! Seeded workloads for `watch-cache`.

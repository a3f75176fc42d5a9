//! Seeded workloads for `kv-journal`.

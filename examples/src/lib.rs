//! What the examples share: the glue that joins two crates each.
#![forbid(unsafe_code)]

//! Quickstart of `watch-cache`.

fn main() {}

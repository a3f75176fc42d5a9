//! Every figure of the bar runs, tiny, and its last line is what it promises.
#![allow(clippy::unwrap_used, reason = "tests unwrap")]

mod bar;

fn check(arguments: &[&str], unit: &str) {
    bar::check(env!("CARGO_BIN_EXE_kv-bar"), arguments, unit);
}

#[test]
fn figures_of_reads_end_with_their_line() {
    check(&["get-hot"], "reads/s");
    check(&["get-uniform"], "reads/s");
    check(&["iterate-100k"], "ms");
    check(&["count-prefix"], "us");
    check(&["fanout-100k"], "ms");
    check(&["match-1m"], "us");
}

#[test]
fn figures_of_writes_end_with_their_line() {
    check(&["durable-puts", "--in-flight", "64", "--alone"], "puts/s");
    check(&["compaction-p99"], "x");
    check(&["recovery"], "s");
    check(&["ledger", "--in-flight", "64"], "x");
    check(&["lease-renewals"], "renewals/s");
}

#[test]
fn etcd_is_loaded_beside_or_said_to_be_missing() {
    check(&["durable-puts", "--in-flight", "64"], "puts/s");
    check(&["memory", "--wait-secs", "1"], "MiB");
}

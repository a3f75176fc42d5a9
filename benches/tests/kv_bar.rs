//! Every figure of the bar runs, tiny, and its last line is what it promises.
#![allow(clippy::unwrap_used, reason = "tests unwrap")]

use std::process::Command;

/// Runs one figure and returns the words of its last line.
fn last_line(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_kv-bar"))
        .args(arguments)
        .args(["--scale", "0.002", "--rounds", "1"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let last = lines.lines().last().unwrap_or_default();
    last.split(' ').map(str::to_owned).collect()
}

fn check(arguments: &[&str], unit: &str) {
    let last = last_line(arguments);
    assert_eq!(last.len(), 3, "{last:?}");
    assert_eq!((&last[0][..], &last[2][..]), (arguments[0], unit));
    assert!(last[1].parse::<f64>().unwrap().is_finite(), "{last:?}");
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

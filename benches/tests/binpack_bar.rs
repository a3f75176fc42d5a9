//! Every figure of the bar runs, tiny, and its last line is what it promises.
#![allow(clippy::unwrap_used, reason = "tests unwrap")]

mod bar;

fn check(figure: &str, unit: &str) {
    bar::check(env!("CARGO_BIN_EXE_binpack-bar"), &[figure], unit);
}

#[test]
fn figures_end_with_their_line() {
    for figure in ["karpenter-1k", "karpenter-5k", "karpenter-10k", "karpenter-20k"] {
        check(figure, "s");
    }
    check("preferences-4k", "s");
    check("place-plain-10k", "pods/s");
    check("place-plain-130k", "pods/s");
    check("place-tied-10k", "pods/s");
}

#[test]
fn costs_end_with_their_line() {
    if std::env::var_os("TRESTLE_DATA").is_none() {
        eprintln!("SKIPPED: costs_end_with_their_line wants TRESTLE_DATA");
        return;
    }
    check("cost-wide-1000-cmr", "%");
    check("cost-openb-cpu-cmr", "%");
}

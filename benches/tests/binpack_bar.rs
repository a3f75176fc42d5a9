//! Every figure of the bar runs, tiny, and its last line is what it promises.
#![allow(clippy::unwrap_used, reason = "tests unwrap")]

mod bar;

use std::process::Command;

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

/// Within two milliseconds a bound may be proved or not, which is a matter of the machine.
#[test]
fn costs_end_with_their_line_or_say_that_nothing_is_proved() {
    if std::env::var_os("TRESTLE_DATA").is_none() {
        eprintln!("SKIPPED: the costs want TRESTLE_DATA to name the folder of the data files");
        return;
    }
    for figure in ["cost-wide-1000-cmr", "cost-openb-cpu-cmr"] {
        let tiny = [figure, "--scale", "0.002", "--rounds", "1"];
        let output = Command::new(env!("CARGO_BIN_EXE_binpack-bar")).args(tiny).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        assert!(lines.starts_with(&format!("{figure}-rules ")), "{lines}");
        let last = lines.lines().last().unwrap();
        if output.status.success() {
            assert!(last.starts_with(&format!("{figure} ")) && last.ends_with(" %"), "{last}");
        } else {
            let errors = String::from_utf8(output.stderr).unwrap();
            assert!(errors.ends_with("nothing is proved within 1s\n"), "{errors}");
        }
    }
}

#[test]
fn an_unknown_figure_is_refused() {
    let program = env!("CARGO_BIN_EXE_binpack-bar");
    let output = Command::new(program).arg("cost-of-nothing").output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("there is no figure cost-of-nothing"), "{errors}");
}

//! Runs figures of a bar, tiny.

use std::process::Command;

/// Runs one figure of a program; its last line is the figure's name, a number and the unit.
pub(crate) fn check(program: &str, arguments: &[&str], unit: &str) {
    let output = Command::new(program)
        .args(arguments)
        .args(["--scale", "0.002", "--rounds", "1"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let last: Vec<&str> = lines.lines().last().unwrap_or_default().split(' ').collect();
    assert_eq!(last.len(), 3, "{last:?}");
    assert_eq!((last[0], last[2]), (arguments[0], unit));
    assert!(last[1].parse::<f64>().unwrap().is_finite(), "{last:?}");
}

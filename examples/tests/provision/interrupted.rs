//! Ctrl-C.

use std::io::{BufRead, BufReader};
use std::process::Command;

use crate::program::{Bench, json};

/// So many different pods that the planner is busy for minutes.
fn pods() -> String {
    let row = |index: u32| {
        let (cpu, memory) = (200 + index * 7_919 % 6_000, 300 + index * 104_729 % 20_000);
        format!("p-{index},{cpu},{memory},0,0")
    };
    let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli".to_owned();
    std::iter::once(header).chain((0..600).map(row)).collect::<Vec<_>>().join("\n")
}

#[test]
fn ctrl_c_ends_the_planning_and_shows_the_plan() {
    let bench = Bench::new();
    let (pods, out) = (bench.file("p.csv", &pods()), bench.path("out.json"));
    let args = ["--pods", &pods, "--iterations", "1000000", "--json", out.to_str().unwrap()];
    let mut child = Bench::command(&args).spawn().unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("provision: planning 600 pods"), "{line}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.contains("pods: 600 placed"), "{stdout}");
    assert!(stdout.contains("stopped by Ctrl-C"), "{stdout}");
    assert_eq!(json(&out)["cut_short"], true);
}

//! What is refused, with what it says.

use crate::program::Bench;

const OPENB: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\na,1000,1024,0,0,\n";

/// A run that must be refused: the last line of what it says.
fn refused(args: &[&str]) -> String {
    let ran = Bench::run(args);
    assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "nothing is planned");
    let line = ran.stderr.lines().last().unwrap_or_default();
    assert!(line.starts_with("provision: "), "{}", ran.stderr);
    line.to_owned()
}

#[test]
fn files_that_are_missing_or_malformed_are_named() {
    let bench = Bench::new();
    let pods = bench.file("ok.csv", OPENB);
    let wrong_cell = bench.file("cell.csv", &OPENB.replace("1000", "lots"));
    let header = bench.file("header.csv", "name,price\na,1\n");
    let text = bench.file("pods.txt", OPENB);
    let yaml = bench.file("pods.yaml", "kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  containers:\n  - {name: c, resources: {requests: {cpu: '-1'}}}\n");
    let nothing =
        bench.file("nothing.yaml", "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n");
    let groups = bench.file("groups.yaml", "- {name: g, instanceType: m7i.large, zone: a}");
    let types = bench.file("types.json", "[{\"name\": 1}]");
    let cases: [(&[&str], &[&str]); 15] = [
        (&["--pods", "none.csv"], &["--pods none.csv", "correct the path"]),
        (&["--pods", "none.yaml"], &["--pods none.yaml", "correct the path"]),
        (
            &["--pods", &wrong_cell],
            &["cell.csv", "line 2, column cpu_milli", "lots", "write a whole number"],
        ),
        (
            &["--pods", &header],
            &["header.csv", "line 1", "no known form", "initial_pods", "rdma_pct"],
        ),
        (&["--pods", &text], &["pods.txt", ".csv, .yaml, .yml or .json", "rename"]),
        (&["--pods", &yaml], &["pods.yaml document 1", "Pod default/a", "requests.cpu", "-1"]),
        (&["--pods", &nothing], &["nothing.yaml", "has no pod", "name a file with pods"]),
        (&["--pods", &pods, "--nodes", &pods], &["--nodes", "ok.csv", "no column sn"]),
        (&["--pods", &pods, "--nodes", &nothing], &["--nodes", "nothing.yaml", "has no Node"]),
        (&["--pods", &pods, "--pools", &nothing], &["--pools", "nothing.yaml", "has no NodePool"]),
        (
            &["--pods", &pods, "--pools", &pods],
            &["--pools", "ok.csv", "write NodePools in YAML or JSON"],
        ),
        (
            &["--pods", &pods, "--groups", &groups],
            &["--groups", "groups.yaml document 1 item 1, node group g", "has no `maxSize`"],
        ),
        (
            &["--pods", &pods, "--catalog", &header],
            &["--catalog", "header.csv", "no known form", "KWOK"],
        ),
        (&["--pods", &pods, "--catalog", &types], &["--catalog", "types.json", "name"]),
        (&["--pods", &pods, "--catalog", "none.csv"], &["--catalog", "none.csv", "check the path"]),
    ];
    for (args, parts) in cases {
        let line = refused(args);
        for part in parts {
            assert!(line.contains(part), "{part} is missing: {line}");
        }
    }
}

#[test]
fn flags_that_can_mean_nothing_are_refused() {
    let bench = Bench::new();
    let pods = bench.file("ok.csv", OPENB);
    let with = |flags: &[&str]| refused(&[&["--pods", &pods], flags].concat());
    let spot = with(&["--capacity-type", "spot"]);
    assert!(spot.contains("--capacity-type spot: no instance type of the catalogue"), "{spot}");
    let category = with(&["--instance-categories", "c,zz"]);
    assert!(category.contains("--instance-categories zz: "), "{category}");
    for (spec, problem) in [
        ("T4", "has no ="),
        ("T4=", "has an empty name"),
        ("=a", "has an empty name"),
        ("T4=a,,b", "has an empty name"),
    ] {
        let line = with(&["--gpu-spec", spec]);
        assert!(line.contains(&format!("--gpu-spec {spec}: {problem}")), "{line}");
    }
    let twice = with(&["--gpu-spec", "T4=a", "T4=b"]);
    assert!(twice.contains("names its model twice"), "{twice}");
    let bench = Bench::new();
    let unmapped = bench.file("gpu.csv", &format!("{OPENB}b,1000,1024,1,500,V100\n"));
    let line = refused(&["--pods", &unmapped, "--gpu-spec", "T4=t4"]);
    assert!(line.contains("line 3, column gpu_spec") && line.contains("V100"), "{line}");
    let only = with(&["--only", "gpu"]);
    assert!(only.contains("has no pod"), "{only}");
}

#[test]
fn clap_refuses_what_it_does_not_know() {
    let bench = Bench::new();
    let pods = bench.file("ok.csv", OPENB);
    let cases: [(&[&str], &str); 5] = [
        (&[], "--pods"),
        (&["--pods", &pods, "--arch", "mips"], "mips"),
        (&["--pods", &pods, "--iterations", "1000001"], "1000001"),
        (&["--pods", &pods, "--deadline-ms", "soon"], "soon"),
        (&["--pods", &pods, "--podz", "x"], "--podz"),
    ];
    for (args, named) in cases {
        let ran = Bench::run(args);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(named), "{}", ran.stderr);
    }
}

#[test]
fn names_given_twice_are_refused() {
    let bench = Bench::new();
    let (one, other) = (bench.file("1.csv", OPENB), bench.file("2.csv", OPENB));
    let line = refused(&["--pods", &one, &other]);
    assert!(line.contains("pod a: name is given twice"), "{line}");
}

#[test]
fn a_file_that_cannot_be_written_is_named_after_the_plan() {
    let bench = Bench::new();
    let pods = bench.file("ok.csv", OPENB);
    let nowhere = bench.path("no/such/folder/out").display().to_string();
    for flag in ["--json", "--svg"] {
        let ran = Bench::run(&["--pods", &pods, flag, &nowhere]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stdout.contains("pods: 1 placed"), "{}", ran.stdout);
        let said = format!("provision: {flag} {nowhere} can't be written");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
}

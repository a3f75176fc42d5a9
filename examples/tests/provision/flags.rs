//! What flags change, and what is written.

use std::fs;

use serde_json::{Value, json as value};

use crate::program::{Bench, json, launched};
use crate::xml::{self, Element};

const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n\
                    a<&\"1\">,1900,2048,0,0\nb,1900,2048,0,0\nc,3900,6000,0,0\n";

/// Two kinds of machines, of which one has a name that XML must escape.
const CATALOGUE: &str = r#"[
  {"name": "tiny<&\"1\">", "labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
   "karpenter.k8s.aws/instance-category": "c"},
   "capacity": {"cpu": "2", "memory": "4Gi", "pods": 10},
   "offerings": [{"zone": "z", "capacity_type": "on-demand", "price": 0.05},
                 {"zone": "z", "capacity_type": "spot", "price": 0.02}]},
  {"name": "large", "labels": {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux",
   "karpenter.k8s.aws/instance-category": "m"},
   "capacity": {"cpu": "4", "memory": "32Gi", "pods": 10},
   "offerings": [{"zone": "z", "capacity_type": "on-demand", "price": 0.2}]}
]"#;

#[test]
fn the_default_pool_is_shaped_by_flags() {
    let bench = Bench::new();
    let (pods, types) = (bench.file("p.csv", PODS), bench.file("types.json", CATALOGUE));
    let files = ["--pods", &pods, "--catalog", &types];
    let planned = |code: i32, flags: &[&str]| bench.planned(code, &[&files, flags].concat()).0;
    let paid = |plan: &Value| plan["nodes"][0]["capacity_type"].clone();

    let plan = planned(1, &[]);
    assert_eq!(launched(&plan), ["tiny<&\"1\">"; 2], "amd64 on demand");
    assert_eq!((paid(&plan), &plan["unplaced"][0]["pod"]), (value!("on-demand"), &value!("c")));
    let plan = planned(1, &["--capacity-type", "spot"]);
    assert_eq!((launched(&plan).len(), paid(&plan)), (2, value!("spot")));
    let plan = planned(0, &["--arch", "arm64"]);
    assert!(launched(&plan).iter().all(|name| *name == "large"));
    let plan = planned(0, &["--arch", "any", "--capacity-type", "any"]);
    assert_eq!(plan["cost_per_hour"], 0.24, "two by spot, and a large one");
    let plan = planned(0, &["--arch", "any", "--instance-categories", "m"]);
    assert!(launched(&plan).iter().all(|name| *name == "large"));
    let plan = planned(0, &["--arch", "any", "--instance-categories", "c,m"]);
    assert_eq!(launched(&plan).iter().filter(|name| **name == "large").count(), 1);
}

#[test]
fn pods_go_to_the_first_node_or_the_fullest() {
    let bench = Bench::new();
    let pods =
        bench.file("p.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1000,1024,0,0\n");
    let nodes = "sn,cpu_milli,memory_mib,gpu,model\nwide,8000,65536,0,\ntight,2000,2048,0,\n";
    let nodes = bench.file("n.csv", nodes);
    for (fit, pods_of) in [("first", [1, 0]), ("best", [0, 1])] {
        let args = ["--pods", &pods, "--nodes", &nodes, "--fit", fit];
        let (plan, _) = bench.planned(0, &args);
        let placed = [0, 1].map(|at: usize| plan["nodes"][at]["pods"].as_array().unwrap().len());
        assert_eq!(placed, pods_of, "{fit}");
    }
}

#[test]
fn a_deadline_that_is_over_leaves_the_quick_plan() {
    let bench = Bench::new();
    let pods = bench.file("p.csv", PODS);
    let (plan, ran) = bench.planned(0, &["--pods", &pods, "--deadline-ms", "0"]);
    assert_eq!((&plan["cut_short"], &plan["iterations"]), (&value!(true), &value!(0)));
    assert_eq!(plan["counts"]["placed"], 3);
    assert!(ran.stdout.contains("stopped by the deadline"), "{}", ran.stdout);
    let (plan, _) = bench.planned(0, &["--pods", &pods, "--deadline-ms", &u64::MAX.to_string()]);
    assert_eq!(plan["cut_short"], false, "a deadline beyond the clock is none");
}

#[test]
fn the_drawing_is_well_formed_and_shows_every_node() {
    let bench = Bench::new();
    let (pods, types) = (bench.file("p.csv", PODS), bench.file("types.json", CATALOGUE));
    let svg = bench.path("plan.svg");
    let args = ["--pods", &pods, "--catalog", &types, "--arch", "any", "--svg"];
    let (plan, _) = bench.planned(0, &[&args[..], &[svg.to_str().unwrap()]].concat());
    let names = launched(&plan);
    assert_eq!(names.len(), 3, "{names:?}");

    let elements = xml::elements(&fs::read_to_string(&svg).unwrap());
    let of = |name: &str| -> Vec<&Element> { elements.iter().filter(|e| e.name == name).collect() };
    assert_eq!(of("svg")[0].attribute("xmlns"), Some("http://www.w3.org/2000/svg"));
    let groups = |class: &str| {
        of("g").iter().filter(|group| group.attribute("class") == Some(class)).count()
    };
    assert_eq!((groups("legend"), groups("type")), (1, 2));
    assert_eq!(groups("node"), 2, "the two equal ones are one bar");
    let texts: Vec<&str> = of("text").iter().map(|text| text.text.as_str()).collect();
    for text in [
        "2 nodes",
        "1 node",
        "1.9 CPU, 2 GiB (2 pods)",
        "tiny<&\"1\"> (default, on-demand): 2 nodes at 0.0500 $/h",
    ] {
        assert!(texts.contains(&text), "{text} is missing: {texts:?}");
    }
    for rect in of("rect") {
        let number = |name| rect.attribute(name).map_or(Ok(0.0), str::parse::<f64>);
        let [x, width, height] = ["x", "width", "height"].map(|name| number(name).unwrap());
        assert!(x >= 0.0 && width > 0.0 && height > 0.0, "{rect:?}");
    }
}

#[test]
fn output_that_nobody_reads_is_no_mistake() {
    let bench = Bench::new();
    let (pods, out) = (bench.file("p.csv", PODS), bench.path("out.json"));
    let mut child =
        Bench::command(&["--pods", &pods, "--json", out.to_str().unwrap()]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(json(&out)["counts"]["placed"], 3);
}

/// More different nodes than bars that anybody would look at.
#[test]
fn a_large_drawing_shows_averages() {
    let bench = Bench::new();
    let rows = (0..450).map(|index| format!("p-{index},{},1024,0,0", 1_500 + index));
    let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli".to_owned();
    let pods = std::iter::once(header).chain(rows).collect::<Vec<_>>().join("\n");
    let (pods, types) = (bench.file("p.csv", &pods), bench.file("types.json", CATALOGUE));
    let svg = bench.path("plan.svg");
    let args = ["--pods", &pods, "--catalog", &types, "--iterations", "0", "--svg"];
    bench.planned(0, &[&args[..], &[svg.to_str().unwrap()]].concat());
    let elements = xml::elements(&fs::read_to_string(&svg).unwrap());
    let texts: Vec<&str> =
        elements.iter().filter(|e| e.name == "text").map(|e| e.text.as_str()).collect();
    assert!(texts.contains(&"450 nodes"), "one bar for all: {texts:?}");
    assert!(texts.iter().any(|text| text.ends_with(", on average")), "and it says so");
    assert!(texts.iter().any(|text| text.starts_with("others (")), "{texts:?}");
}

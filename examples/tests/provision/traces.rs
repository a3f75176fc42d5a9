//! Plans from traces in CSV.

use std::path::Path;

use serde_json::{Value, json};

use crate::program::{Bench, launched};

const OPENB: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n\
                     web,2000,4096,0,0,\n\
                     share-a,4000,8192,1,600,T4\n\
                     share-b,4000,8192,1,460,T4|A10\n\
                     whole,8000,16384,2,1000,\n";

const NODES: &str =
    "sn,cpu_milli,memory_mib,gpu,model\nbox-0,16000,65536,2,T4\nbox-1,4000,8192,0,\n";

const WIDE: &str = "name,cpu_m,memory_mib,initial_pods,scaled_in_pods,hostname_anti_affinity,\
                    zone_spread_max_skew,hostname_spread_max_skew\n\
                    web,900,1024,6,4,1,1,\napi,1900,4096,5,3,,1,\n";

#[test]
fn shares_of_gpus_name_their_devices() {
    let bench = Bench::new();
    let pods = bench.file("openb.csv", OPENB);
    let nodes = bench.file("nodes.csv", NODES);
    let (plan, ran) = bench.planned(0, &["--pods", &pods, "--nodes", &nodes]);
    assert_eq!(plan["counts"]["placed"], 4);
    let with_gpus: Vec<&Value> =
        plan["nodes"].as_array().unwrap().iter().filter(|node| node["gpus"].is_object()).collect();
    let mut devices: Vec<(&str, usize)> = with_gpus
        .iter()
        .flat_map(|node| node["gpus"].as_object().unwrap())
        .map(|(pod, gpus)| (pod.as_str(), gpus.as_array().unwrap().len()))
        .collect();
    devices.sort_unstable();
    assert_eq!(devices, [("share-a", 1), ("share-b", 1), ("whole", 2)]);
    assert_eq!(plan["counts"]["nodes_existing"], 2);
    assert!(ran.stdout.contains("16 CPU, 64 GiB, 2 GPU"), "{}", ran.stdout);
}

#[test]
fn gpu_models_are_mapped_on_demand() {
    let bench = Bench::new();
    let pods = bench.file("openb.csv", OPENB);
    let args = ["--pods", &pods, "--only", "gpu", "--gpu-spec", "T4=l4", "A10=l4,a10g"];
    let (plan, ran) = bench.planned(0, &args);
    assert!(ran.stderr.contains("openb.csv: 1 pod left out by --only"), "{}", ran.stderr);
    let (mut found, nodes) = (0, plan["nodes"].as_array().unwrap());
    for node in nodes {
        let pods = node["pods"].as_array().unwrap();
        if pods.contains(&json!("share-a")) {
            let name = node["instance_type"].as_str().unwrap();
            assert!(name.starts_with("g6"), "T4 stands for l4, and {name} is no g6");
            found += 1;
        }
    }
    assert_eq!(found, 1);
    let without = bench.planned(0, &["--pods", &pods, "--only", "gpu"]).0;
    assert!(launched(&without).iter().any(|name| name.starts_with("g4dn")), "any GPU will do");
    let cpu = bench.planned(0, &["--pods", &pods, "--only", "cpu"]).0;
    assert_eq!((&cpu["counts"]["pods"], &cpu["nodes"][0]["pods"]), (&json!(1), &json!(["web"])));
}

#[test]
fn deployments_are_scaled_and_spread() {
    let bench = Bench::new();
    let pods = bench.file("wide.csv", WIDE);
    let (initial, ran) = bench.planned(0, &["--pods", &pods]);
    assert_eq!(initial["counts"]["placed"], 11);
    assert!(ran.stdout.contains("the bound leaves out: spread over domains"), "{}", ran.stdout);
    for node in initial["nodes"].as_array().unwrap() {
        let web = |pod: &&Value| pod.as_str().unwrap().starts_with("web-");
        assert!(node["pods"].as_array().unwrap().iter().filter(web).count() <= 1, "{node}");
    }
    let (scaled_in, _) = bench.planned(0, &["--pods", &pods, "--replicas", "scaled-in"]);
    assert_eq!(scaled_in["counts"]["placed"], 7);
    let cost = |plan: &Value| plan["cost_per_hour"].as_f64().unwrap();
    assert!(cost(&scaled_in) < cost(&initial));
}

#[test]
fn the_dlrm_trace_leaves_disk_and_cards_out_on_demand() {
    let bench = Bench::new();
    let rows = "instance,role,app,cpu,gpu,rdma_pct,memory_gib,disk_gib,max_instance_per_node\n\
                0,CN,0,12,0,25,64,4000,8\n";
    let pods = bench.file("dlrm.csv", rows);
    let (plan, _) = bench.planned(1, &["--pods", &pods]);
    assert_eq!(plan["unplaced"][0]["pod"], "dlrm-0");
    let ignored = ["--pods", &pods, "--ignore-disk", "--ignore-rdma"];
    let (plan, _) = bench.planned(0, &ignored);
    assert_eq!(plan["nodes"][0]["pods"], json!(["dlrm-0"]));
}

#[test]
fn the_same_question_gets_the_same_bytes() {
    let bench = Bench::new();
    let pods = bench.file("wide.csv", WIDE);
    let text = || {
        bench.planned(0, &["--pods", &pods, "--iterations", "40"]);
        let text = std::fs::read_to_string(bench.path("out.json")).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("elapsed_ms")).collect();
        assert_eq!(lines.len() + 1, text.lines().count(), "one line tells the time");
        lines.join("\n")
    };
    assert_eq!(text(), text());
}

/// Real deployments on two real catalogues come close to what is proved.
#[test]
fn the_wide_deployments_come_close_to_the_bound() {
    let Ok(data) = std::env::var("TRESTLE_DATA") else {
        eprintln!("SKIPPED: set TRESTLE_DATA to the folder with karpenter_wide_deployments.csv");
        return;
    };
    let path = |name: &str| Path::new(&data).join(name).display().to_string();
    let pods = path("karpenter_wide_deployments.csv");
    for catalogue in ["kwok_instance_types.csv", "aws_instance_types.csv"] {
        let bench = Bench::new();
        let catalogue = path(catalogue);
        let args = ["--pods", &pods, "--catalog", &catalogue, "--iterations", "400"];
        let (plan, ran) = bench.planned(0, &args);
        println!("{catalogue}\n{}", ran.stdout);
        assert_eq!((&plan["counts"]["placed"], &plan["bound"]), (&json!(1_000), &json!("proved")));
        let gap = plan["gap_percent"].as_f64().unwrap();
        assert!(gap < 3.0, "{gap} % above the bound");
    }
}

use binpack::workload::*;
use binpack::*;
use std::time::Instant;
fn main() {
    let data = std::env::var("TRESTLE_DATA").unwrap();
    let which = std::env::args().nth(1).unwrap();
    let cat = std::env::args().nth(2).unwrap();
    let secs: f64 = std::env::var("SECS").map_or(1.0, |s| s.parse().unwrap());
    let read =
        |f: &str, o: &TraceOptions| workload::open_pods(format!("{data}/{f}"), o).unwrap().pods;
    let mut o = TraceOptions::default();
    let pods = match which.as_str() {
        "wide" => read("karpenter_wide_deployments.csv", &o),
        "wide700" => {
            o.replicas = Replicas::ScaledIn;
            read("karpenter_wide_deployments.csv", &o)
        }
        "openb" => read("openb_pod_list_default.csv", &o),
        "openbcpu" => {
            o.devices = Devices::NoGpu;
            read("openb_pod_list_default.csv", &o)
        }
        "dlrm" => {
            o.devices = Devices::NoGpu;
            o.disk = Claim::Ignore;
            o.rdma = Claim::Ignore;
            read("alibaba_dlrm_2025.csv", &o)
        }
        _ => panic!(),
    };
    let file = match cat.as_str() {
        "kwok" => "kwok_instance_types.csv",
        "gce" => "gce_machine_prices.csv",
        _ => "aws_instance_types.csv",
    };
    let all = CsvCatalogue::open(format!("{data}/{file}")).unwrap().types();
    let types: Vec<InstanceType> = all
        .iter()
        .filter(|it| {
            if file != "aws_instance_types.csv" || cat == "aws" {
                return true;
            }
            let c = &*it.labels[key::INSTANCE_CATEGORY];
            let g: u32 = it.labels[key::INSTANCE_GENERATION].parse().unwrap();
            let cpu = it.capacity.cpu_milli / 1000;
            match cat.as_str() {
                "cmr" => ["c", "m", "r"].contains(&c) && g > 2,
                "cmr6" => ["c", "m", "r"].contains(&c) && g >= 6 && cpu <= 32,
                _ => panic!(),
            }
        })
        .cloned()
        .collect();
    let input = Input {
        pods,
        pools: vec![NodePool::linux_amd64_on_demand("default")],
        instance_types: types.into(),
        ..Input::default()
    };
    let t0 = Instant::now();
    let mut next = 0.05;
    let mut config = Config::default();
    config.iterations = 1_000_000;
    let plan = plan_until(&input, &config, |p| {
        let e = t0.elapsed().as_secs_f64();
        if e > next {
            next = e * 2.0;
            eprintln!(
                "  {:.3}s it {} cost {:.3} bound {:.3} gap {:.2}%",
                e,
                p.iterations,
                p.cost_per_hour_micros as f64 / 1e6,
                p.lower_bound_micros as f64 / 1e6,
                (p.cost_per_hour_micros as f64 / p.lower_bound_micros as f64 - 1.0) * 100.0
            );
        }
        e > secs
    })
    .unwrap();
    println!(
        "{which} {cat}: {} pods {} launches {} unplaced ${:.3} {:?}",
        input.pods.len(),
        plan.launches.len(),
        plan.unplaced.len(),
        plan.cost_per_hour(),
        t0.elapsed()
    );
    for u in plan.unplaced.iter().take(2) {
        println!("   {} {}", u.pod, u.reason);
    }
    let t0 = Instant::now();
    for b in breaches(&input, &plan).iter().take(3) {
        println!("INVALID {b}");
    }
    println!("validated in {:?}", t0.elapsed());
    let t0 = Instant::now();
    println!(
        "gap {:?} {:?} verify {:?} in {:?}",
        plan.gap_percent(),
        plan.certificate.as_ref().map(|c| (c.lower_bound_micros as f64 / 1e6, c.left_out.clone())),
        verify(&input, &plan),
        t0.elapsed()
    );
}

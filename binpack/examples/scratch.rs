use binpack::*;
fn main() {
    let data = std::env::var("TRESTLE_DATA").unwrap();
    let which = std::env::args().nth(1).unwrap();
    let cat = std::env::args().nth(2).unwrap();
    let read = |f: &str| std::fs::read_to_string(format!("{data}/{f}")).unwrap();
    let rows = |f: &str| -> Vec<Vec<String>> {
        read(f).lines().skip(1).map(|l| l.split(',').map(String::from).collect()).collect()
    };
    let mut pods = Vec::new();
    match which.as_str() {
        "wide" | "wide700" => {
            for r in rows("karpenter_wide_deployments.csv") {
                let n: usize = r[if which == "wide" { 3 } else { 4 }].parse().unwrap();
                for i in 0..n {
                    pods.push(Pod::new(
                        format!("{}-{i}", r[0]),
                        Resources::new(r[1].parse().unwrap(), r[2].parse::<u64>().unwrap() << 20),
                    ));
                }
            }
        }
        "openb" | "openbcpu" => {
            pods = workload::openb(read("openb_pod_list_default.csv").as_bytes()).unwrap();
            if which == "openbcpu" {
                pods.retain(|p| p.requests.gpu_milli == 0);
            }
        }
        "dlrm" => {
            for r in rows("alibaba_dlrm_2025.csv") {
                if r[4] != "0" {
                    continue;
                }
                let f = |s: &str| s.parse::<f64>().unwrap();
                pods.push(Pod::new(
                    r[0].clone(),
                    Resources::new(
                        (f(&r[3]) * 1000.0) as u64,
                        (f(&r[6]) * (1u64 << 30) as f64) as u64,
                    ),
                ));
            }
        }
        _ => panic!(),
    }
    let mut types = Vec::new();
    if cat == "kwok" {
        for r in rows("kwok_instance_types.csv") {
            if r[1] != "amd64" || r[2] != "linux" {
                continue;
            }
            let cpu: u64 = r[3].parse().unwrap();
            let mem: u64 = if let Some(t) = r[4].strip_suffix("Ti") {
                t.parse::<u64>().unwrap() * 1024
            } else {
                r[4].trim_end_matches("Gi").parse().unwrap()
            };
            let cap = Resources::new(cpu * 1000, mem << 30).with_pods(r[5].parse().unwrap());
            let alloc = Resources::new(cpu * 1000 - 100, (mem << 30) - (10 << 20))
                .with_pods(r[5].parse().unwrap());
            types.push(
                InstanceType::new(r[0].clone(), cap)
                    .with_allocatable(alloc)
                    .with_label(key::OS, "linux")
                    .with_label(key::ARCH, "amd64")
                    .with_offering(Offering::new(
                        "a",
                        CapacityType::OnDemand,
                        (r[7].parse::<f64>().unwrap() * 1e6).ceil() as u64,
                    )),
            );
        }
    } else {
        let all = CsvCatalogue::open(format!("{data}/aws_instance_types.csv")).unwrap();
        for it in all.types().iter() {
            let c = &*it.labels[key::INSTANCE_CATEGORY];
            let g: u32 = it.labels[key::INSTANCE_GENERATION].parse().unwrap();
            let cpu = it.capacity.cpu_milli / 1000;
            let ok = match cat.as_str() {
                "aws" => true,
                "cmr" => ["c", "m", "r"].contains(&c) && g > 2,
                "cmr6" => ["c", "m", "r"].contains(&c) && g >= 6 && cpu <= 32,
                "all" => true,
                _ => panic!(),
            };
            if ok {
                types.push(it.clone());
            }
        }
    }
    let input = Input {
        pods,
        pools: vec![NodePool::linux_amd64_on_demand("default")],
        instance_types: types.into(),
        ..Input::default()
    };
    let plan = plan(&input, &Config::default()).unwrap();
    println!(
        "{which} {cat}: {} pods {} launches {} unplaced ${:.3}",
        input.pods.len(),
        plan.launches.len(),
        plan.unplaced.len(),
        plan.cost_per_hour()
    );
    if let Err(e) = validate(&input, &plan) {
        println!("INVALID {e}");
    }
}

//! What a pod requests in all.

use super::amounts::{Amounts, Rounding};
use super::object::Origin;
use super::pod_spec::{Container, ContainerResources, PodSpec};
use crate::error::Result;
use crate::model::Resources;

/// What a pod needs of its node: the greatest of what its containers and sidecars need together
/// and what any init container needs beside the sidecars started before it, and the overhead.
/// Amounts for the whole pod take the place of that.
///
/// Source: KEP-753 (sidecars), KEP-688 (overhead), KEP-2837 (amounts for the pod). `path` is where
/// the pod's spec is in the object.
pub(super) fn requests(spec: &PodSpec, origin: &Origin, path: &str) -> Result<Resources> {
    let mut running = Amounts::default();
    for (index, container) in spec.containers.iter().enumerate() {
        running.add(&of_container(container, origin, &format!("{path}.containers[{index}]"))?);
    }
    let (mut sidecars, mut starting) = (Amounts::default(), Amounts::default());
    for (index, container) in spec.init_containers.iter().enumerate() {
        let needs = of_container(container, origin, &format!("{path}.initContainers[{index}]"))?;
        if container.is_sidecar() {
            sidecars.add(&needs);
            running.add(&needs);
            starting.raise_to(&sidecars);
        } else {
            let mut beside = sidecars.clone();
            beside.add(&needs);
            starting.raise_to(&beside);
        }
    }
    running.raise_to(&starting);
    if let Some(of_pod) = &spec.resources {
        replace(&mut running, of_pod, origin, &format!("{path}.resources"))?;
    }
    if let Some(overhead) = &spec.overhead {
        checked(overhead, origin, &format!("{path}.overhead"))?;
        running.add(overhead);
    }
    checked(&running, origin, &format!("the sum of {path}.containers' requests, "))
}

/// A limit without a request is the request as well: the API server sets it so.
fn of_container(container: &Container, origin: &Origin, path: &str) -> Result<Amounts> {
    let Some(resources) = &container.resources else {
        return Ok(Amounts::default());
    };
    let (requests, limits) = both(resources, origin, &format!("{path}.resources"))?;
    let mut needs = requests;
    needs.complete_from(&limits);
    Ok(needs)
}

/// The amounts that are given for the whole pod. A limit counts where neither the pod nor a
/// container requests the resource.
fn replace(
    needs: &mut Amounts,
    of_pod: &ContainerResources,
    origin: &Origin,
    path: &str,
) -> Result<()> {
    let (requests, limits) = both(of_pod, origin, path)?;
    for (name, _) in requests.iter().chain(limits.iter()) {
        if !matches!(name, "cpu" | "memory") && !name.starts_with("hugepages-") {
            let problem = "is no resource of a whole pod: ask for it in a container";
            return Err(origin.wrong(format!("{path}: {name}"), problem));
        }
    }
    for (name, amount) in requests.iter() {
        needs.set(name, amount);
    }
    needs.complete_from(&limits);
    Ok(())
}

fn both(resources: &ContainerResources, origin: &Origin, path: &str) -> Result<(Amounts, Amounts)> {
    let requests = resources.requests.clone().unwrap_or_default();
    let limits = resources.limits.clone().unwrap_or_default();
    checked(&requests, origin, &format!("{path}.requests."))?;
    checked(&limits, origin, &format!("{path}.limits."))?;
    Ok((requests, limits))
}

/// Whether the planner can count these; `prefix` goes before the name of the one that is wrong.
fn checked(amounts: &Amounts, origin: &Origin, prefix: &str) -> Result<Resources> {
    let wrong = |(name, problem)| origin.wrong(format_args!("{prefix}{name}"), problem);
    amounts.resources(Rounding::Up).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::manifest::object::Object;
    use crate::manifest::source::Document;

    fn of(spec: &Value) -> Result<Resources> {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        let mut object = Object::of(Document { at: "document 1".into(), value }).expect("a pod");
        object.identify(true).expect("it has a name");
        requests(&object.origin.decode(spec)?, &object.origin, "spec")
    }

    fn cpu(spec: &Value) -> u64 {
        of(spec).expect("well formed").cpu_milli
    }

    fn asks(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(cpu: &str) -> Value {
        json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn containers_add_up_and_init_containers_are_one_after_the_other() {
        let spec =
            |init: Value| json!({"containers": [asks("1"), asks("500m")], "initContainers": init});
        assert_eq!(cpu(&spec(json!([]))), 1_500);
        assert_eq!(cpu(&spec(json!([asks("1"), asks("700m")]))), 1_500);
        assert_eq!(cpu(&spec(json!([asks("1"), asks("4")]))), 4_000);
    }

    #[test]
    fn sidecars_run_beside_what_starts_after_them() {
        let spec = |init: Value| json!({"containers": [asks("1")], "initContainers": init});
        assert_eq!(cpu(&spec(json!([sidecar("200m"), asks("500m")]))), 1_200);
        assert_eq!(cpu(&spec(json!([sidecar("200m"), asks("2"), sidecar("100m")]))), 2_200);
        assert_eq!(cpu(&spec(json!([asks("2"), sidecar("200m")]))), 2_000);
    }

    #[test]
    fn a_limit_is_the_request_where_none_is_given() {
        let spec = json!({"containers": [{"resources": {
            "requests": {"cpu": "1"}, "limits": {"cpu": "4", "memory": "1Gi", "nvidia.com/gpu": 8}
        }}]});
        let expected = Resources::new(1_000, 1 << 30).with_gpu_milli(8_000);
        assert_eq!(of(&spec).expect("well formed"), expected);
    }

    #[test]
    fn amounts_for_the_pod_and_overhead() {
        let spec = |of_pod: Value| json!({"containers": [asks("1"), asks("1")], "resources": of_pod, "overhead": {"cpu": "250m"}});
        assert_eq!(cpu(&spec(json!({"requests": {"cpu": "5"}}))), 5_250);
        assert_eq!(
            cpu(&spec(json!({"limits": {"cpu": "5"}}))),
            2_250,
            "the containers ask for less"
        );
        let memory = spec(json!({"limits": {"memory": "1Gi"}}));
        assert_eq!(of(&memory).expect("well formed").memory_bytes, 1 << 30);
        let said =
            of(&spec(json!({"requests": {"nvidia.com/gpu": 1}}))).expect_err("refused").to_string();
        assert!(
            said.contains("spec.resources: nvidia.com/gpu is no resource of a whole pod"),
            "{said}"
        );
    }

    #[test]
    fn errors_name_the_container_and_the_resource() {
        let with = |amount: &str| json!({"containers": [asks("1"), {"resources": {"limits": {"nvidia.com/gpu": amount}}}]});
        assert_eq!(
            of(&with("1500m")).expect_err("a fraction").to_string(),
            "document 1, Pod default/p: spec.containers[1].resources.limits.nvidia.com/gpu is 1.5: a pod gets whole GPUs, write a whole number"
        );
        assert_eq!(
            of(&with("-1")).expect_err("negative").to_string(),
            "document 1, Pod default/p: containers[1].resources.limits.nvidia.com/gpu is \"-1\": an amount can't be negative, write one from 0 on"
        );
        let most = json!({"containers": [asks("9000000000000"), asks("9000000000000")]});
        assert!(
            of(&most)
                .expect_err("absurd")
                .to_string()
                .contains("the sum of spec.containers' requests, cpu is")
        );
    }
}

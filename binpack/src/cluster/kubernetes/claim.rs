//! A launch as Karpenter's `NodeClaim`.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{NODE, PODS, promise};
use crate::model::{GPU_MILLI, Launch, Resources, key};

/// What the annotation about the node may take, in bytes: beside the pods' it leaves some of the
/// 256 KiB of all annotations to others.
const MAX_NODE_BYTES: usize = 48 << 10;
/// As much of a pool's name begins the name of its claims.
const MAX_PREFIX: usize = 200;

/// Annotations by which Karpenter tells whether a claim is what its pool would launch now.
const HASHES: [&str; 2] = ["karpenter.sh/nodepool-hash", "karpenter.sh/nodepool-hash-version"];

/// The name of a launch's claim: the same launch for the same pods has the same one. Another
/// `attempt` gives another.
pub(super) fn name(launch: &Launch, pods: &Map<String, Value>, attempt: u32) -> String {
    let mut hash = DefaultHasher::new();
    (&launch.pool, &launch.instance_type, &launch.zone, launch.capacity_type).hash(&mut hash);
    for (pod, uid) in pods {
        (pod, uid.as_str()).hash(&mut hash);
    }
    attempt.hash(&mut hash);
    let prefix: String = launch.pool.chars().take(MAX_PREFIX).collect();
    format!("{}-{:016x}", prefix.trim_end_matches(['-', '.']), hash.finish())
}

/// The claim, which is what Karpenter would make of its pool's template, for one type in one zone.
pub(super) fn claim(
    launch: &Launch,
    name: &str,
    pool: &Value,
    pods: &Map<String, Value>,
    alternatives: usize,
) -> Result<Value> {
    let template = pool.pointer("/spec/template").cloned().unwrap_or_default();
    let Value::Object(mut spec) = template.get("spec").cloned().unwrap_or_default() else {
        let message = format!("pool {}: spec.template.spec is not given: write it", launch.pool);
        return Err(Error::new(ErrorKind::Invalid, message));
    };
    let mut requirements = spec.remove("requirements").unwrap_or_default();
    let chosen = chosen(launch, &requirements, alternatives);
    if let Value::Array(requirements) = &mut requirements {
        requirements.extend(chosen);
    } else {
        requirements = chosen.into();
    }
    spec.insert("requirements".into(), requirements);
    spec.insert("resources".into(), json!({"requests": quantities(&launch.requested)}));
    Ok(json!({
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": name,
            "labels": labels(launch, &template),
            "annotations": annotations(launch, pool, &template, pods)?,
            "ownerReferences": owners(launch, pool),
        },
        "spec": spec,
    }))
}

/// What the plan has chosen, as requirements beside the pool's.
fn chosen(launch: &Launch, of_pool: &Value, alternatives: usize) -> Vec<Value> {
    let wants_choice = |r: &Value| r.get("minValues").is_some_and(|least| !least.is_null());
    let choice = of_pool.as_array().is_some_and(|all| all.iter().any(wants_choice));
    let count = if choice { launch.alternatives.len() } else { alternatives };
    let types =
        std::iter::once(&launch.instance_type).chain(launch.alternatives.iter().take(count));
    let types: Vec<&str> = types.map(|name| &**name).collect();
    let one_of =
        |key: &str, values: &[&str]| json!({"key": key, "operator": "In", "values": values});
    vec![
        one_of(key::INSTANCE_TYPE, &types),
        one_of(key::ZONE, &[&launch.zone]),
        one_of(key::CAPACITY_TYPE, &[launch.capacity_type.as_str()]),
    ]
}

fn labels(launch: &Launch, template: &Value) -> Value {
    let mut labels = strings(template, "/metadata/labels");
    labels.insert(key::NODE_POOL.into(), (&*launch.pool).into());
    labels.into()
}

fn annotations(
    launch: &Launch,
    pool: &Value,
    template: &Value,
    pods: &Map<String, Value>,
) -> Result<Value> {
    let node = promise(&launch.node("node")).to_string();
    if node.len() > MAX_NODE_BYTES {
        let message = format!(
            "launch of {}: its labels and resources take {} bytes, above {MAX_NODE_BYTES} of an \
             annotation: give the instance type fewer labels",
            launch.instance_type,
            node.len()
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let mut annotations = strings(template, "/metadata/annotations");
    let mut hashes = strings(pool, "/metadata/annotations");
    hashes.retain(|key, _| HASHES.contains(&key.as_str()));
    annotations.append(&mut hashes);
    annotations.insert(NODE.into(), node.into());
    annotations.insert(PODS.into(), Value::from(pods.clone()).to_string().into());
    Ok(annotations.into())
}

/// The pool owns its claims: they go with it.
fn owners(launch: &Launch, pool: &Value) -> Value {
    match pool.pointer("/metadata/uid").and_then(Value::as_str) {
        Some(uid) => json!([{
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "name": &*launch.pool,
            "uid": uid,
            "blockOwnerDeletion": true,
        }]),
        None => json!([]),
    }
}

fn strings(object: &Value, path: &str) -> Map<String, Value> {
    object.pointer(path).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Amounts as Kubernetes writes them. What best-effort pods use beside the others is no resource of
/// a machine.
fn quantities(resources: &Resources) -> Value {
    let mut all = Map::new();
    let mut add = |name: &str, amount: u64, quantity: String| {
        if amount > 0 {
            all.insert(name.into(), quantity.into());
        }
    };
    add("cpu", resources.cpu_milli, format!("{}m", resources.cpu_milli));
    add("memory", resources.memory_bytes, resources.memory_bytes.to_string());
    add("pods", resources.pods, resources.pods.to_string());
    let ephemeral = resources.ephemeral_bytes;
    add("ephemeral-storage", ephemeral, ephemeral.to_string());
    let gpus = resources.gpu_milli.div_ceil(GPU_MILLI);
    add("nvidia.com/gpu", gpus, gpus.to_string());
    for (name, amount) in &resources.extended {
        if ![Resources::BATCH_CPU, Resources::BATCH_MEMORY].contains(&&**name) {
            add(name, *amount, amount.to_string());
        }
    }
    all.into()
}

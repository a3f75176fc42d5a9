//! Volumes that are made where their first pod runs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::view::{id, name, text};

/// The annotation of a claim by which its volume's driver knows where to make it. Whoever schedules
/// the pod writes it; without it the claim stays pending for ever.
///
/// Source: kubernetes.io, Storage Classes, "Volume binding mode".
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The annotation of the class that a claim without one gets.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// The paths of claims that wait for a node, by the pod that has them.
pub(super) fn unplaced(
    pods: &[Value],
    claims: &[Value],
    classes: &[Value],
) -> HashMap<Arc<str>, Vec<String>> {
    let waits = |class: &&Value| text(class, "", "volumeBindingMode") == "WaitForFirstConsumer";
    let waiting: HashSet<String> = classes.iter().filter(waits).filter_map(name).collect();
    let default = |class: &&Value| text(class, "/metadata/annotations", DEFAULT_CLASS) == "true";
    let default = classes.iter().find(default).and_then(name);
    let unbound = |claim: &&Value| {
        let class = match claim.pointer("/spec/storageClassName").and_then(Value::as_str) {
            Some(class) => Some(class),
            None => default.as_deref(),
        };
        class.is_some_and(|class| waiting.contains(class))
            && text(claim, "/spec", "volumeName").is_empty()
            && text(claim, "/metadata/annotations", SELECTED_NODE).is_empty()
    };
    let unbound: HashSet<Arc<str>> = claims.iter().filter(unbound).filter_map(id).collect();
    let of_pod = |pod: &Value| {
        let named = named(pod).into_iter().filter(|claim| unbound.contains(claim.as_str()));
        let paths: Vec<String> = named.filter_map(|claim| path(&claim)).collect();
        (!paths.is_empty()).then_some((id(pod)?, paths))
    };
    pods.iter().filter_map(of_pod).collect()
}

/// The claims of a pod, by `namespace/name`. That of an ephemeral volume is named after both.
fn named(pod: &Value) -> Vec<String> {
    let Some(pod_id) = id(pod) else { return Vec::new() };
    let namespace = pod_id.split('/').next().unwrap_or_default();
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    let claim = |volume: &Value| {
        let shared = text(volume, "/persistentVolumeClaim", "claimName");
        if !shared.is_empty() {
            return Some(format!("{namespace}/{shared}"));
        }
        volume.get("ephemeral")?;
        Some(format!("{pod_id}-{}", text(volume, "", "name")))
    };
    volumes.into_iter().flatten().filter_map(claim).collect()
}

fn path(claim: &str) -> Option<String> {
    let (namespace, name) = claim.split_once('/')?;
    Some(format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"))
}

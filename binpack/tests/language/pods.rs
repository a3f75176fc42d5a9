//! The words that describe a pod.

use binpack::{
    LabelSelector, Namespaces, NodeInclusion, Pod, PodAffinityTerm, PreemptionPolicy, Resources,
    TopologySpread, Volume, Weighted,
};

use super::syntax::{all_of, any_of, label_key, labels, port, resource, selector, toleration};
use super::text::{Fault, Line};

/// The pod of this name that the rest of a line describes.
pub(crate) fn pod(name: &str, line: &mut Line<'_>) -> Result<Pod, Fault> {
    let mut pod = Pod::new(name, Resources::default());
    let mut best_effort = false;
    while let Some(word) = line.next() {
        if word == "best-effort" {
            best_effort = true;
        } else if !(resource(word, line, &mut pod.requests)?
            || clause(word, line, &mut pod)?
            || relation(word, line, &mut pod)?)
        {
            return Err(line.fault(format!("a pod has no {word}")));
        }
    }
    if best_effort {
        pod.requests = pod.requests.best_effort();
    }
    Ok(pod)
}

/// What the pod has to do with nodes.
fn clause(word: &str, line: &mut Line<'_>, pod: &mut Pod) -> Result<bool, Fault> {
    match word {
        "namespace" => pod.namespace = line.word("a namespace")?.into(),
        "labels" => pod.labels.extend(labels(line)?),
        "requires" => pod.requirements.extend(all_of(line.word("requirements")?)),
        "either" => pod.node_affinity.extend(any_of(line.word("alternatives")?)),
        "tolerates" => pod.tolerations.push(toleration(line)?),
        "priority" => pod.priority = line.number("a priority")?,
        "preempts-nobody" => pod.preemption_policy = PreemptionPolicy::Never,
        "protected" => pod.do_not_disrupt = true,
        "member-of" => pod.gang = Some(line.word("a gang")?.into()),
        "port" => pod.host_ports.push(port(line)?),
        "volume" => pod.volumes.push(volume(line)?),
        "prefers" => {
            let preference = all_of(line.word("requirements")?);
            let weight = weight(line)?;
            pod.preferences.node_affinity.push(Weighted::new(weight, preference));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// What the pod has to do with other pods.
fn relation(word: &str, line: &mut Line<'_>, pod: &mut Pod) -> Result<bool, Fault> {
    match word {
        "spread" => pod.topology_spread.push(spread(line)?),
        "near" => pod.pod_affinity.push(term(line)?),
        "apart" => pod.pod_anti_affinity.push(term(line)?),
        "prefers-near" => {
            let preference = term(line)?;
            pod.preferences.pod_affinity.push(Weighted::new(weight(line)?, preference));
        }
        "prefers-apart" => {
            let preference = term(line)?;
            pod.preferences.pod_anti_affinity.push(Weighted::new(weight(line)?, preference));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// `driver/handle`, and `at` where it can be reached.
fn volume(line: &mut Line<'_>) -> Result<Volume, Fault> {
    let word = line.word("a volume")?;
    let (driver, handle) = word
        .split_once('/')
        .ok_or_else(|| line.fault(format!("{word} is no volume: write driver/handle")))?;
    let mut volume = Volume::new(driver, handle);
    if line.take("at") {
        volume.topologies = any_of(line.word("where the volume can be reached")?);
    }
    Ok(volume)
}

fn weight(line: &mut Line<'_>) -> Result<u32, Fault> {
    if line.take("weight") { line.number("a weight") } else { Ok(1) }
}

/// `KEY of SELECTOR`.
fn topology(line: &mut Line<'_>) -> Result<(std::sync::Arc<str>, LabelSelector), Fault> {
    let key = label_key(line.word("a topology key")?);
    line.must("of")?;
    Ok((key, selector(line)?))
}

/// `KEY of SELECTOR`, and `in` other namespaces, `*` for all.
fn term(line: &mut Line<'_>) -> Result<PodAffinityTerm, Fault> {
    let (key, selector) = topology(line)?;
    let mut term = PodAffinityTerm::new(key, selector);
    if line.take("in") {
        term.namespaces = match line.word("namespaces")? {
            "*" => Namespaces::All,
            listed => Namespaces::Listed(listed.split(',').map(Into::into).collect()),
        };
    }
    Ok(term)
}

/// `KEY of SELECTOR`, and what is not usual of it.
fn spread(line: &mut Line<'_>) -> Result<TopologySpread, Fault> {
    let (key, selector) = topology(line)?;
    let mut spread = TopologySpread::new(key, selector, 1);
    loop {
        if line.take("skew") {
            spread.max_skew = line.number("a skew")?;
        } else if line.take("min-domains") {
            spread.min_domains = Some(line.number("a number of domains")?);
        } else if line.take("anyway") {
            spread = spread.schedule_anyway();
        } else if line.take("any-affinity") {
            spread.node_affinity_policy = NodeInclusion::Ignore;
        } else if line.take("honor-taints") {
            spread.node_taints_policy = NodeInclusion::Honor;
        } else {
            return Ok(spread);
        }
    }
}

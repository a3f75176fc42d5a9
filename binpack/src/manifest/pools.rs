//! Karpenter's node pools.

use serde::Deserialize;

use super::amounts::Amounts;
use super::decode::{List, Strings};
use super::duration::{seconds, seconds_or_never};
use super::object::Object;
use super::pod_spec::TaintSpec;
use super::pods::taints;
use super::selectors::{OperatorName, of_node, requirement};
use super::world::World;
use crate::error::Result;
use crate::model::{Input, MinValues, NodePool};

/// How old nodes become where a pool doesn't say: 720 hours.
const EXPIRE_AFTER_SECS: u64 = 720 * 3_600;

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolBody {
    spec: PoolSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolSpec {
    template: Option<NodeTemplate>,
    disruption: Option<Disruption>,
    limits: Option<Amounts>,
    weight: Option<u32>,
    replicas: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeTemplate {
    metadata: Option<NodeMeta>,
    spec: NodeSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeMeta {
    labels: Strings,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeSpec {
    requirements: List<PoolRequirement>,
    taints: List<TaintSpec>,
    startup_taints: List<TaintSpec>,
    expire_after: Option<String>,
    termination_grace_period: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PoolRequirement {
    key: String,
    operator: OperatorName,
    #[serde(default)]
    values: List<String>,
    min_values: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Disruption {
    #[serde(rename = "consolidationPolicy")]
    _consolidation_policy: Option<ConsolidationPolicy>,
    consolidate_after: Option<String>,
    budgets: List<Budget>,
}

#[derive(Deserialize)]
enum ConsolidationPolicy {
    WhenEmpty,
    WhenEmptyOrUnderutilized,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Budget {
    nodes: Option<String>,
    schedule: Option<String>,
    duration: Option<String>,
    #[serde(rename = "reasons")]
    _reasons: List<DisruptionReason>,
}

#[derive(Deserialize)]
enum DisruptionReason {
    Underutilized,
    Empty,
    Drifted,
}

/// The pool. What concerns nodes that run already is checked and read past.
pub(super) fn pool(object: &Object, world: &mut World) -> Result<NodePool> {
    let PoolBody { spec } = object.body()?;
    let Some(template) = &spec.template else {
        return Err(object.origin.wrong("spec.template", "is not given: write what is launched"));
    };
    let mut pool = NodePool::new(object.name());
    pool.weight = spec.weight.unwrap_or(0);
    if pool.weight > 100 {
        let problem = format!("is {}: write one of 1 to 100", pool.weight);
        return Err(object.origin.wrong("spec.weight", problem));
    }
    if let Some(meta) = &template.metadata {
        pool.labels = meta.labels.labels();
    }
    if let Some(limits) = &spec.limits {
        let wrong =
            |(name, problem)| object.origin.wrong(format_args!("spec.limits.{name}"), problem);
        pool.limits = limits.limits().map_err(wrong)?;
        if limits.limits_pods() {
            world.say("NodePool spec.limits.pods");
        }
    }
    require(&mut pool, &template.spec, object)?;
    age(&mut pool, &template.spec, object, world)?;
    if !template.spec.startup_taints.is_empty() {
        taints(&template.spec.startup_taints, &object.origin, "spec.template.spec.startupTaints")?;
        world.say("NodePool spec.template.spec.startupTaints");
    }
    if spec.replicas.is_some() {
        world.say("NodePool spec.replicas");
    }
    if let Some(disruption) = &spec.disruption {
        disruption.check(object)?;
        world.say("NodePool spec.disruption");
    }
    object.origin.check(&Input { pools: vec![pool.clone()], ..Input::default() })?;
    Ok(pool)
}

fn require(pool: &mut NodePool, spec: &NodeSpec, object: &Object) -> Result<()> {
    pool.taints = taints(&spec.taints, &object.origin, "spec.template.spec.taints")?;
    for (index, written) in spec.requirements.iter().enumerate() {
        let values = written.values.iter().map(String::as_str);
        let requirement = of_node(requirement(&written.key, written.operator.into(), values));
        if let Some(count) = written.min_values {
            let listed = written.values.len() as u64;
            if written.operator == OperatorName::In && listed < u64::from(count) {
                let field = format!("spec.template.spec.requirements[{index}].minValues");
                let problem = format!("is {count}, and only {listed} are listed: list more");
                return Err(object.origin.wrong(field, problem));
            }
            pool.min_values.push(MinValues { key: requirement.key.clone(), count });
        }
        pool.requirements.push(requirement);
    }
    Ok(())
}

fn age(pool: &mut NodePool, spec: &NodeSpec, object: &Object, world: &mut World) -> Result<()> {
    pool.expire_after_secs = match &spec.expire_after {
        Some(text) => read(text, object, "spec.template.spec.expireAfter", seconds_or_never)?,
        None => Some(EXPIRE_AFTER_SECS),
    };
    if let Some(text) = &spec.termination_grace_period {
        read(text, object, "spec.template.spec.terminationGracePeriod", seconds)?;
        world.say("NodePool spec.template.spec.terminationGracePeriod");
    }
    Ok(())
}

fn read<T>(
    text: &str,
    object: &Object,
    field: &str,
    of: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<T> {
    of(text).map_err(|problem| object.origin.wrong(field, format_args!("is {text:?}: {problem}")))
}

impl Disruption {
    fn check(&self, object: &Object) -> Result<()> {
        if let Some(text) = &self.consolidate_after {
            read(text, object, "spec.disruption.consolidateAfter", seconds_or_never)?;
        }
        for (index, budget) in self.budgets.iter().enumerate() {
            let field = |name: &str| format!("spec.disruption.budgets[{index}].{name}");
            read(budget.nodes.as_deref().unwrap_or("10%"), object, &field("nodes"), nodes)?;
            if let Some(text) = &budget.duration {
                read(text, object, &field("duration"), seconds)?;
            }
            if budget.schedule.is_some() != budget.duration.is_some() {
                let problem = "are not both given: write both or neither";
                return Err(object.origin.wrong(field("schedule and duration"), problem));
            }
        }
        Ok(())
    }
}

/// A number of nodes or a percentage of them.
fn nodes(text: &str) -> Result<u64, &'static str> {
    let (digits, most) = text.strip_suffix('%').map_or((text, u64::MAX), |digits| (digits, 100));
    let known = |count: &u64| *count <= most && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(known).ok_or("write a number such as 5, or a percentage such as 10%")
}

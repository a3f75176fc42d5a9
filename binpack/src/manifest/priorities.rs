//! Priority classes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::object::{Object, Origin};
use super::pod_spec::PodSpec;
use crate::error::Result;
use crate::model::PreemptionPolicy;

/// The classes that every cluster has.
const BUILT_IN: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// How important a pod is, and whether it evicts others.
type Priority = (i32, PreemptionPolicy);

/// Priorities by the name of their class.
pub(super) struct Priorities {
    by_name: BTreeMap<String, Priority>,
    default: Option<Priority>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriorityClass {
    value: i32,
    global_default: Option<bool>,
    preemption_policy: Option<String>,
}

impl Default for Priorities {
    fn default() -> Self {
        let built_in = BUILT_IN.map(|(name, value)| {
            let usual = PreemptionPolicy::default();
            (name.to_owned(), (value, usual))
        });
        Self { by_name: built_in.into(), default: None }
    }
}

impl Priorities {
    pub(super) fn add(&mut self, object: &Object) -> Result<()> {
        let class: PriorityClass = object.body()?;
        let policy = policy(class.preemption_policy.as_deref());
        let priority =
            (class.value, policy.map_err(|p| object.origin.wrong("preemptionPolicy", p))?);
        if class.global_default == Some(true) {
            if self.default.is_some() {
                let problem = "is true, and another class has it as well: leave one";
                return Err(object.origin.wrong("globalDefault", problem));
            }
            self.default = Some(priority);
        }
        self.by_name.insert(object.name().to_owned(), priority);
        Ok(())
    }

    /// A pod's priority: the number that a cluster has filled in, or its class's. So is its policy.
    pub(super) fn of(&self, spec: &PodSpec, origin: &Origin, path: &str) -> Result<Priority> {
        let class = spec.priority_class_name.as_deref().filter(|name| !name.is_empty());
        let named = class.and_then(|name| self.by_name.get(name)).copied();
        let (value, usual) = match (spec.priority, class) {
            (Some(value), _) => (value, named.map(|(_, policy)| policy).unwrap_or_default()),
            (None, None) => self.default.unwrap_or_default(),
            (None, Some(name)) => named.ok_or_else(|| {
                let problem = format!("is {name:?}, which was not read: add the PriorityClass");
                origin.wrong(format_args!("{path}.priorityClassName"), problem)
            })?,
        };
        let Some(own) = spec.preemption_policy.as_deref() else { return Ok((value, usual)) };
        let own = policy(Some(own))
            .map_err(|problem| origin.wrong(format_args!("{path}.preemptionPolicy"), problem))?;
        Ok((value, own))
    }
}

fn policy(written: Option<&str>) -> std::result::Result<PreemptionPolicy, String> {
    match written {
        None | Some("PreemptLowerPriority") => Ok(PreemptionPolicy::LowerPriority),
        Some("Never") => Ok(PreemptionPolicy::Never),
        Some(other) => Err(format!("is {other:?}: write PreemptLowerPriority or Never")),
    }
}

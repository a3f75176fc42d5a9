//! Priority classes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::object::{Object, Origin};
use super::pod_spec::PodSpec;
use crate::error::Result;

/// The classes that every cluster has.
const BUILT_IN: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// Priorities by the name of their class.
pub(super) struct Priorities {
    by_name: BTreeMap<String, i32>,
    default: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriorityClass {
    value: i32,
    global_default: Option<bool>,
}

impl Default for Priorities {
    fn default() -> Self {
        let built_in = BUILT_IN.map(|(name, priority)| (name.to_owned(), priority));
        Self { by_name: built_in.into(), default: None }
    }
}

impl Priorities {
    pub(super) fn add(&mut self, object: &Object) -> Result<()> {
        let class: PriorityClass = object.body()?;
        if class.global_default == Some(true) {
            if self.default.is_some() {
                let problem = "is true, and another class has it as well: leave one";
                return Err(object.origin.wrong("globalDefault", problem));
            }
            self.default = Some(class.value);
        }
        self.by_name.insert(object.name().to_owned(), class.value);
        Ok(())
    }

    /// A pod's priority: the number that a cluster has filled in, or its class's.
    pub(super) fn of(&self, spec: &PodSpec, origin: &Origin, path: &str) -> Result<i32> {
        let class = spec.priority_class_name.as_deref().filter(|name| !name.is_empty());
        match (spec.priority, class) {
            (Some(priority), _) => Ok(priority),
            (None, None) => Ok(self.default.unwrap_or(0)),
            (None, Some(name)) => self.by_name.get(name).copied().ok_or_else(|| {
                let problem = format!("is {name:?}, which was not read: add the PriorityClass");
                origin.wrong(format_args!("{path}.priorityClassName"), problem)
            }),
        }
    }
}

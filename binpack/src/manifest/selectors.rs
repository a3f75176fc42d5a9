//! Selectors of labels and conditions on nodes.

use serde::Deserialize;

use super::decode::{List, Strings};
use super::object::Origin;
use crate::error::Result;
use crate::model::{self, Operator, Requirement, key};

/// `matchLabels` and `matchExpressions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LabelSelector {
    match_labels: Strings,
    match_expressions: List<Expression>,
}

impl LabelSelector {
    pub(super) fn is_empty(&self) -> bool {
        self.match_labels.iter().next().is_none() && self.match_expressions.is_empty()
    }

    /// The planner's selector. `same` and `other` are keys of `own` labels: a pod that is meant has
    /// the same value, or another one. Keys that the pod has no label for are passed over (KEP-3633,
    /// KEP-3243).
    pub(super) fn with_keys_of(
        &self,
        own: &Strings,
        same: &[String],
        other: &[String],
    ) -> model::LabelSelector {
        let of = |keys: &[String], operator: Operator| {
            let own = keys.iter().filter_map(|key| own.get(key).map(|value| (key, value)));
            own.map(|(key, value)| requirement(key, operator, [value])).collect::<Vec<_>>()
        };
        let mut selector = self.selector();
        selector.requirements.append(&mut of(same, Operator::In));
        selector.requirements.append(&mut of(other, Operator::NotIn));
        selector
    }

    /// The planner's selector.
    pub(super) fn selector(&self) -> model::LabelSelector {
        let mut selector = model::LabelSelector::labels(self.match_labels.iter());
        selector.requirements.extend(self.match_expressions.iter().map(Expression::requirement));
        selector
    }
}

/// An element of `matchExpressions`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Expression {
    pub(super) key: String,
    operator: OperatorName,
    #[serde(default)]
    pub(super) values: List<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum OperatorName {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

impl Expression {
    pub(super) fn requirement(&self) -> Requirement {
        requirement(&self.key, self.operator.into(), self.values.iter().map(String::as_str))
    }
}

impl From<OperatorName> for Operator {
    fn from(name: OperatorName) -> Self {
        match name {
            OperatorName::In => Self::In,
            OperatorName::NotIn => Self::NotIn,
            OperatorName::Exists => Self::Exists,
            OperatorName::DoesNotExist => Self::DoesNotExist,
            OperatorName::Gt => Self::Gt,
            OperatorName::Lt => Self::Lt,
        }
    }
}

/// A condition in the planner's words.
pub(super) fn requirement<'a>(
    key: &str,
    operator: Operator,
    values: impl IntoIterator<Item = &'a str>,
) -> Requirement {
    Requirement { key: key.into(), operator, values: values.into_iter().map(Into::into).collect() }
}

/// A condition on a node's labels. Names that Kubernetes has given up or that storage drivers have
/// of their own become the one that every node has, as they do in Karpenter.
pub(super) fn of_node(mut requirement: Requirement) -> Requirement {
    requirement.key = match &*requirement.key {
        "failure-domain.beta.kubernetes.io/zone"
        | "topology.ebs.csi.aws.com/zone"
        | "topology.gke.io/zone"
        | "topology.disk.csi.azure.com/zone" => key::ZONE.into(),
        "failure-domain.beta.kubernetes.io/region" => key::REGION.into(),
        "beta.kubernetes.io/instance-type" => key::INSTANCE_TYPE.into(),
        "beta.kubernetes.io/arch" => key::ARCH.into(),
        "beta.kubernetes.io/os" => key::OS.into(),
        _ => return requirement,
    };
    requirement
}

/// An element of `nodeSelectorTerms`, or a preference.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeSelectorTerm {
    match_expressions: List<Expression>,
    match_fields: List<Expression>,
}

impl NodeSelectorTerm {
    /// A term without conditions, which is met by no node.
    pub(super) fn is_empty(&self) -> bool {
        self.match_expressions.is_empty() && self.match_fields.is_empty()
    }

    /// The conditions on a node's labels. `metadata.name`, the only field that Kubernetes knows
    /// here, becomes a condition on the label [`key::HOSTNAME`], which `hostname` gives for a node.
    pub(super) fn requirements(
        &self,
        origin: &Origin,
        path: &str,
        hostname: impl Fn(&str) -> String,
    ) -> Result<Vec<Requirement>> {
        let mut all: Vec<_> =
            self.match_expressions.iter().map(|e| of_node(e.requirement())).collect();
        for field in self.match_fields.iter() {
            let known = matches!(field.operator, OperatorName::In | OperatorName::NotIn);
            if field.key != "metadata.name" || !known {
                let problem = "asks something else than metadata.name In or NotIn: Kubernetes knows no other field";
                return Err(origin.wrong(format_args!("{path}.matchFields"), problem));
            }
            let hosts: Vec<String> = field.values.iter().map(|name| hostname(name)).collect();
            let hosts = hosts.iter().map(String::as_str);
            all.push(requirement(key::HOSTNAME, field.operator.into(), hosts));
        }
        Ok(all)
    }
}

/// `nodeAffinity.required…` of a pod, or `required` of a volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeSelector {
    node_selector_terms: List<NodeSelectorTerm>,
}

impl NodeSelector {
    /// The alternatives, without those that no node meets.
    pub(super) fn alternatives(
        &self,
        origin: &Origin,
        path: &str,
        hostname: impl Fn(&str) -> String,
    ) -> Result<Vec<Vec<Requirement>>> {
        let mut all = Vec::new();
        for (index, term) in self.node_selector_terms.iter().enumerate() {
            if !term.is_empty() {
                let path = format!("{path}.nodeSelectorTerms[{index}]");
                all.push(term.requirements(origin, &path, &hostname)?);
            }
        }
        if all.is_empty() {
            let problem = "has no condition, which no node meets: add one";
            return Err(origin.wrong(format_args!("{path}.nodeSelectorTerms"), problem));
        }
        Ok(all)
    }
}

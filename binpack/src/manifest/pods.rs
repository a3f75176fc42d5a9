//! From a pod's fields to the planner's pod.

use std::sync::Arc;

use super::affinity::relate;
use super::decode::{Strings, given};
use super::leader_worker_set::gang_of_replica;
use super::object::Origin;
use super::pod_spec::{
    Container, ContainerPort, EffectName, PodSpec, PodTemplate, ProtocolName, TaintSpec,
    TolerationOperatorName, TolerationSpec,
};
use super::requests::requests;
use super::selectors::{of_node, requirement};
use super::storage::{Claim, claims};
use super::world::World;
use crate::error::Result;
use crate::model::{
    Effect, HostPort, Input, Operator, Pod, Protocol, Taint, Toleration, TolerationOperator,
};

const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What pods are made from: a pod's own fields, or the template of a workload.
pub(super) struct Template<'a> {
    pub(super) origin: &'a Origin,
    /// Where `spec` is in the object, and `metadata`.
    pub(super) path: String,
    pub(super) meta_path: String,
    pub(super) namespace: &'a str,
    pub(super) labels: &'a Strings,
    pub(super) annotations: &'a Strings,
    pub(super) spec: &'a PodSpec,
}

/// A pod without a name of its own, and the claims that its volumes have.
pub(super) struct Mould {
    pub(super) pod: Pod,
    pub(super) claims: Vec<Claim>,
}

impl<'a> Template<'a> {
    /// The template that an object has at `path`.
    pub(super) fn of(
        template: &'a PodTemplate,
        path: &str,
        origin: &'a Origin,
        namespace: &'a str,
    ) -> Self {
        static NONE: std::sync::LazyLock<Strings> = std::sync::LazyLock::new(Strings::default);
        let meta = template.metadata.as_ref();
        Self {
            origin,
            path: format!("{path}.spec"),
            meta_path: format!("{path}.metadata"),
            namespace,
            labels: meta.map_or(&NONE, |meta| &meta.labels),
            annotations: meta.map_or(&NONE, |meta| &meta.annotations),
            spec: &template.spec,
        }
    }

    /// The pod, or `None` while a gate keeps it from being scheduled (KEP-3521).
    pub(super) fn mould(&self, world: &mut World) -> Result<Option<Mould>> {
        let Self { origin, path, spec, .. } = self;
        if !spec.scheduling_gates.is_empty() && given(spec.node_name.as_ref()).is_none() {
            world.say("pods with schedulingGates, which are not scheduled yet");
            return Ok(None);
        }
        if spec.containers.is_empty() {
            let problem = "is empty: a pod has at least one container";
            return Err(origin.wrong(format_args!("{path}.containers"), problem));
        }
        let mut pod = Pod::new(origin.name(), requests(spec, origin, path)?);
        pod.namespace = self.namespace.into();
        pod.labels = self.labels.labels();
        (pod.priority, pod.preemption_policy) = world.priorities.of(spec, origin, path)?;
        let selected = spec.node_selector.iter();
        let selected =
            selected.map(|(key, value)| of_node(requirement(key, Operator::In, [value])));
        pod.requirements.extend(selected);
        relate(&mut pod, self, world)?;
        pod.tolerations = self.tolerations()?;
        pod.host_ports = host_ports(spec);
        pod.do_not_disrupt = self.annotations.get(DO_NOT_DISRUPT) == Some("true");
        pod.deletion_cost = self.deletion_cost()?;
        let claims = claims(spec);
        pod.volumes = world.storage.volumes(self.namespace, &claims, "pod");
        origin.check(&Input { pods: vec![pod.clone()], ..Input::default() })?;
        let gang = world.gangs.of(self)?.or_else(|| self.gang_of_replica(world));
        Ok(Some(Mould { pod: Pod { gang, ..pod }, claims }))
    }

    fn gang_of_replica(&self, world: &World) -> Option<Arc<str>> {
        gang_of_replica(self.namespace, self.labels).filter(|name| world.gangs.contains(name))
    }

    fn tolerations(&self) -> Result<Vec<Toleration>> {
        let mut all = Vec::new();
        for (index, written) in self.spec.tolerations.iter().enumerate() {
            let toleration = toleration(written).map_err(|problem| {
                self.origin.wrong(format_args!("{}.tolerations[{index}]", self.path), problem)
            })?;
            all.push(toleration);
        }
        Ok(all)
    }

    fn deletion_cost(&self) -> Result<i32> {
        let Some(text) = self.annotations.get(DELETION_COST) else {
            return Ok(0);
        };
        text.parse().map_err(|_| {
            let field = format!("{}.annotations.{DELETION_COST}", self.meta_path);
            self.origin.wrong(field, format!("is {text:?}: write a 32-bit integer"))
        })
    }
}

impl Mould {
    /// The pod with this name in its namespace, and the claims of its own.
    pub(super) fn cast(&self, name: &str, world: &World) -> Pod {
        let mut pod = self.pod.clone();
        pod.name = format!("{}/{name}", pod.namespace).into();
        if self.claims.iter().any(|claim| matches!(claim, Claim::Each { .. })) {
            pod.volumes = world.storage.volumes(&pod.namespace, &self.claims, name);
        }
        pod
    }
}

fn toleration(written: &TolerationSpec) -> Result<Toleration, &'static str> {
    let key = given(written.key.as_ref());
    let value = written.value.as_deref().unwrap_or_default();
    let operator = match written.operator.unwrap_or(TolerationOperatorName::Equal) {
        TolerationOperatorName::Exists if !value.is_empty() => {
            return Err("has a value, and Exists compares none: remove the value or write Equal");
        }
        TolerationOperatorName::Exists => TolerationOperator::Exists,
        TolerationOperatorName::Equal if key.is_none() => {
            return Err("compares a value without a key: name the key or write Exists");
        }
        TolerationOperatorName::Equal => TolerationOperator::Equal(value.into()),
    };
    let effect = written.effect.and_then(effect);
    Ok(Toleration { key: key.map(Arc::from), operator, effect })
}

fn effect(name: EffectName) -> Option<Effect> {
    match name {
        EffectName::NoSchedule => Some(Effect::NoSchedule),
        EffectName::PreferNoSchedule => Some(Effect::PreferNoSchedule),
        EffectName::NoExecute => Some(Effect::NoExecute),
        EffectName::Every => None,
    }
}

/// The taints at `path` of an object.
pub(super) fn taints(written: &[TaintSpec], origin: &Origin, path: &str) -> Result<Vec<Taint>> {
    let mut all = Vec::new();
    for (index, taint) in written.iter().enumerate() {
        let (Some(effect), false) = (effect(taint.effect), taint.key.is_empty()) else {
            let problem = "has an empty key or effect: name both";
            return Err(origin.wrong(format_args!("{path}[{index}]"), problem));
        };
        let value = taint.value.as_deref().unwrap_or_default();
        all.push(Taint::new(taint.key.as_str(), value, effect));
    }
    Ok(all)
}

/// The ports of the node that the pod takes, each once. In the node's network every port of a
/// container is one.
fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let on_host = spec.host_network == Some(true);
    let sidecars = spec.init_containers.iter().filter(|container| Container::is_sidecar(container));
    let mut all: Vec<HostPort> = Vec::new();
    for port in spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter())
    {
        let number = port.host_port.filter(|number| *number != 0);
        if let Some(number) = number.or(port.port.filter(|_| on_host)) {
            let port = host_port(port, number);
            if !all.contains(&port) {
                all.push(port);
            }
        }
    }
    all
}

fn host_port(written: &ContainerPort, port: u16) -> HostPort {
    let protocol = match written.protocol {
        None | Some(ProtocolName::Tcp) => Protocol::Tcp,
        Some(ProtocolName::Udp) => Protocol::Udp,
        Some(ProtocolName::Sctp) => Protocol::Sctp,
    };
    HostPort { ip: written.host_ip.as_deref().unwrap_or_default().into(), port, protocol }
}

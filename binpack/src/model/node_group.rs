//! Groups of equal machines, of which only the number changes.

use std::sync::Arc;

use super::{CapacityType, Disruption, Input, InstanceType, Labels, Offering, Taint};

/// So many nodes of one template, as Kubernetes' Cluster Autoscaler knows them: an auto scaling
/// group, a managed instance group.
///
/// All that may change is its size, between `min_size` and `max_size`. Its size is the number of
/// nodes of the input that [belong](super::Node::group) to it, those on their way out included.
/// Whatever is asked, [`plan`](crate::plan) launches what it lacks of `min_size` (Cluster
/// Autoscaler's `--enforce-node-group-min-size`), and
/// [`consolidate`](crate::consolidate) takes nothing away below it. A group above its `max_size`
/// is left as it is and grows no further.
///
/// Groups are asked before node pools: see [`plan`](crate::plan).
///
/// ```
/// use binpack::{
///     CapacityType, Config, Input, InstanceType, NodeGroup, Offering, Pod, Resources, plan,
/// };
///
/// let capacity = Resources::new(4_000, 16 << 30).with_pods(110);
/// let offering = Offering::new("a", CapacityType::OnDemand, 192_000);
/// let input = Input {
///     pods: vec![Pod::new("web", Resources::new(3_000, 1 << 30))],
///     node_groups: vec![NodeGroup::new("workers", "m", "a").with_sizes(2, 5)],
///     instance_types: [InstanceType::new("m", capacity).with_offering(offering)].into(),
///     ..Input::default()
/// };
/// let plan = plan(&input, &Config::default())?;
/// let scale_ups = plan.scale_ups(&input);
/// assert_eq!((&*scale_ups[0].group, scale_ups[0].from, scale_ups[0].to), ("workers", 0, 2));
/// # Ok::<(), binpack::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeGroup {
    /// The name, unique among groups and pools.
    pub name: Arc<str>,
    /// The name of its machines' type, one of [`Input::instance_types`].
    pub instance_type: Arc<str>,
    /// Where its machines are: one of the type's offerings.
    pub zone: Arc<str>,
    /// How they are paid for.
    pub capacity_type: CapacityType,
    /// Labels of its nodes, beside the instance type's, which they must not contradict.
    pub labels: Labels,
    /// Taints of its nodes.
    pub taints: Vec<Taint>,
    /// How many nodes it has at least.
    pub min_size: u32,
    /// How many nodes it has at most.
    pub max_size: u32,
    /// Groups of higher priority grow first where
    /// [`Expander::Priority`](crate::Expander::Priority) decides.
    pub priority: i32,
    /// What may become of its nodes.
    pub disruption: Disruption,
}

impl NodeGroup {
    /// The most nodes of a group: six times as many as Kubernetes supports in a cluster.
    pub const MAX_SIZE: u32 = 30_000;

    /// A group of on-demand machines that has no least size and grows up to
    /// [`NodeGroup::MAX_SIZE`].
    pub fn new(
        name: impl Into<Arc<str>>,
        instance_type: impl Into<Arc<str>>,
        zone: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            name: name.into(),
            instance_type: instance_type.into(),
            zone: zone.into(),
            capacity_type: CapacityType::OnDemand,
            labels: Labels::new(),
            taints: Vec::new(),
            min_size: 0,
            max_size: Self::MAX_SIZE,
            priority: 0,
            disruption: Disruption::default(),
        }
    }

    /// With machines that are paid for in this way.
    #[must_use]
    pub fn with_capacity_type(mut self, capacity_type: CapacityType) -> Self {
        self.capacity_type = capacity_type;
        self
    }

    /// With so many nodes at least and at most.
    #[must_use]
    pub fn with_sizes(mut self, min: u32, max: u32) -> Self {
        (self.min_size, self.max_size) = (min, max);
        self
    }

    /// With this priority.
    #[must_use]
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// With one more label on its nodes.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// With one more taint on its nodes.
    #[must_use]
    pub fn with_taint(mut self, taint: Taint) -> Self {
        self.taints.push(taint);
        self
    }

    /// With this said of what may become of its nodes.
    #[must_use]
    pub fn with_disruption(mut self, disruption: Disruption) -> Self {
        self.disruption = disruption;
        self
    }

    /// How many nodes of an input belong to it.
    #[must_use]
    pub fn size(&self, input: &Input) -> u64 {
        let mine = input.nodes.iter().filter(|node| node.group.as_ref() == Some(&self.name));
        mine.count() as u64
    }

    /// The type of its machines and how they are sold, if the types have both.
    pub(crate) fn template<'t>(
        &self,
        types: &'t [InstanceType],
    ) -> Option<(&'t InstanceType, &'t Offering)> {
        let it = types.iter().find(|it| it.name == self.instance_type)?;
        let mut sold = it.offerings.iter();
        let own = |o: &&Offering| o.zone == self.zone && o.capacity_type == self.capacity_type;
        Some((it, sold.find(own)?))
    }
}

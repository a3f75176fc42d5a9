//! The contracts of [`Catalogue`] and [`Cluster`] as checks that every adapter must pass.
//!
//! Each check is one numbered item of the port's contract. [`catalogue_conformance!`] and
//! [`cluster_conformance!`] turn them into one `#[test]` each; called directly, a check returns
//! the [`Violation`] that it found, which is how a deliberately broken adapter is shown to fail.
//!
//! [`catalogue_conformance!`]: crate::catalogue_conformance
//! [`cluster_conformance!`]: crate::cluster_conformance

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::catalogue::Catalogue;
use crate::cluster::{Cluster, ClusterState};
use crate::config::Config;
use crate::core::plan;
use crate::error::Result;
use crate::model::{
    Binding, CapacityType, Effect, Input, InstanceType, Node, NodePool, Offering, Plan, Pod,
    Requirement, Resources, Taint, Target, Toleration, check_types, key,
};

/// A broken promise of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The contract item, as numbered in the port's docs.
    pub item: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contract item {}: {}", self.item, self.seen)
    }
}

impl std::error::Error for Violation {}

type Check = std::result::Result<(), Violation>;

fn ensure(item: &'static str, holds: bool, seen: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Violation { item, seen: seen() }) }
}

fn answered<T>(item: &'static str, result: Result<T>) -> std::result::Result<T, Violation> {
    result.map_err(|error| Violation { item, seen: format!("the port failed: {error}") })
}

/// The checks of [`Catalogue`], one for each item of its contract.
pub mod catalogue {
    use super::{
        Arc, BTreeSet, Catalogue, Check, Future, InstanceType, answered, check_types, ensure, key,
    };

    async fn types(
        item: &'static str,
        of: &dyn Catalogue,
    ) -> Result<Arc<[InstanceType]>, super::Violation> {
        answered(item, of.instance_types().await)
    }

    /// Item 1: names are unique and not empty.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn names_are_unique(of: &dyn Catalogue) -> Check {
        let types = types("1", of).await?;
        let mut seen = BTreeSet::new();
        let bad = types.iter().find(|it| it.name.is_empty() || !seen.insert(it.name.clone()));
        ensure("1", bad.is_none(), || {
            format!("{:?} is empty or twice there", bad.map(|it| &it.name))
        })
    }

    /// Item 2: every type is sold, no offering is there twice, no price is absurd.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn every_type_is_sold(of: &dyn Catalogue) -> Check {
        for it in types("2", of).await?.iter() {
            ensure("2", !it.offerings.is_empty(), || format!("{} has no offering", it.name))?;
            let mut seen = BTreeSet::new();
            let bad = it.offerings.iter().find(|offering| {
                !seen.insert((&offering.zone, offering.capacity_type))
                    || offering.price_micros > crate::MAX_PRICE_MICROS
            });
            ensure("2", bad.is_none(), || {
                format!("{}: {bad:?} is twice there or absurdly dear", it.name)
            })?;
        }
        Ok(())
    }

    /// Item 3: allocatable is at most the capacity, and GPUs are whole.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn allocatable_is_within_capacity(of: &dyn Catalogue) -> Check {
        for it in types("3", of).await?.iter() {
            ensure("3", it.allocatable.fits_within(&it.capacity), || {
                format!("{}: allocatable is above", it.name)
            })?;
            let alone = InstanceType { offerings: Vec::new(), ..it.clone() };
            let checked = check_types(&[alone]);
            ensure("3", checked.is_ok(), || format!("{checked:?}"))?;
        }
        Ok(())
    }

    /// Item 4: calls agree while nothing changes.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn calls_agree(of: &dyn Catalogue) -> Check {
        let first = types("4", of).await?;
        for _ in 0..3 {
            ensure("4", types("4", of).await? == first, || {
                "two calls gave different types".into()
            })?;
        }
        Ok(())
    }

    /// Item 5: a call that is dropped half-way leaves nothing behind.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn a_dropped_call_leaves_nothing(of: &dyn Catalogue) -> Check {
        for _ in 0..3 {
            let mut call = Box::pin(of.instance_types());
            // Polled once and dropped, wherever it is then.
            std::future::poll_fn(|cx| {
                let _ = call.as_mut().poll(cx);
                std::task::Poll::Ready(())
            })
            .await;
        }
        let after = tokio::time::timeout(super::PATIENCE, of.instance_types()).await;
        let answered = matches!(&after, Ok(Ok(_)));
        ensure("5", answered, || "after a dropped call the next one fails or hangs".into())
    }

    /// Item 6: a label that repeats the name agrees with it.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn labels_agree_with_fields(of: &dyn Catalogue) -> Check {
        let types = types("6", of).await?;
        let bad = types
            .iter()
            .find(|it| it.labels.get(key::INSTANCE_TYPE).is_some_and(|name| *name != it.name));
        ensure("6", bad.is_none(), || {
            format!("{:?} has another type's label", bad.map(|it| &it.name))
        })
    }
}

/// How long a call may take that has nothing to wait for: long enough for the slowest machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The state that every check of a cluster begins with: nodes with and without GPUs, and pods of
/// which some fit there, some need a launch and one has no place.
///
/// A cluster that names pods `namespace/name` has these names behind a namespace, and one without
/// shares of GPUs has whole ones in their place.
#[must_use]
pub fn cluster_fixture() -> ClusterState {
    let gpu_node = Resources::new(8_000, 32 << 30).with_pods(10).with_gpu_milli(2_000);
    let mut half_used = Node::new("fixture-gpu", gpu_node).with_label(key::ZONE, "zone-a");
    half_used.take(&Resources::new(500, 1 << 30).with_gpu_milli(460), &[0]);
    let nodes = vec![
        Node::new("fixture-plain", Resources::new(4_000, 8 << 30).with_pods(10))
            .with_label(key::ZONE, "zone-a"),
        half_used,
    ];
    let pod = |name: &str, cpu_milli| Pod::new(name, Resources::new(cpu_milli, 1 << 30));
    let pending = vec![
        pod("fixture-a", 1_000),
        Pod::new("fixture-share", Resources::new(100, 1 << 28).with_gpu_milli(600)),
        pod("fixture-b", 1_000),
        pod("fixture-tolerant", 3_500)
            .tolerate(Toleration::exists("fixture"))
            .require(Requirement::exists("launched")),
        pod("fixture-huge", 1_000_000),
    ];
    let pool = NodePool::new("fixture-pool")
        .with_taint(Taint::new("fixture", "yes", Effect::NoSchedule))
        .with_label("launched", "yes")
        .with_daemon_overhead(Resources::new(100, 1 << 27).with_pods(1));
    ClusterState { pending, nodes, pools: vec![pool], ..ClusterState::default() }
}

/// The checks of [`Cluster`], one for each item of its contract. Each takes a cluster that is in
/// the state of [`cluster_fixture`].
pub mod cluster {
    use super::{
        BTreeMap, BTreeSet, Binding, CapacityType, Check, Cluster, ClusterState, Config, Input,
        InstanceType, Node, Offering, Plan, Pod, Resources, Target, Violation, answered, ensure,
        plan,
    };

    async fn state(item: &'static str, of: &dyn Cluster) -> Result<ClusterState, Violation> {
        let mut state = answered(item, of.state().await)?;
        // Adapters may use any order; it is only unusual, not wrong.
        state.pending.sort_by(|a, b| a.name.cmp(&b.name));
        state.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(state)
    }

    fn planned(item: &'static str, state: &ClusterState) -> Result<Plan, Violation> {
        let machine = Resources::new(4_000, 16 << 30).with_pods(20);
        let it = InstanceType::new("fixture-type", machine).with_offering(Offering::new(
            "zone-b",
            CapacityType::OnDemand,
            100_000,
        ));
        let (pods, nodes) = (state.pending.clone(), state.nodes.clone());
        let input = Input {
            pods,
            nodes,
            pools: state.pools.clone(),
            instance_types: [it].into(),
            gangs: state.gangs.clone(),
            daemons: state.daemons.clone(),
            ..Input::default()
        };
        answered(item, plan(&input, &Config::default()))
    }

    /// The fixture planned and applied: the state before, the plan, the state after.
    async fn applied(
        item: &'static str,
        of: &dyn Cluster,
    ) -> Result<(ClusterState, Plan, ClusterState), Violation> {
        let before = state(item, of).await?;
        let plan = planned(item, &before)?;
        ensure(item, plan.launches.len() == 1 && plan.bindings.len() == 4, || {
            "the cluster is not in the fixture's state".into()
        })?;
        answered(item, of.apply(&plan).await)?;
        let after = state(item, of).await?;
        Ok((before, plan, after))
    }

    fn used(state: &ClusterState) -> BTreeMap<&str, (&Resources, u64)> {
        let of = |node: &Node| node.gpu_used_milli.iter().sum();
        state.nodes.iter().map(|node| (&*node.name, (&node.used, of(node)))).collect()
    }

    /// Item 1: names are unique.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn names_are_unique(of: &dyn Cluster) -> Check {
        let (_, _, after) = applied("1", of).await?;
        let pods: BTreeSet<_> = after.pending.iter().map(|pod| &pod.name).collect();
        let nodes: BTreeSet<_> = after.nodes.iter().map(|node| &node.name).collect();
        ensure("1", pods.len() == after.pending.len() && nodes.len() == after.nodes.len(), || {
            "a pod or a node is there twice".into()
        })?;
        let input = Input {
            pods: after.pending,
            nodes: after.nodes,
            pools: after.pools,
            ..Input::default()
        };
        let checked = input.check();
        ensure("1", checked.is_ok(), || format!("{checked:?}"))
    }

    /// Item 2: the state stays while nothing changes.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn state_is_stable(of: &dyn Cluster) -> Check {
        let first = state("2", of).await?;
        ensure("2", state("2", of).await? == first, || "two reads gave different states".into())
    }

    /// Item 3: what is bound to a node that exists is not pending and counted there.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn bound_pods_are_counted(of: &dyn Cluster) -> Check {
        let (before, plan, after) = applied("3", of).await?;
        let pending: BTreeSet<_> = after.pending.iter().map(|pod| &pod.name).collect();
        let mut expected = before.clone();
        for binding in &plan.bindings {
            let Target::Existing(name) = &binding.target else { continue };
            ensure("3", !pending.contains(&binding.pod), || {
                format!("{} is still pending", binding.pod)
            })?;
            let pod = before.pending.iter().find(|pod| pod.name == binding.pod);
            let node = expected.nodes.iter_mut().find(|node| node.name == *name);
            if let (Some(pod), Some(node)) = (pod, node) {
                node.take(&pod.requests, &binding.gpus);
            }
        }
        let after = used(&after);
        let wrong = used(&expected).into_iter().find(|(name, used)| after.get(name) != Some(used));
        ensure("3", wrong.is_none(), || format!("{wrong:?} was expected, {after:?} is there"))
    }

    /// Item 4: a launch is one node with its labels, taints, allocatable and use.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn a_launch_is_one_node(of: &dyn Cluster) -> Check {
        let (before, plan, after) = applied("4", of).await?;
        let old: BTreeSet<_> = before.nodes.iter().map(|node| &node.name).collect();
        let new: Vec<&Node> = after.nodes.iter().filter(|node| !old.contains(&node.name)).collect();
        let [launch] = plan.launches.as_slice() else { return Ok(()) };
        let [node] = new.as_slice() else {
            return Err(Violation {
                item: "4",
                seen: format!("{} nodes are new, not one", new.len()),
            });
        };
        let same = launch.labels.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && node.taints == launch.taints
            && node.capacity == launch.capacity
            && node.allocatable == launch.allocatable;
        ensure("4", same, || format!("{node:?} is not what was launched"))?;
        ensure("4", node.used == launch.requested, || {
            format!("{:?} is used, not {:?}", node.used, launch.requested)
        })
    }

    /// Item 5: applied twice is applied once.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn applying_twice_is_applying_once(of: &dyn Cluster) -> Check {
        let (_, plan, once) = applied("5", of).await?;
        answered("5", of.apply(&plan).await)?;
        let twice = state("5", of).await?;
        ensure("5", once == twice, || "the second time changed the state".into())
    }

    /// Item 6: a binding that no longer fits is skipped, the rest is applied.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn stale_bindings_are_skipped(of: &dyn Cluster) -> Check {
        let before = state("6", of).await?;
        let named = |name: &str| {
            let meant = |pod: &&Pod| pod.name.rsplit('/').next() == Some(name);
            before.pending.iter().find(meant).map(|pod| pod.name.clone()).ok_or_else(|| Violation {
                item: "6",
                seen: format!("{name} is not pending to begin with"),
            })
        };
        let mut plan = Plan::default();
        let gone = Target::Existing("fixture-no-such-node".into());
        let on_plain = || Target::Existing("fixture-plain".into());
        plan.bindings.push(Binding::new(named("fixture-a")?, gone, Vec::new()));
        plan.bindings.push(Binding::new(named("fixture-huge")?, on_plain(), Vec::new()));
        plan.bindings.push(Binding::new(named("fixture-b")?, on_plain(), Vec::new()));
        plan.bindings.push(Binding::new("fixture-no-such-pod", on_plain(), Vec::new()));
        answered("6", of.apply(&plan).await)?;
        let after = state("6", of).await?;
        let bound = named("fixture-b")?;
        let left: Vec<_> = before.pending.iter().filter(|pod| pod.name != bound).collect();
        ensure("6", after.pending.iter().eq(left), || {
            format!(
                "pending are {:?}",
                after.pending.iter().map(|pod| &*pod.name).collect::<Vec<_>>()
            )
        })
    }

    /// Item 7: what the plan leaves unplaced stays pending.
    ///
    /// # Errors
    ///
    /// The violation.
    pub async fn unplaced_pods_stay(of: &dyn Cluster) -> Check {
        let (_, plan, after) = applied("7", of).await?;
        let left = plan
            .unplaced
            .iter()
            .all(|unplaced| after.pending.iter().any(|pod| pod.name == unplaced.pod));
        ensure("7", left && !plan.unplaced.is_empty(), || "an unplaced pod is gone".into())
    }
}

/// One `#[test]` for each item of [`Catalogue`]'s contract.
///
/// ```
/// # mod tests {
/// binpack::catalogue_conformance!(builtin, async { binpack::BuiltinCatalogue::new() });
/// # }
/// ```
#[macro_export]
macro_rules! catalogue_conformance {
    ($name:ident, $make:expr) => {
        $crate::__conformance!(
            $name,
            catalogue,
            $make,
            [
                names_are_unique,
                every_type_is_sold,
                allocatable_is_within_capacity,
                calls_agree,
                a_dropped_call_leaves_nothing,
                labels_agree_with_fields
            ]
        );
    };
}

/// One `#[test]` for each item of [`Cluster`]'s contract. The expression is a future of a cluster
/// in the state of [`cluster_fixture`](crate::conformance::cluster_fixture).
///
/// ```
/// # mod tests {
/// use binpack::{MemoryCluster, conformance::cluster_fixture};
/// binpack::cluster_conformance!(memory, async { MemoryCluster::new(cluster_fixture()) });
/// # }
/// ```
#[macro_export]
macro_rules! cluster_conformance {
    ($name:ident, $make:expr) => {
        $crate::__conformance!(
            $name,
            cluster,
            $make,
            [
                names_are_unique,
                state_is_stable,
                bound_pods_are_counted,
                a_launch_is_one_node,
                applying_twice_is_applying_once,
                stale_bindings_are_skipped,
                unplaced_pods_stay
            ]
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance {
    ($name:ident, $port:ident, $make:expr, [$($check:ident),*]) => {
        mod $name {
            #[allow(unused_imports, reason = "the expression may need nothing of its module")]
            use super::*;
            $(
                #[test]
                fn $check() {
                    $crate::conformance::run(async {
                        let adapter = $make.await;
                        $crate::conformance::$port::$check(&adapter).await
                    });
                }
            )*
        }
    };
}

/// Runs one check on a runtime of its own.
///
/// # Panics
///
/// If the check finds a violation or there is no runtime: this is the body of a test.
#[doc(hidden)]
#[expect(clippy::panic, reason = "this is the body of a test")]
pub fn run(check: impl Future<Output = Check>) {
    match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => {
            if let Err(violation) = runtime.block_on(check) {
                panic!("{violation}");
            }
        }
        Err(error) => panic!("no runtime: {error}"),
    }
}

//! Pods and nodes that come and go, one change after the other.

mod nodes;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use crate::config::Config;
use crate::core::run::Run;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Binding, Eviction, Input, Launch, Pod, PodDisruptionBudget, Relaxed, Unplaced, check_pod,
    check_pod_budget, known_gang,
};

/// What has come of the pods of one change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scheduled {
    /// The pods that have a place, in the order in which they were given.
    /// [`Target::Launch`](crate::Target::Launch) counts all launches of the scheduler, from the
    /// first on.
    pub bindings: Vec<Binding>,
    /// New launches, each with its number. What they cost is not proved to be little, as in a
    /// [`Plan`](crate::Plan).
    pub launches: Vec<(usize, Launch)>,
    /// The pods that have none.
    pub unplaced: Vec<Unplaced>,
    /// The preferences that pods with a place did without.
    pub relaxed: Vec<Relaxed>,
    /// The pods that lose their place, so that some of `bindings` have room: those that ran before
    /// the scheduler was made are forgotten, and its own wait again unless they are
    /// [removed](Scheduler::remove).
    pub evictions: Vec<Eviction>,
}

/// Places pods as they come, in time that goes with their number and not with that of those which
/// are there.
///
/// With pools or groups it launches what does not fit; without, it is a scheduler for the nodes that
/// exist. It launches for pods alone: the least sizes of groups are [`plan`](crate::plan())'s to keep.
/// Under [`Fit::First`](crate::Fit::First) a pod's node is found in time that goes with the
/// logarithm of the number of nodes; [`Fit::Best`](crate::Fit::Best) looks at each node once for
/// each shape of pods in a change.
///
/// ```
/// use binpack::{Config, Fit, Input, Node, Pod, Resources, Scheduler};
///
/// let node = |i| Node::new(format!("n{i}"), Resources::new(4_000, 16 << 30).with_pods(110));
/// let input = Input { nodes: (0..100).map(node).collect(), ..Input::default() };
/// let mut config = Config::default();
/// config.fit = Fit::First;
/// let mut scheduler = Scheduler::new(input, config)?;
/// let pod = |i| Pod::new(format!("web-{i}"), Resources::new(3_000, 1 << 30));
/// let done = scheduler.schedule((0..100).map(pod).collect())?;
/// assert_eq!(done.bindings.len(), 100);
/// assert_eq!(scheduler.schedule(vec![pod(100)])?.unplaced.len(), 1);
/// assert_eq!(scheduler.remove(["web-7"]), 1);
/// assert_eq!(scheduler.reschedule()?.bindings.len(), 1, "the one that waited has its place");
/// # Ok::<(), binpack::Error>(())
/// ```
///
/// Nodes come and go as well: [`add_nodes`](Self::add_nodes), [`remove_nodes`](Self::remove_nodes),
/// [`cordon`](Self::cordon) and [`registered`](Self::registered).
#[derive(Debug)]
pub struct Scheduler {
    input: Input,
    config: Config,
    /// What was decided so far; it is lent to the input for the time of a call.
    run: Option<Run<'static>>,
    /// Pods by name: their places in the input's list, or `usize::MAX` for one that ran before.
    names: HashMap<Arc<str>, usize>,
    /// Places in the input's list of pods that are free.
    vacant: Vec<usize>,
    /// Nodes by name: their places in the input's list.
    nodes: HashMap<Arc<str>, usize>,
    /// Places in the input's list of nodes that are free.
    free: BTreeSet<usize>,
    /// By pod: its number among all that came.
    arrival: Vec<u64>,
    /// How many pods came.
    came: u64,
    /// The pods without a place, by their number.
    waiting: BTreeMap<u64, usize>,
}

static NOTHING: LazyLock<(Input, Config)> = LazyLock::new(Default::default);

impl Scheduler {
    /// A scheduler for these nodes, pools, types, gangs and daemons. The input's pods are placed
    /// first; [`reschedule`](Self::reschedule) tells what became of those that wait.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if [`Input::check`] or [`Config::check`] refuses.
    pub fn new(mut input: Input, config: Config) -> Result<Self> {
        config.check()?;
        input.check()?;
        let pods = std::mem::take(&mut input.pods);
        let run = Run::new(&input, &config)?.on(&NOTHING.0, &NOTHING.1);
        let running = input.nodes.iter().flat_map(|node| &node.pods);
        let names = running.map(|running| (running.pod.name.clone(), usize::MAX)).collect();
        let nodes = input.nodes.iter().enumerate();
        let nodes = nodes.map(|(site, node)| (node.name.clone(), site)).collect();
        let mut scheduler = Self {
            input,
            config,
            run: Some(run),
            names,
            vacant: Vec::new(),
            nodes,
            free: BTreeSet::new(),
            arrival: Vec::new(),
            came: 0,
            waiting: BTreeMap::new(),
        };
        scheduler.schedule(pods)?;
        Ok(scheduler)
    }

    /// Places pods that are new.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if one is malformed, is called as another is, or names a gang that was
    /// not given; nothing has changed then.
    pub fn schedule(&mut self, pods: Vec<Pod>) -> Result<Scheduled> {
        self.check(&pods)?;
        let mut added = Vec::with_capacity(pods.len());
        for pod in pods {
            let name = pod.name.clone();
            let index = if let Some(index) = self.vacant.pop() {
                self.input.pods[index] = pod;
                index
            } else {
                self.input.pods.push(pod);
                self.arrival.push(0);
                self.input.pods.len() - 1
            };
            self.arrival[index] = self.came;
            self.came += 1;
            self.names.insert(name, index);
            added.push(index);
        }
        self.place(&added)
    }

    /// Tries pods anew that have no place, in the order in which they came.
    ///
    /// # Errors
    ///
    /// None today; it is there for what may go wrong later.
    pub fn reschedule(&mut self) -> Result<Scheduled> {
        let waiting: Vec<usize> = self.waiting.values().copied().collect();
        self.place(&waiting)
    }

    fn place(&mut self, pods: &[usize]) -> Result<Scheduled> {
        let done = self.lend(|run| run.schedule(pods));
        for pod in pods {
            self.note(*pod);
        }
        if let Ok(done) = &done {
            done.evictions.iter().for_each(|eviction| self.evict(eviction));
        }
        done
    }

    /// Forgets a pod that ran before, or lets one of its own wait again.
    fn evict(&mut self, eviction: &Eviction) {
        let Some(index) = self.names.get(&eviction.pod).copied() else { return };
        let Some(site) = self.nodes.get(&eviction.node).copied() else { return };
        let budgets = &mut self.input.disruption_budgets;
        let mut count = |pod: &Pod| {
            for budget in budgets.iter_mut().filter(|budget| budget.covers(pod)) {
                budget.disruptions_allowed = budget.disruptions_allowed.saturating_sub(1);
            }
        };
        if index != usize::MAX {
            count(&self.input.pods[index]);
            return self.note(index);
        }
        self.names.remove(&eviction.pod);
        let node = &mut self.input.nodes[site];
        if let Some(at) = node.pods.iter().position(|of| of.pod.name == eviction.pod) {
            let gone = node.pods.remove(at);
            node.release(&gone.pod.requests, &gone.gpus);
            count(&gone.pod);
        }
    }

    /// From now on these disruption budgets hold: those that were given before count down with
    /// every eviction, and nothing else changes them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if one is malformed; nothing has changed then.
    pub fn set_disruption_budgets(&mut self, budgets: Vec<PodDisruptionBudget>) -> Result<()> {
        budgets.iter().try_for_each(check_pod_budget)?;
        self.input.disruption_budgets = budgets;
        Ok(())
    }

    /// Takes pods away, by name, whether they have a place or wait for one, and returns how many of
    /// them there were. Pods that ran before the scheduler was made are not its own.
    ///
    /// Members of its gang stay where they are, even if they are too few now.
    pub fn remove<'n>(&mut self, pods: impl IntoIterator<Item = &'n str>) -> usize {
        let mut gone = Vec::new();
        for name in pods {
            if self.names.get(name).is_some_and(|index| *index != usize::MAX) {
                gone.extend(self.names.remove(name));
            }
        }
        let removed = self.lend(|run| {
            run.remove(&gone);
            run.dismiss(&gone);
            Ok(gone.len())
        });
        for pod in &gone {
            self.waiting.remove(&self.arrival[*pod]);
        }
        self.vacant.extend(&gone);
        removed.unwrap_or(0)
    }

    /// How many pods wait for a place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Notes whether a pod waits.
    fn note(&mut self, pod: usize) {
        let placed = self.run.as_ref().is_some_and(|run| run.has_place(pod));
        if placed {
            self.waiting.remove(&self.arrival[pod]);
        } else {
            self.waiting.insert(self.arrival[pod], pod);
        }
    }

    /// Lets pods that have lost their place wait for one, and returns their names in the order in
    /// which they came.
    fn wait(&mut self, mut pods: Vec<usize>) -> Vec<Arc<str>> {
        pods.sort_unstable_by_key(|pod| self.arrival[*pod]);
        for pod in &pods {
            self.note(*pod);
        }
        pods.into_iter().map(|pod| self.input.pods[pod].name.clone()).collect()
    }

    fn check(&self, pods: &[Pod]) -> Result<()> {
        let refused = |pod: &Pod, problem: String| {
            Err(Error::new(ErrorKind::Invalid, format!("pod {}: {problem}", pod.name)))
        };
        let mut new = HashSet::new();
        let gangs: HashSet<&str> = self.input.gangs.iter().map(|gang| &*gang.name).collect();
        for pod in pods {
            check_pod(pod)?;
            if pod.name.is_empty() {
                return refused(pod, "name is empty: give it one".into());
            }
            if self.names.contains_key(&pod.name) || !new.insert(&pod.name) {
                return refused(pod, "name is given twice: rename one".into());
            }
            known_gang(pod, &gangs)?;
        }
        Ok(())
    }

    fn lend<T>(&mut self, work: impl FnOnce(&mut Run<'_>) -> Result<T>) -> Result<T> {
        let Some(run) = self.run.take() else {
            let problem = "an earlier call did not come to its end: make a new scheduler";
            return Err(Error::new(ErrorKind::Closed, problem));
        };
        let mut run = run.on(&self.input, &self.config);
        let done = work(&mut run);
        self.run = Some(run.on(&NOTHING.0, &NOTHING.1));
        done
    }
}

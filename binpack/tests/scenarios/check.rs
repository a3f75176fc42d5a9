//! Whether a plan is what a case expects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use binpack::{Binding, Input, Labels, Plan, ReasonKind, Relaxation, Target, key};

use crate::language::case::Case;
use crate::language::expectation::{Counts, Expectation};

/// A plan, and where every pod is once it is carried out.
pub(crate) struct Outcome<'c> {
    case: &'c Case,
    plan: &'c Plan,
    bindings: HashMap<&'c str, &'c Binding>,
    running: HashMap<&'c str, Target>,
}

impl<'c> Outcome<'c> {
    pub(crate) fn of(case: &'c Case, plan: &'c Plan) -> Self {
        let on = |node: &'c binpack::Node| {
            node.pods
                .iter()
                .map(|running| (&*running.pod.name, Target::Existing(node.name.clone())))
        };
        Self {
            case,
            plan,
            bindings: plan.bindings.iter().map(|binding| (&*binding.pod, binding)).collect(),
            running: case.input.nodes.iter().flat_map(on).collect(),
        }
    }

    /// What of an expectation is not so.
    pub(crate) fn problem(&self, expectation: &Expectation) -> Option<String> {
        let plan = self.plan;
        match expectation {
            Expectation::AllPlaced => {
                let first = plan.unplaced.first()?;
                Some(format!("{} has no place: {}", first.pod, first.reason))
            }
            Expectation::Placed(n, of) => {
                let placed = match of {
                    None => plan.bindings.len(),
                    Some(of) => self.pods(of).filter(|pod| self.target(pod).is_some()).count(),
                };
                differs("pods have a place", &placed, n)
            }
            Expectation::Unplaced(of, kind, words) => self.unplaced(of, *kind, words.as_deref()),
            Expectation::Launches(n) => differs("launches", &plan.launches.len(), n),
            Expectation::LaunchesBy(key, counts) => {
                let values = plan.launches.iter().map(|launch| value(&launch.labels, key));
                differs(&format!("launches by {key}"), &count(values), counts)
            }
            Expectation::LaunchesByGroup(counts) => {
                let groups = plan.launches.iter().map(|launch| launch.group.as_deref());
                let groups = groups.map(|group| group.unwrap_or("-").to_owned());
                differs("launches by group", &count(groups), counts)
            }
            Expectation::Grows(group, from, to) => {
                let ups = plan.scale_ups(&self.case.input);
                let up = ups.iter().find(|up| *up.group == **group).map(|up| (up.from, up.to));
                differs(&format!("the sizes of {group}"), &up, &Some((*from, *to)))
            }
            Expectation::By(of, key, counts) => {
                differs(&format!("{of} by {key}"), &self.by(of, key), counts)
            }
            Expectation::Per(of, key, numbers) => {
                let mut all: Vec<usize> = self.by(of, key).into_values().collect();
                all.sort_unstable_by(|a, b| b.cmp(a));
                differs(&format!("{of} per {key}"), &all, numbers)
            }
            Expectation::OnExisting(of, node) => {
                let there = Target::Existing(node.as_str().into());
                let mut elsewhere = self.pods(of).filter(|pod| self.target(pod) != Some(&there));
                elsewhere.next().map(|pod| format!("{pod} is on {:?}", self.target(pod)))
            }
            Expectation::OnLaunches(of) => {
                let new = |pod: &&Arc<str>| matches!(self.target(pod), Some(Target::Launch(_)));
                self.pods(of).find(|pod| !new(pod)).map(|pod| format!("{pod} is on no launch"))
            }
            Expectation::Same(a, b, key, same) => self.same(a, b, key, *same),
            Expectation::Gpus(of, gpus) => {
                let of = self.pods(of).filter_map(|pod| self.bindings.get(&**pod));
                let mut wrong = of.filter(|binding| binding.gpus != *gpus);
                wrong.next().map(|binding| format!("{} has GPUs {:?}", binding.pod, binding.gpus))
            }
            other => self.whole(other),
        }
    }

    /// What of an expectation of the plan as a whole is not so.
    fn whole(&self, expectation: &Expectation) -> Option<String> {
        let plan = self.plan;
        let (cost, launches) = (plan.cost_per_hour_micros, &plan.launches);
        let certificate = plan.certificate.as_ref();
        match expectation {
            Expectation::Cost(micros) => differs("the cost", &cost, micros),
            Expectation::CostAtMost(micros) => {
                (cost > *micros).then(|| format!("the cost is {cost}, above {micros}"))
            }
            Expectation::Bound(micros) => {
                differs("the bound", &certificate.map_or(0, |c| c.lower_bound_micros), micros)
            }
            Expectation::LeftOut(words) => {
                let left_out = certificate.map_or(&[][..], |c| &c.left_out);
                let said = left_out.iter().any(|said| said.contains(&**words));
                (!said).then(|| format!("left out are {left_out:?}"))
            }
            Expectation::Evicted(names, violating) => {
                let meant = plan.evictions.iter().filter(|of| !violating || of.violates_budget);
                let mut are: Vec<String> = meant.map(|of| of.pod.to_string()).collect();
                are.sort_unstable();
                differs("evicted", &are, names)
            }
            Expectation::NothingRelaxed => {
                let first = plan.relaxed.first()?;
                Some(format!("{} did without {:?}", first.pod, first.relaxations))
            }
            Expectation::Relaxed(of, kinds) => {
                self.pods(of).find_map(|pod| differs(pod, self.relaxed(pod), &kinds[..]))
            }
            Expectation::Tainted(taint) => launches
                .iter()
                .find(|launch| !launch.taints.contains(taint))
                .map(|launch| format!("a launch has the taints {:?}", launch.taints)),
            Expectation::AlternativesAtLeast(n) => launches
                .iter()
                .map(|launch| &launch.alternatives)
                .find(|alternatives| alternatives.len() < *n)
                .map(|alternatives| format!("the alternatives are {alternatives:?}")),
            Expectation::Alternatives(names) => launches.iter().find_map(|launch| {
                let are: Vec<&str> = launch.alternatives.iter().map(|name| &**name).collect();
                differs("the alternatives", &are, &names.iter().map(|name| &**name).collect())
            }),
            Expectation::Overhead(amounts) => launches
                .iter()
                .find_map(|launch| differs("the overhead", &launch.daemon_overhead, amounts)),
            other => Some(format!("{other:?} is not expected of a plan")),
        }
    }

    fn pods(&self, of: &str) -> impl Iterator<Item = &'c Arc<str>> + use<'c> {
        self.case.groups.get(of).into_iter().flatten()
    }

    fn target(&self, pod: &str) -> Option<&Target> {
        let bound = self.bindings.get(pod).map(|binding| &binding.target);
        bound.or_else(|| self.running.get(pod))
    }

    /// Where a pod is by a label; `-` where its node doesn't have it.
    fn domain(&self, pod: &str, key: &str) -> Option<String> {
        let target = self.target(pod)?;
        if key == key::HOSTNAME {
            return Some(match target {
                Target::Existing(name) => name.to_string(),
                Target::Launch(index) => format!("launch {index}"),
            });
        }
        Some(value(labels(&self.case.input, self.plan, target)?, key))
    }

    fn by(&self, of: &str, key: &str) -> Counts {
        count(self.pods(of).filter_map(|pod| self.domain(pod, key)))
    }

    fn same(&self, a: &str, b: &str, key: &str, same: bool) -> Option<String> {
        let domains = |of| self.pods(of).map(|pod| self.domain(pod, key)).collect::<BTreeSet<_>>();
        let (one, other) = (domains(a), domains(b));
        if one.contains(&None) || other.contains(&None) {
            return Some(format!("not all of {a} and {b} have a place"));
        }
        let right = if same { one.len() == 1 && one == other } else { one.is_disjoint(&other) };
        (!right).then(|| format!("{a} is in {one:?}, {b} in {other:?}"))
    }

    fn relaxed(&self, pod: &str) -> &[Relaxation] {
        let of = self.plan.relaxed.iter().find(|relaxed| *relaxed.pod == *pod);
        of.map_or(&[], |relaxed| &relaxed.relaxations)
    }

    fn unplaced(&self, of: &str, kind: ReasonKind, words: Option<&str>) -> Option<String> {
        let names: BTreeSet<&Arc<str>> = self.pods(of).collect();
        let waiting: Vec<_> =
            self.plan.unplaced.iter().filter(|unplaced| names.contains(&unplaced.pod)).collect();
        if waiting.is_empty() {
            return Some(format!("all of {of} have a place"));
        }
        waiting.into_iter().find_map(|unplaced| {
            let (pod, reason) = (&unplaced.pod, &unplaced.reason);
            let wrong = differs(pod, &reason.kind, &kind);
            let silent = || words.is_some_and(|words| !reason.message.contains(words));
            wrong
                .map(|wrong| format!("{wrong}: {reason}"))
                .or_else(|| silent().then(|| format!("{pod}: {reason}")))
        })
    }
}

fn differs<T: PartialEq + Debug + ?Sized>(what: &str, is: &T, expected: &T) -> Option<String> {
    (is != expected).then(|| format!("{what}: {is:?}, not {expected:?}"))
}

fn labels<'c>(input: &'c Input, plan: &'c Plan, target: &Target) -> Option<&'c Labels> {
    match target {
        Target::Existing(name) => {
            input.nodes.iter().find(|node| node.name == *name).map(|node| &node.labels)
        }
        Target::Launch(index) => plan.launches.get(*index).map(|launch| &launch.labels),
    }
}

fn value(labels: &Labels, key: &str) -> String {
    labels.get(key).map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn count(values: impl Iterator<Item = String>) -> Counts {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

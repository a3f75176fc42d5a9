//! Why a pod has no place, in words.

use super::board::Board;
use super::budget::Budgets;
use super::class::{Class, ClassKey};
use super::hash::QuickMap;
use super::offers::Offers;
use super::problem::Problem;
use super::room::{Demand, Gpu, Room};
use crate::error::Result;
use crate::model::{Input, Node, Pod, Reason, ReasonKind, Resources, Taint, WhenUnsatisfiable};

/// Explains pods, those that are alike once.
pub(super) struct Explainer<'p, 'i> {
    problem: &'p Problem<'i>,
    offers: &'p Offers,
    board: &'p Board<'i>,
    said: QuickMap<(ClassKey, &'i Resources, bool), Reason>,
}

/// Something that could take a pod if it fitted: a node or an offer.
struct Site<'s> {
    taints: &'s [Taint],
    room: Room,
    new: bool,
    /// The group that would grow by it, by index.
    group: Option<usize>,
}

impl<'p, 'i> Explainer<'p, 'i> {
    pub(super) fn new(problem: &'p Problem<'i>, offers: &'p Offers, board: &'p Board<'i>) -> Self {
        Self { problem, offers, board, said: QuickMap::default() }
    }

    pub(super) fn explain(&mut self, pod: usize) -> Result<Reason> {
        let pod = &self.problem.input.pods[pod];
        let key = (ClassKey::of(pod, &[], false), &pod.requests, ties(pod).is_empty());
        if let Some(reason) = self.said.get(&key) {
            return Ok(reason.clone());
        }
        let reason = self.reason(pod, &Class::new(&key.0)?);
        self.said.insert(key, reason.clone());
        Ok(reason)
    }

    fn reason(&self, pod: &Pod, class: &Class) -> Reason {
        if let Some((key, _)) = class.domains.iter().find(|(_, domain)| domain.is_empty()) {
            let message = format!("its requirements on {key} contradict each other: remove one");
            return Reason::new(ReasonKind::Contradiction, message);
        }
        let sites = self.sites(class);
        if sites.is_empty() {
            return Reason::new(ReasonKind::Requirements, self.unmatched(class));
        }
        let open: Vec<&Site<'_>> =
            sites.iter().filter(|site| class.may_enter(site.taints)).collect();
        if open.is_empty() {
            return Reason::new(ReasonKind::Taints, untolerated(class, &sites));
        }
        let demand = Demand::new(&self.problem.dims, pod);
        let fitting = |site: &&&Site<'_>| site.room.fits(&demand);
        if pod.gang.is_some() && self.fitted_once(class, &demand) {
            let message = "its gang has no place as a whole: make room for all of it in one domain, or lower its min_member";
            return Reason::new(ReasonKind::Gang, message);
        }
        let ties = ties(pod);
        if !ties.is_empty() && open.iter().any(|site| fitting(&site)) {
            let message = format!(
                "it fits where its labels and taints let it, but other pods keep it away: relax its {}",
                ties.join(", its ")
            );
            return Reason::new(ReasonKind::Pods, message);
        }
        let limited = !Budgets::new(self.problem.input).are_endless();
        if open.iter().filter(fitting).any(|site| site.new && limited) {
            return Reason::new(ReasonKind::Limits, self.used_up(open.iter().filter(fitting)));
        }
        if open.iter().any(|site| fitting(&site)) {
            let message = "it fits where its labels and taints let it, but pods there or around it want to be apart from it: relax their anti-affinity";
            return Reason::new(ReasonKind::Pods, message);
        }
        Reason::new(ReasonKind::Resources, self.too_small(&demand, &open))
    }

    /// Names the first group that would take a pod if it could grow, or the limits of pools.
    fn used_up<'s>(&self, fitting: impl Iterator<Item = &'s &'s Site<'s>>) -> String {
        let (mut group, mut pools) = (None, false);
        for site in fitting.filter(|site| site.new) {
            group = group.or(site.group);
            pools |= site.group.is_none();
        }
        let Some(group) = group.map(|group| &self.problem.input.node_groups[group]) else {
            return "it fits on an instance type that may be launched, but the node pools' limits are used up".into();
        };
        let own = self.board.open_launches().filter(|site| {
            let launch = site - self.problem.input.nodes.len();
            self.offers.all[self.board.opened[launch]].source.pool.name == group.name
        });
        let size = group.size(self.problem.input) + own.count() as u64;
        let (name, max) = (&group.name, group.max_size);
        let why = if size >= u64::from(max) {
            format!("whose size is {size} at a max_size of {max}: raise it")
        } else {
            format!("of whose machines no more can be had than {size}, at a max_size of {max}")
        };
        let pools = if pools { "; the node pools' limits are used up too" } else { "" };
        format!("it fits on a node of group {name}, {why}{pools}")
    }

    /// Whether a pod alone would have had a place, before others got theirs.
    fn fitted_once(&self, class: &Class, demand: &Demand) -> bool {
        let input = self.problem.input;
        let nodes = self.nodes().filter(|(_, node)| {
            class.may_enter(&node.taints)
                && class.allows(|key| node.labels.get(key).map(|value| &**value))
        });
        let mut offers = self.offers.all.iter().filter(|offer| {
            class.may_enter(&offer.source.pool.taints)
                && class.allows(|key| offer.label(input, key))
        });
        let mut nodes = nodes;
        nodes.any(|(at, _)| self.problem.node_room(at).fits(demand))
            || offers.any(|offer| offer.room.fits(demand))
    }

    /// The nodes that are there, with their sites.
    fn nodes(&self) -> impl Iterator<Item = (usize, &'i Node)> {
        let nodes = self.problem.input.nodes.iter().enumerate();
        nodes.filter(|(site, _)| !self.board.gone.contains(site))
    }

    /// Everything whose labels satisfy the class.
    fn sites(&self, class: &Class) -> Vec<Site<'p>> {
        let (input, offers): (&'p Input, &'p Offers) = (self.problem.input, self.offers);
        let nodes = self.nodes();
        let nodes = nodes
            .filter(|(_, node)| class.allows(|key| node.labels.get(key).map(|value| &**value)));
        let nodes = nodes.map(|(i, node)| Site {
            taints: &node.taints,
            room: self.board.rooms[i].clone(),
            new: false,
            group: None,
        });
        let offers = offers.all.iter().filter(|offer| class.allows(|key| offer.label(input, key)));
        let offers = offers.map(|o| Site {
            taints: &o.source.pool.taints,
            room: o.room.clone(),
            new: true,
            group: o.source.group,
        });
        nodes.chain(offers).collect()
    }

    /// Names the requirement that nothing satisfies, or all of them if each alone is satisfied.
    fn unmatched(&self, class: &Class) -> String {
        let input = self.problem.input;
        if self.nodes().next().is_none() && self.offers.all.is_empty() {
            return "there is no node, and no node pool or group may launch anything: add a pool or an instance type".into();
        }
        let alone = class.domains.iter().find(|(key, domain)| {
            let node =
                self.nodes().any(|(_, n)| domain.allows(n.labels.get(*key).map(|value| &**value)));
            !node && !self.offers.all.iter().any(|offer| domain.allows(offer.label(input, key)))
        });
        let keys = || class.domains.keys().map(|key| &**key).collect::<Vec<_>>().join(", ");
        match alone {
            Some((key, _)) => format!(
                "no node and nothing that may be launched satisfies its requirement on {key}"
            ),
            None => format!(
                "no node and nothing that may be launched satisfies its requirements on {} together",
                keys()
            ),
        }
    }

    /// Names the resource of which even the largest has too little, or says that nothing has
    /// enough of all.
    fn too_small(&self, demand: &Demand, sites: &[&Site<'_>]) -> String {
        let new = sites.iter().any(|site| site.new);
        let what = if new {
            "the largest that may be launched or is free"
        } else {
            "the most that is free on a node"
        };
        for (dim, need) in demand.amounts.iter().enumerate() {
            let most = sites.iter().map(|site| site.room.free[dim]).max().unwrap_or(0);
            if *need > most {
                return format!(
                    "it needs {} {need}, and {what} has {most}",
                    self.problem.dims.name(dim)
                );
            }
        }
        match demand.gpu {
            Gpu::None => {}
            Gpu::Share(milli) => {
                let most =
                    sites.iter().flat_map(|site| site.room.gpus.iter()).max().copied().unwrap_or(0);
                if milli > most {
                    return format!(
                        "it needs {milli} thousandths of one GPU, and the most that is free of one is {most}"
                    );
                }
            }
            Gpu::Whole(devices) => {
                let most =
                    sites.iter().map(|site| site.room.count(&gpu_only(demand))).max().unwrap_or(0);
                if most == 0 {
                    return format!(
                        "it needs {devices} whole GPUs, and nothing that it may use has as many free"
                    );
                }
            }
        }
        "no node that it may use has enough of all that it needs free, and nothing that may be launched has".into()
    }
}

/// What a pod asks of other pods, in words.
fn ties(pod: &Pod) -> Vec<String> {
    let spreads = pod.topology_spread.iter();
    let spreads = spreads.filter(|s| s.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule);
    let spreads = spreads.map(|spread| format!("spread over {}", spread.topology_key));
    let near = pod.pod_affinity.iter().map(|term| format!("affinity on {}", term.topology_key));
    let apart = pod.pod_anti_affinity.iter();
    let apart = apart.map(|term| format!("anti-affinity on {}", term.topology_key));
    let ports = (!pod.host_ports.is_empty()).then(|| "host ports".to_owned());
    spreads.chain(near).chain(apart).chain(ports).collect()
}

/// The same pod without its other needs.
fn gpu_only(demand: &Demand) -> Demand {
    Demand { amounts: demand.amounts.iter().map(|_| 0).collect(), gpu: demand.gpu }
}

fn untolerated(class: &Class, sites: &[Site<'_>]) -> String {
    let taints = sites.iter().flat_map(|site| site.taints);
    match taints
        .into_iter()
        .find(|taint| !class.tolerates(taint) && !class.may_enter(std::slice::from_ref(taint)))
    {
        Some(taint) => format!(
            "all that has the labels it requires is tainted, such as with {taint}: tolerate it"
        ),
        None => "all that has the labels it requires is tainted: tolerate the taints".into(),
    }
}

//! The cluster as a consolidation changes it: who runs where, and which nodes are there.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::why::Why;
use crate::config::{Config, Preference};
use crate::core::board::{Board, Place};
use crate::core::budget::Budgets;
use crate::core::class::{Class, ClassKey};
use crate::core::groups::Groups;
use crate::core::offers::Offers;
use crate::core::problem::{Problem, Shape, is_tied};
use crate::core::relax::Level;
use crate::core::room::{Demand, Dims};
use crate::error::Result;
use crate::model::{
    ConsolidationPolicy, DisruptionReason, Input, Launch, Node, Plan, Pod, Resources, Target,
};

/// A pod that runs, or that the plan has given a node.
pub(super) struct Resident<'a> {
    pub(super) pod: &'a Pod,
    /// With all its preferences.
    pub(super) shape: usize,
    /// With what must hold alone.
    pub(super) strict: usize,
    /// What its eviction costs, in thousandths; nothing where it is welcome.
    pub(super) cost: u64,
}

impl Resident<'_> {
    /// Whether it keeps its node, and why; `this` is its index.
    pub(super) fn keeps(&self, this: usize) -> Option<Why> {
        if self.pod.do_not_disrupt {
            return Some(Why::PodProtected(this));
        }
        self.pod.gang.as_ref().map(|_| Why::Gang(this))
    }
}

/// A node that exists, or that is launched.
pub(super) struct Site {
    /// The pool or the group, by index among the sources.
    pub(super) pool: Option<usize>,
    pub(super) price: Option<u64>,
    pub(super) live: bool,
    /// Whether pods may be moved there.
    pub(super) receives: bool,
    /// The pods that have to go elsewhere if it goes.
    pub(super) pods: Vec<usize>,
    pub(super) daemons: Vec<usize>,
    /// What keeps it whatever else is the case.
    pub(super) fixed: Option<Why>,
}

pub(super) struct World<'a> {
    pub(super) input: &'a Input,
    pub(super) config: &'a Config,
    pub(super) problem: Problem<'a>,
    pub(super) offers: Offers,
    pub(super) board: Board<'a>,
    pub(super) shapes: Vec<Shape<'a>>,
    pub(super) pods: Vec<Resident<'a>>,
    pub(super) sites: Vec<Site>,
    /// Sites up to here exist or are the plan's: the others are launched for pods that move.
    pub(super) given: usize,
}

/// A pod and where it is: launches of the plan come after the nodes.
struct Seat<'a> {
    pod: &'a Pod,
    site: usize,
    gpus: &'a [u32],
    daemon: bool,
}

impl<'a> World<'a> {
    pub(super) fn new(input: &'a Input, config: &'a Config, plan: &'a Plan) -> Result<Self> {
        let running = || input.nodes.iter().flat_map(|node| &node.pods).map(|running| &running.pod);
        let dims = Dims::of_pods(input, || running().chain(&input.pods));
        let mut problem = Problem::over(input, dims);
        problem.measure_by_types();
        let mut offers = Offers::new(&problem)?;
        let seats = seats(input, plan);
        let mut groups = Groups::new();
        let (shapes, pods) = residents(&seats, config, &mut problem, &mut groups)?;
        offers.learn(&problem);
        let mut board = Board::new(&problem, groups);
        board.places = vec![None; pods.len()];
        let sites = Vec::with_capacity(input.nodes.len());
        let given = input.nodes.len();
        let mut world = Self { input, config, problem, offers, board, shapes, pods, sites, given };
        world.add_nodes();
        let launched = world.add_launches(plan);
        world.given = world.sites.len();
        world.seat(&seats, &launched);
        world.judge_nodes()?;
        Ok(world)
    }

    fn add_nodes(&mut self) {
        self.board.order_domains(&self.offers);
        self.board.lay_out();
        for node in &self.input.nodes {
            let pool = self.offers.sources.iter().position(|source| source.owns(node));
            let mut site = Site {
                pool,
                price: node.price_micros,
                live: true,
                receives: !node.is_leaving(),
                pods: Vec::new(),
                daemons: Vec::new(),
                fixed: match pool {
                    _ if node.disrupting => Some(Why::Disrupting),
                    _ if node.interrupted => None,
                    None => Some(Why::NoPool),
                    Some(_) if node.do_not_disrupt => Some(Why::Protected),
                    Some(_) => None,
                },
            };
            let forced = self.forced(node, pool);
            site.receives &= forced.is_none();
            self.sites.push(site);
        }
    }

    /// Why a node goes whatever it costs.
    fn forced(&self, node: &Node, pool: Option<usize>) -> Option<DisruptionReason> {
        let limit = pool.and_then(|pool| self.offers.sources[pool].pool.expire_after_secs);
        if node.interrupted {
            Some(DisruptionReason::Interrupted)
        } else if limit.zip(node.age_secs).is_some_and(|(limit, age)| age >= limit) {
            Some(DisruptionReason::Expired)
        } else {
            node.drifted.then_some(DisruptionReason::Drifted)
        }
    }

    pub(super) fn forced_site(&self, site: usize) -> Option<DisruptionReason> {
        let node = self.input.nodes.get(site)?;
        self.forced(node, self.sites[site].pool)
    }

    /// The plan's launches, and their sites. Nothing is moved to them: the plan stands by itself.
    fn add_launches(&mut self, plan: &Plan) -> Vec<Option<usize>> {
        let add = |launch: &Launch| {
            let offer = self.offers.all.iter().position(|offer| {
                let it = &self.input.instance_types[offer.instance_type];
                let sold = &it.offerings[offer.offering];
                offer.source.pool.name == launch.pool
                    && it.name == launch.instance_type
                    && (&sold.zone, sold.capacity_type) == (&launch.zone, launch.capacity_type)
            });
            let site = self.board.open(&self.offers, offer?);
            self.admit(site);
            self.sites[site].receives = false;
            self.sites[site].fixed = Some(Why::TakesPending);
            Some(site)
        };
        plan.launches.iter().map(add).collect()
    }

    /// Takes a launch into the list of sites.
    pub(super) fn admit(&mut self, site: usize) {
        let offer = &self.offers.all[self.board.opened[site - self.input.nodes.len()]];
        self.sites.push(Site {
            pool: Some(offer.pool),
            price: Some(offer.price),
            live: true,
            receives: true,
            pods: Vec::new(),
            daemons: Vec::new(),
            fixed: None,
        });
    }

    fn seat(&mut self, seats: &[Seat<'a>], launched: &[Option<usize>]) {
        let nodes = self.input.nodes.len();
        let running: usize = self.input.nodes.iter().map(|node| node.pods.len()).sum();
        for (at, seat) in seats.iter().enumerate() {
            let launch = seat.site.checked_sub(nodes).map(|launch| launched[launch]);
            let Some(seated) = launch.unwrap_or(Some(seat.site)) else { continue };
            let shape = &self.shapes[self.pods[at].shape];
            self.board.count(&shape.ties, seated, false);
            let site = &mut self.sites[seated];
            if at >= running {
                let devices: Vec<usize> = seat.gpus.iter().map(|gpu| *gpu as usize).collect();
                self.board.claim(seated, &shape.demand, &devices);
                site.fixed = site.fixed.or(Some(Why::TakesPending));
            }
            if seat.daemon {
                site.daemons.push(at);
                continue;
            }
            site.pods.push(at);
            self.board.places[at] = Some(Place {
                site: seated,
                gpus: seat.gpus.to_vec(),
                level: shape.level,
                class: shape.class,
                plain: shape.plain,
                ties: (!shape.ties.is_empty()).then(|| Arc::clone(&shape.ties)),
            });
        }
    }

    /// Which nodes their pods keep.
    fn judge_nodes(&mut self) -> Result<()> {
        let daemons =
            self.input.daemons.iter().map(|pod| Class::new(&ClassKey::of(pod, &[], false)));
        let daemons: Vec<Class> = daemons.collect::<Result<_>>()?;
        for (at, node) in self.input.nodes.iter().enumerate() {
            let (pods, shapes) = (&self.pods, &self.shapes);
            let site = &mut self.sites[at];
            if site.fixed.is_some() || node.interrupted {
                continue;
            }
            let kept = site.pods.iter().find_map(|pod| pods[*pod].keeps(*pod));
            let listed = site.pods.iter().chain(&site.daemons);
            let listed = listed.map(|pod| &shapes[pods[*pod].shape].demand);
            let pool = site.pool.map(|pool| &self.offers.sources[pool].pool);
            let spare = pool.filter(|_| site.daemons.is_empty());
            let runs = |class: &&Class| {
                class.may_enter(&node.taints)
                    && class.allows(|key| node.labels.get(key).map(|value| &**value))
            };
            let brought = daemons.iter().zip(&self.input.daemons);
            let brought = brought.filter(|(class, _)| spare.is_some() && runs(class));
            let brought = brought.map(|(_, pod)| Demand::new(&self.problem.dims, pod).amounts);
            let overhead = spare.map(|pool| self.problem.dims.amounts(&pool.daemon_overhead));
            let known = known(listed, brought.chain(overhead), self.problem.dims.len());
            site.fixed = kept.or_else(|| {
                let listed = covers(&known, &self.problem.dims, &node.used);
                (!listed).then_some(Why::Unlisted)
            });
        }
        Ok(())
    }

    /// The reason for which a site goes: one that was empty before pods were moved to it is so
    /// still.
    pub(super) fn own_reason(&self, site: usize, reason: DisruptionReason) -> DisruptionReason {
        let node = self.input.nodes.get(site);
        let empty = node.is_some_and(|node| node.pods.iter().all(|running| running.daemon));
        if empty && !reason.is_forced() { DisruptionReason::Empty } else { reason }
    }

    /// The policy of a site's pool; nodes of no pool are left alone.
    pub(super) fn policy(&self, site: usize) -> ConsolidationPolicy {
        let pool = self.sites[site].pool.map(|pool| &self.offers.sources[pool].pool);
        pool.map_or(ConsolidationPolicy::Never, |pool| pool.disruption.policy)
    }

    /// What evicting all pods of a site costs, in thousandths.
    pub(super) fn eviction_cost(&self, site: usize) -> u64 {
        self.sites[site].pods.iter().map(|pod| self.pods[*pod].cost).sum()
    }

    /// Whether no group would fall below its least size, or further below it, if these sites went
    /// and launches from a site on were there.
    pub(super) fn keeps_sizes(&self, sites: &[usize], first_launch: usize) -> bool {
        let groups = self.offers.sources.iter().enumerate();
        let mut groups = groups.filter_map(|(at, source)| Some((at, source.group?)));
        let nodes = self.input.nodes.len();
        groups.all(|(source, group)| {
            let of = |site: &&usize| self.sites[**site].pool == Some(source);
            let going = sites.iter().filter(of).count();
            let launches = self.board.opened.iter().skip(first_launch.saturating_sub(nodes));
            let coming = launches.filter(|offer| self.offers.all[**offer].pool == source).count();
            let live = self.sites.iter().filter(|s| s.live && s.pool == Some(source)).count();
            going <= coming
                || (live - going + coming) as u64
                    >= u64::from(self.input.node_groups[group].min_size)
        })
    }

    /// What pools' limits leave beside the sites that are there.
    pub(super) fn budgets(&self) -> Budgets {
        let mut budgets = Budgets::beside(self.input, &|site| self.sites[site].live);
        if budgets.are_endless() {
            return budgets;
        }
        for (launch, offer) in self.board.opened.iter().enumerate() {
            // One that no site was made of yet belongs to the attempt that is under way.
            let site = self.sites.get(self.input.nodes.len() + launch);
            if site.is_none_or(|site| site.live) {
                let draws = budgets.draws(&self.offers.all[*offer], self.input);
                budgets.take(&draws, 1);
            }
        }
        budgets
    }

    /// Nodes that exist and go.
    pub(super) fn gone(&self) -> BTreeSet<usize> {
        (0..self.input.nodes.len()).filter(|site| !self.sites[*site].live).collect()
    }
}

/// All pods that have a node: those that run, in the order of the input, and then the plan's.
fn seats<'a>(input: &'a Input, plan: &'a Plan) -> Vec<Seat<'a>> {
    let mut seats = Vec::with_capacity(input.nodes.iter().map(|node| node.pods.len()).sum());
    for (site, node) in input.nodes.iter().enumerate() {
        let of = |running: &'a crate::model::RunningPod| Seat {
            pod: &running.pod,
            site,
            gpus: &running.gpus,
            daemon: running.daemon,
        };
        seats.extend(node.pods.iter().map(of));
    }
    if plan.bindings.is_empty() {
        return seats;
    }
    let pods: HashMap<&str, &'a Pod> = input.pods.iter().map(|pod| (&*pod.name, pod)).collect();
    let nodes = input.nodes.iter().enumerate();
    let nodes: HashMap<&str, usize> = nodes.map(|(at, node)| (&*node.name, at)).collect();
    for binding in &plan.bindings {
        let site = match &binding.target {
            Target::Existing(name) => nodes.get(&**name).copied(),
            Target::Launch(launch) => Some(input.nodes.len() + launch),
        };
        if let Some((pod, site)) = pods.get(&*binding.pod).copied().zip(site) {
            seats.push(Seat { pod, site, gpus: &binding.gpus, daemon: false });
        }
    }
    seats
}

/// Groups pods into shapes, each with all its preferences and with none.
fn residents<'a>(
    seats: &[Seat<'a>],
    config: &Config,
    problem: &mut Problem<'a>,
    groups: &mut Groups,
) -> Result<(Vec<Shape<'a>>, Vec<Resident<'a>>)> {
    let strict = |pod: &Pod| problem.strict_level(pod);
    let first = |pod: &Pod| match config.preference {
        Preference::Respect => 0,
        Preference::Ignore => strict(pod),
    };
    let all: Vec<(usize, &'a Pod, Level)> = {
        let full = seats.iter().enumerate().map(|(at, seat)| (at, seat.pod, first(seat.pod)));
        let less = seats.iter().enumerate().filter(|(_, seat)| strict(seat.pod) > first(seat.pod));
        full.chain(less.map(|(at, seat)| (seats.len() + at, seat.pod, strict(seat.pod)))).collect()
    };
    let labels =
        !problem.input.disruption_budgets.is_empty() || seats.iter().any(|seat| is_tied(seat.pod));
    let (mut shapes, ties) = problem.shapes_of(all.into_iter(), labels, groups)?;
    for (shape, (carried, meant_by)) in shapes.iter_mut().zip(&ties) {
        shape.ties = Arc::new(groups.ties_of_running(carried, meant_by));
    }
    let mut queues = order(&mut shapes, seats, problem);
    let resident = |seat: &Seat<'a>| Resident {
        pod: seat.pod,
        shape: 0,
        strict: 0,
        cost: u64::try_from(seat.pod.eviction_cost_milli()).unwrap_or(0),
    };
    let mut pods: Vec<Resident<'a>> = seats.iter().map(resident).collect();
    let mut less = Vec::new();
    for (at, queue) in queues.iter_mut().enumerate() {
        for pod in queue.drain(..) {
            match pods.get_mut(pod) {
                Some(resident) => (resident.shape, resident.strict) = (at, at),
                None => less.push((pod - seats.len(), at)),
            }
        }
    }
    for (pod, shape) in less {
        pods[pod].strict = shape;
    }
    Ok((shapes, pods))
}

/// Puts shapes in the order in which they are placed, and hands over their pods. Ties go by the
/// first name, so that the order does not depend on where pods are.
fn order<'a>(
    shapes: &mut [Shape<'a>],
    seats: &[Seat<'a>],
    problem: &Problem<'a>,
) -> Vec<VecDeque<usize>> {
    let name = |pod: &usize| &*seats[*pod % seats.len()].pod.name;
    let first = shapes.iter().enumerate();
    let mut first: Vec<_> =
        first.map(|(at, s)| (s.pods.iter().map(name).min(), s.level, at)).collect();
    first.sort_unstable();
    let mut queues = Vec::with_capacity(shapes.len());
    for (rank, (_, _, at)) in first.iter().enumerate() {
        queues.push(std::mem::replace(&mut shapes[*at].pods, VecDeque::from([rank])));
    }
    problem.order(shapes);
    let ranks = shapes.iter_mut().filter_map(|shape| shape.pods.pop_front());
    ranks.map(|rank| std::mem::take(&mut queues[rank])).collect()
}

/// What the listed pods and the daemons of a node's pool use, GPUs at the end.
fn known<'d>(
    listed: impl Iterator<Item = &'d Demand>,
    brought: impl Iterator<Item = Box<[u64]>>,
    dims: usize,
) -> Vec<u64> {
    let mut known = vec![0u64; dims + 1];
    let mut add = |amounts: &[u64]| {
        known.iter_mut().zip(amounts).for_each(|(sum, n)| *sum = sum.saturating_add(*n));
    };
    let mut gpus = 0u64;
    for demand in listed {
        add(&demand.amounts);
        gpus = gpus.saturating_add(demand.gpu_milli());
    }
    brought.for_each(|amounts| add(&amounts));
    known[dims] = gpus;
    known
}

fn covers(known: &[u64], dims: &Dims, used: &Resources) -> bool {
    let amounts = dims.amounts(used);
    let gpus = std::iter::once(&used.gpu_milli);
    amounts.iter().chain(gpus).zip(known).all(|(used, known)| used <= known)
}

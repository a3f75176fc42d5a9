//! What pods that stay have of those that go: neighbours, and an even spread.

use super::places::is_regional;
use super::world::World;
use crate::core::groups::{DomainId, Kind, Spread};

/// How things were for those groups which a change may touch.
pub(super) struct Watch {
    /// Spreads with their classes, and how much too many pods are in their fullest domain.
    spreads: Vec<(usize, Spread, usize, u32)>,
    /// Domains where some pods must be near others.
    nears: Vec<(usize, DomainId, u32)>,
}

impl Watch {
    /// Before these sites are emptied.
    pub(super) fn new(world: &mut World<'_>, carriers: &[Vec<usize>], sites: &[usize]) -> Self {
        let mut watch = Self { spreads: Vec::new(), nears: Vec::new() };
        if world.board.groups.is_empty() {
            return watch;
        }
        for group in touched(world, sites) {
            let of = world.board.groups.get(group);
            let topology = of.topology();
            match of.kind() {
                Kind::Spread(spread) if is_regional(topology) && !spread.optional => {
                    for class in &carriers[group] {
                        let worst = worst(world, group, spread, *class);
                        watch.spreads.push((group, spread, *class, worst));
                    }
                }
                Kind::Near if is_regional(topology) => {
                    let domains = sites.iter().map(|site| world.board.domain_of(*site, topology));
                    let mut domains: Vec<DomainId> = domains.flatten().collect();
                    domains.sort_unstable();
                    domains.dedup();
                    let levels = domains.into_iter().map(|d| (group, d, company(world, group, d)));
                    watch.nears.extend(levels.collect::<Vec<_>>());
                }
                Kind::Spread(_) | Kind::Near | Kind::Apart | Kind::Avoid => {}
            }
        }
        watch
    }

    /// Whether nothing is worse than it was, or than it may be.
    pub(super) fn holds(&self, world: &mut World<'_>) -> bool {
        let spread = self.spreads.iter().all(|(group, spread, class, before)| {
            worst(world, *group, *spread, *class) <= (*before).max(spread.max_skew)
        });
        spread
            && self.nears.iter().all(|(group, domain, before)| {
                let holders = world.board.groups.get(*group).count(*domain).holders;
                holders == 0 || company(world, *group, *domain) >= *before
            })
    }
}

/// The groups that have to do with pods of these sites.
fn touched(world: &World<'_>, sites: &[usize]) -> Vec<usize> {
    let pods = sites.iter().flat_map(|site| {
        let site = &world.sites[*site];
        site.pods.iter().chain(&site.daemons)
    });
    let mut groups: Vec<usize> = Vec::new();
    for pod in pods {
        let ties = match &world.board.places[*pod] {
            Some(place) => place.ties.as_ref(),
            None => Some(&world.shapes[world.pods[*pod].shape].ties),
        };
        let Some(ties) = ties else { continue };
        groups.extend(ties.carries.iter().map(|(group, _)| *group).chain(ties.meant_by.clone()));
    }
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// How many more pods the fullest domain with a carrier has than the emptiest.
fn worst(world: &mut World<'_>, group: usize, spread: Spread, class: usize) -> u32 {
    let World { board, problem, offers, .. } = world;
    let eligible = board.eligible(problem, offers, class, group, spread);
    let fewest = board.fewest(group, spread, &eligible);
    let carrying = board.groups.get(group).domains().filter(|(_, count)| count.holders > 0);
    carrying.map(|(_, count)| count.meant.saturating_sub(fewest)).max().unwrap_or(0)
}

/// How well a domain serves those that must be near others there: 2 is enough for all, 1 for all
/// but a pod that is alone with itself.
fn company(world: &World<'_>, group: usize, domain: DomainId) -> u32 {
    let of = world.board.groups.get(group);
    match of.count(domain).meant {
        0 => 0,
        1 if of.total().meant > 1 => 1,
        _ => 2,
    }
}

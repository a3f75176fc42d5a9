//! What a node's pods claim of it beside amounts: host ports and volumes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::labels::all_satisfied;
use super::state::Site;
use super::{Breach, Rule, State};
use crate::model::{HostPort, Labels, Pod, Volume};

pub(super) fn host_ports(state: &State<'_>) -> Vec<Breach> {
    let mut found = Vec::new();
    for site in &state.sites {
        // By port and protocol, who has it: what is there already and the bound pods before.
        let mut taken: HashMap<_, Vec<(&Pod, &HostPort)>> = HashMap::new();
        let running = site.pods.iter().filter(|placed| !placed.bound()).map(|placed| placed.pod);
        for pod in running.chain(site.daemons.iter().copied()) {
            for port in &pod.host_ports {
                taken.entry((port.port, port.protocol)).or_default().push((pod, port));
            }
        }
        for placed in site.bound() {
            let pod = placed.pod;
            let others = pod.host_ports.iter().filter_map(|port| {
                let holders = taken.get(&(port.port, port.protocol))?;
                let (other, _) = holders.iter().find(|(_, theirs)| theirs.conflicts(port))?;
                Some((port.port, &other.name))
            });
            found.extend(others.map(|(port, other)| {
                let both = format!("pods {other} and {} on {}", pod.name, site.id);
                Breach::new(Rule::HostPorts, format!("{both} both take port {port}"))
            }));
            for port in &pod.host_ports {
                taken.entry((port.port, port.protocol)).or_default().push((pod, port));
            }
        }
    }
    found
}

pub(super) fn volumes(state: &State<'_>) -> Vec<Breach> {
    let mut found = Vec::new();
    for site in &state.sites {
        for placed in site.bound() {
            if let Some(volume) = out_of_reach(placed.pod, site.labels) {
                let pod = format!("pod {} on {}", placed.pod.name, site.id);
                let message = format!("{pod}: volume {} can't be reached there", volume.handle);
                found.push(Breach::new(Rule::Volumes, message));
            }
        }
        for (driver, number) in attached(site) {
            let limit = site.volume_limits.and_then(|limits| limits.get(driver));
            if let Some(limit) = limit.filter(|limit| number > u64::from(**limit)) {
                let message =
                    format!("{}: {number} volumes of {driver}, at most {limit} go there", site.id);
                found.push(Breach::new(Rule::Volumes, message));
            }
        }
    }
    found
}

/// A volume that is not reachable from a node with these labels.
pub(super) fn out_of_reach<'a>(pod: &'a Pod, labels: &Labels) -> Option<&'a Volume> {
    let reached = |volume: &&Volume| {
        volume.topologies.is_empty()
            || volume.topologies.iter().any(|term| all_satisfied(term, labels))
    };
    pod.volumes.iter().find(|volume| !reached(volume))
}

/// How many volumes are attached at last, for each driver of which the plan attaches one more.
pub(super) fn attached<'a>(site: &Site<'a>) -> BTreeMap<&'a str, u64> {
    let handles = |bound: bool| {
        let pods = site.pods.iter().filter(move |placed| placed.bound() == bound);
        pods.flat_map(|placed| &placed.pod.volumes).map(|v| (&*v.driver, &*v.handle))
    };
    let before: BTreeSet<(&str, &str)> = handles(false).collect();
    let added: BTreeSet<(&str, &str)> = handles(true).filter(|v| !before.contains(v)).collect();
    let mut numbers = BTreeMap::new();
    for (driver, _) in &added {
        *numbers.entry(*driver).or_insert(0) += 1;
    }
    for (driver, _) in &before {
        numbers.entry(*driver).and_modify(|number| *number += 1);
    }
    numbers
}

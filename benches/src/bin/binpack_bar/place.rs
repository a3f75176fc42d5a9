//! Pods on nodes that exist, with nothing that may be launched.

use std::time::Instant;

use benches::binpack::cluster;
use benches::kv_journal::Outcome;
use benches::report;
use benches::settings::Settings;
use binpack::{Fit, Input, Scheduler};

use crate::planned::{self, quick};

/// How many pods a change adds.
const MORE: usize = 100;

pub(crate) fn plain(settings: &Settings, name: &str, pods: usize, nodes: usize) -> Outcome<()> {
    measure(settings, name, &cluster::plain(settings.count(pods), settings.count(nodes)))
}

/// The nodes are not fewer than a deployment's replicas, which are one to a node.
pub(crate) fn tied(settings: &Settings, name: &str, pods: usize, nodes: usize) -> Outcome<()> {
    let nodes = settings.count(nodes).max(2 * cluster::REPLICAS);
    measure(settings, name, &cluster::tied(settings.count(pods), nodes))
}

/// Gangs that are bound to a rack.
pub(crate) fn gangs(settings: &Settings, name: &str, gangs: usize, nodes: usize) -> Outcome<()> {
    let input = cluster::gangs(settings.count(gangs), settings.count(nodes).max(64));
    let measured = planned::measure(name, &input, &quick(), settings.rounds)?;
    report::line(&format!("{name}-seconds"), measured.seconds, "s");
    report::line(name, input.gangs.len() as f64 / measured.seconds, "gangs/s");
    Ok(())
}

/// A hundred pods more on nodes that are known: the median of many changes, each taken back.
pub(crate) fn replan(settings: &Settings, name: &str, nodes: usize) -> Outcome<()> {
    let input = cluster::plain(MORE, settings.count(nodes));
    let pods = input.pods.clone();
    let mut config = quick();
    config.fit = Fit::First;
    let known = Input { pods: Vec::new(), ..input };
    let mut scheduler = Scheduler::new(known, config)?;
    let mut millis = Vec::new();
    for _ in 0..settings.rounds.max(1) * 20 {
        let pods = pods.clone();
        let start = Instant::now();
        let done = scheduler.schedule(pods)?;
        millis.push(start.elapsed().as_secs_f64() * 1e3);
        if done.bindings.len() != MORE {
            return Err(format!("{name}: {} pods have no place", done.unplaced.len()).into());
        }
        scheduler.remove(done.bindings.iter().map(|binding| &*binding.pod));
    }
    report::line(name, report::median(&millis), "ms");
    Ok(())
}

/// A plan is made anew each time, so that all that it takes to know the nodes is counted. The
/// planner uses one thread.
fn measure(settings: &Settings, name: &str, input: &Input) -> Outcome<()> {
    let measured = planned::measure(name, input, &quick(), settings.rounds)?;
    let pods = input.pods.len() as f64;
    report::line(&format!("{name}-seconds"), measured.seconds, "s");
    // The clock of processor time ticks a hundred times a second.
    if measured.cpu > 0.0 {
        report::line(&format!("{name}-cpu"), pods / measured.cpu, "pods/s");
    }
    report::line(name, pods / measured.seconds, "pods/s");
    Ok(())
}

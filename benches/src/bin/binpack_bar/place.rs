//! Pods on nodes that exist, with nothing that may be launched.

use benches::binpack::cluster;
use benches::kv_journal::Outcome;
use benches::report;
use benches::settings::Settings;
use binpack::Input;

use crate::planned::{all_placed, quick, repeated, spread};

pub(crate) fn plain(settings: &Settings, name: &str, pods: usize, nodes: usize) -> Outcome<()> {
    measure(settings, name, &cluster::plain(settings.count(pods), settings.count(nodes)))
}

/// The nodes are not fewer than a deployment's replicas, which are one to a node.
pub(crate) fn tied(settings: &Settings, name: &str, pods: usize, nodes: usize) -> Outcome<()> {
    let nodes = settings.count(nodes).max(2 * cluster::REPLICAS);
    measure(settings, name, &cluster::tied(settings.count(pods), nodes))
}

/// A plan is made anew each time, so that all that it takes to know the nodes is counted. The
/// planner uses one thread.
fn measure(settings: &Settings, name: &str, input: &Input) -> Outcome<()> {
    let (seconds, plan) = repeated(input, &quick(), settings.rounds)?;
    all_placed(&plan)?;
    spread(name, &seconds);
    let median = report::median(&seconds);
    report::line(&format!("{name}-seconds"), median, "s");
    report::line(name, input.pods.len() as f64 / median, "pods/s");
    Ok(())
}

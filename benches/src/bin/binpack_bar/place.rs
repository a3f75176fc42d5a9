//! Pods on nodes that exist, with nothing that may be launched.

use benches::binpack::cluster;
use benches::kv_journal::Outcome;
use benches::report;
use benches::settings::Settings;
use binpack::Input;

use crate::planned::{self, quick};

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

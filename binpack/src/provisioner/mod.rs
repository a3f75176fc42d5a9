//! The shell: a handle that asks for plans, and the driver that makes and applies them.

mod driver;
mod rounds;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::catalogue::Catalogue;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Plan;

pub use driver::Driver;

/// What a provisioner has done since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Plans that were made and applied.
    pub plans: u64,
    /// Pods that those plans bound to nodes that existed.
    pub pods_on_existing: u64,
    /// Pods that those plans bound to nodes that they launched.
    pub pods_on_launches: u64,
    /// Nodes that those plans launched.
    pub launches: u64,
    /// Pods that the last plan left without a place.
    pub unplaced: u64,
    /// What all launches together cost, in millionths of a dollar per hour.
    pub cost_per_hour_micros: u64,
    /// Time spent in [`plan`](crate::plan()), summed up.
    pub planning: Duration,
    /// The longest single one.
    pub planning_max: Duration,
    /// Port calls that failed and were repeated.
    pub retries: u64,
    /// Rounds that were given up because the cluster or the catalogue handed over something
    /// malformed other than a pod, such as a name twice. The next trigger starts a new one.
    pub failed_rounds: u64,
    /// The last failure in words.
    pub last_error: Option<String>,
}

/// Keeps a cluster provisioned: call [`trigger`](Self::trigger) when a pod waits.
///
/// Clones share one driver; the driver ends when the last clone is dropped.
///
/// ```
/// use std::sync::Arc;
/// use binpack::{BuiltinCatalogue, ClusterState, Config, MemoryCluster, NodePool, Pod, Provisioner, Resources};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pools = vec![NodePool::linux_amd64_on_demand("default")];
/// let cluster = Arc::new(MemoryCluster::new(ClusterState { pools, ..ClusterState::default() }));
/// let catalogue = Arc::new(BuiltinCatalogue::new());
/// let (provisioner, driver) = Provisioner::open(catalogue, cluster.clone(), Config::default())?;
/// tokio::spawn(driver);
///
/// cluster.add_pod(Pod::new("web", Resources::new(500, 1 << 30)));
/// let plan = provisioner.plan_now().await?;
/// assert_eq!((plan.launches.len(), cluster.bound().len()), (1, 1));
/// # Ok::<(), binpack::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Provisioner {
    handle: Arc<Handle>,
}

impl Provisioner {
    /// A provisioner over a catalogue and a cluster. Nothing moves until the driver is spawned.
    ///
    /// The driver plans on the thread that polls it: a plan of thousands of pods holds it for
    /// tens of milliseconds, so spawn it on a runtime with more than one worker.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if a setting is out of its range.
    pub fn open(
        catalogue: Arc<dyn Catalogue>,
        cluster: Arc<dyn Cluster>,
        config: Config,
    ) -> Result<(Self, Driver)> {
        config.check()?;
        let shared = Arc::new(Shared::default());
        let driver = rounds::Rounds::new(catalogue, cluster, config, shared.clone());
        Ok((Self { handle: Arc::new(Handle { shared }) }, Driver::new(driver.run())))
    }

    /// Says that a pod waits or that room has become free. Cheap; many triggers make one batch.
    pub fn trigger(&self) {
        self.handle.shared.ask(|asked| asked.triggers += 1);
    }

    /// Plans at once, whatever the batching window, and returns the plan that was applied. It saw
    /// the cluster's state after this call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the cluster or the catalogue handed over something malformed other
    /// than a pod, which the plan names as unplaced for
    /// [`ReasonKind::Malformed`](crate::ReasonKind::Malformed); [`ErrorKind::Closed`] if the driver is gone. A port that is unavailable is no error: the
    /// call waits until it answers.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call gives up the answer; the plan is made and applied all the same.
    pub async fn plan_now(&self) -> Result<Arc<Plan>> {
        let (answer, answered) = oneshot::channel();
        self.handle.shared.enlist(answer)?;
        answered.await.unwrap_or_else(|_| Err(self.handle.shared.closed()))
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.shared.state.lock().stats.clone()
    }
}

/// Counts as one handle, whatever the number of its clones.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.ask(|asked| asked.handles_gone = true);
    }
}

type Answer = oneshot::Sender<Result<Arc<Plan>>>;

/// What handles and driver have in common.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    asked: Asked,
    waiting: Vec<Answer>,
    stats: Stats,
    life: Life,
}

/// Whether the driver is there.
#[derive(Debug, Default)]
enum Life {
    #[default]
    Open,
    Closed,
    Failed(Error),
}

/// What handles want and the driver has not begun.
#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    triggers: u64,
    at_once: bool,
    handles_gone: bool,
}

impl Shared {
    fn ask(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.state.lock().asked);
        self.wake.notify_one();
    }

    fn enlist(&self, answer: Answer) -> Result<()> {
        let mut state = self.state.lock();
        if !matches!(state.life, Life::Open) {
            drop(state);
            return Err(self.closed());
        }
        state.asked.at_once = true;
        // Callers that gave up while a port is away would otherwise pile up until it is back.
        if state.waiting.len() == state.waiting.capacity() {
            state.waiting.retain(|waiting| !waiting.is_closed());
        }
        state.waiting.push(answer);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    fn closed(&self) -> Error {
        let error =
            Error::new(ErrorKind::Closed, "the provisioner's driver is gone: open it again");
        match &self.state.lock().life {
            Life::Failed(cause) => error.with_source(cause.clone()),
            Life::Open | Life::Closed => error,
        }
    }

    /// Closes the handles; every call that waits fails.
    fn close(&self, cause: Option<Error>) {
        let waiting = {
            let mut state = self.state.lock();
            if matches!(state.life, Life::Open) {
                state.life = cause.map_or(Life::Closed, Life::Failed);
            }
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_that_gave_up_don_t_pile_up() {
        let shared = Shared::default();
        let (kept, _answered) = oneshot::channel();
        shared.enlist(kept).expect("it is open");
        for _ in 0..10_000 {
            let (answer, gave_up) = oneshot::channel();
            drop(gave_up);
            shared.enlist(answer).expect("it is open");
        }
        let state = shared.state.lock();
        assert!(state.waiting.len() < 10, "{} wait", state.waiting.len());
        assert!(state.asked.at_once && !state.waiting[0].is_closed());
    }
}

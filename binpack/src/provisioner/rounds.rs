//! The driver's rounds: wait for a batch, read the state, plan, check, apply.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Answer, Shared};
use crate::catalogue::Catalogue;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::core::plan;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Input, Plan, Target, Unplaced};
use crate::validate::validate;

pub(super) struct Rounds {
    catalogue: Arc<dyn Catalogue>,
    cluster: Arc<dyn Cluster>,
    config: Config,
    shared: Closer,
}

/// Closes the handles when the driver ends or is dropped.
struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close(None);
    }
}

/// What the handles want now.
struct Want {
    triggers: u64,
    at_once: bool,
    last: bool,
}

impl Rounds {
    pub(super) fn new(
        catalogue: Arc<dyn Catalogue>,
        cluster: Arc<dyn Cluster>,
        config: Config,
        shared: Arc<Shared>,
    ) -> Self {
        Self { catalogue, cluster, config, shared: Closer(shared) }
    }

    pub(super) async fn run(self) -> Result<()> {
        loop {
            let want = self.want();
            if want.triggers == 0 && !want.at_once {
                if want.last {
                    return Ok(());
                }
                self.shared.0.wake.notified().await;
                continue;
            }
            self.collect().await;
            let waiting = self.begin();
            match self.round().await {
                Ok(plan) => answer(waiting, &Ok(plan)),
                Err(error) => self.failed(waiting, error)?,
            }
        }
    }

    fn want(&self) -> Want {
        let state = self.shared.0.state.lock();
        let asked = state.asked;
        Want { triggers: asked.triggers, at_once: asked.at_once, last: asked.handles_gone }
    }

    /// Waits until no trigger has come for `batch_idle`, `batch_max` is over, or somebody wants a
    /// plan at once.
    async fn collect(&self) {
        let latest = Instant::now() + self.config.batch_max;
        let mut idle = Instant::now() + self.config.batch_idle;
        let mut seen = self.want().triggers;
        loop {
            let want = self.want();
            let now = Instant::now();
            if want.triggers != seen {
                seen = want.triggers;
                idle = now + self.config.batch_idle;
            }
            // Under a storm of triggers the next one is always there, and no timeout would fire.
            let until = idle.min(latest);
            if want.at_once || want.last || now >= until {
                return;
            }
            // Over or woken: the next look tells.
            let _ = timeout_at(until, self.shared.0.wake.notified()).await;
        }
    }

    /// From here on, whoever asks is answered by a later round: this one may have read the state
    /// before.
    fn begin(&self) -> Vec<Answer> {
        let mut state = self.shared.0.state.lock();
        state.asked.triggers = 0;
        state.asked.at_once = false;
        std::mem::take(&mut state.waiting)
    }

    /// One plan, applied. Ports that are unavailable are asked again, each time from the state
    /// on, as long as there is a handle.
    async fn round(&self) -> Result<Arc<Plan>> {
        let mut wait = self.config.retry_first;
        loop {
            match self.attempt().await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    self.note_retry(&error);
                    if self.want().last {
                        return Err(error);
                    }
                }
                done => return done,
            }
            sleep(wait.min(self.config.retry_max)).await;
            wait = wait.saturating_mul(2).min(self.config.retry_max);
        }
    }

    async fn attempt(&self) -> Result<Arc<Plan>> {
        let instance_types = self.catalogue.instance_types().await?;
        let state = self.cluster.state().await?;
        let mut input = Input {
            pods: state.pending,
            nodes: state.nodes,
            pools: state.pools,
            node_groups: state.node_groups,
            instance_types,
            gangs: state.gangs,
            daemons: state.daemons,
            ..Input::default()
        };
        let aside = input.set_malformed_aside();
        let began = Instant::now();
        let mut plan = plan(&input, &self.config)?;
        let took = began.elapsed();
        if self.config.validate_plans {
            validate(&input, &plan)
                .map_err(|breach| Error::new(ErrorKind::Closed, refused()).with_source(breach))?;
        }
        report(&mut plan, aside, &input);
        self.cluster.apply(&plan).await?;
        self.note_plan(&plan, took);
        Ok(Arc::new(plan))
    }

    fn note_retry(&self, error: &Error) {
        let mut state = self.shared.0.state.lock();
        state.stats.retries += 1;
        state.stats.last_error = Some(error.to_string());
    }

    fn note_plan(&self, plan: &Plan, took: Duration) {
        let existing =
            plan.bindings.iter().filter(|b| matches!(b.target, Target::Existing(_))).count();
        let mut state = self.shared.0.state.lock();
        let all = &mut state.stats;
        all.plans += 1;
        all.pods_on_existing += existing as u64;
        all.pods_on_launches += (plan.bindings.len() - existing) as u64;
        all.launches += plan.launches.len() as u64;
        all.unplaced = plan.unplaced.len() as u64;
        all.cost_per_hour_micros =
            all.cost_per_hour_micros.saturating_add(plan.cost_per_hour_micros);
        all.planning += took;
        all.planning_max = all.planning_max.max(took);
    }

    /// A closed port, a refused plan, or a failure with no handle left ends the driver; anything
    /// else ends the round.
    fn failed(&self, waiting: Vec<Answer>, error: Error) -> Result<()> {
        if error.kind() == ErrorKind::Closed || self.want().last {
            self.shared.0.close(Some(error.clone()));
            let closed = self.shared.0.closed();
            answer(waiting, &Err(closed));
            return Err(error);
        }
        let mut state = self.shared.0.state.lock();
        state.stats.failed_rounds += 1;
        state.stats.last_error = Some(error.to_string());
        drop(state);
        answer(waiting, &Err(error));
        Ok(())
    }
}

/// Adds the pods that were set aside to those without a place, in the order of the state.
fn report(plan: &mut Plan, aside: Vec<(usize, Unplaced)>, input: &Input) {
    if aside.is_empty() {
        return;
    }
    let mut waiting = std::mem::take(&mut plan.unplaced).into_iter().peekable();
    let mut pods = input.pods.iter();
    let mut seen = 0;
    for (index, unplaced) in aside {
        // Between two that were set aside stand those that were planned for.
        for pod in pods.by_ref().take(index - seen) {
            plan.unplaced.extend(waiting.next_if(|waits| waits.pod == pod.name));
        }
        seen = index + 1;
        plan.unplaced.push(unplaced);
    }
    plan.unplaced.extend(waiting);
}

fn refused() -> &'static str {
    "the planner made a plan that the validator refuses, and nothing was applied: report it"
}

fn answer(waiting: Vec<Answer>, result: &Result<Arc<Plan>>) {
    for answer in waiting {
        // Whoever dropped the call doesn't want the answer.
        let _ = answer.send(result.clone());
    }
}

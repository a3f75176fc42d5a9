//! The packer: a plain function from a question to a plan.
#![allow(
    clippy::indexing_slicing,
    reason = "indices come from enumerating the input; none is read from outside bytes"
)]

mod bits;
mod domain;
mod existing;
mod launching;
mod offers;
mod outcome;
mod pack;
mod problem;
mod reason;
mod room;

use crate::config::Config;
use crate::error::Result;
use crate::model::{Input, Plan};

pub use domain::Domain;

/// Decides where every pod goes and what to launch.
///
/// Nodes that exist are used first. Then nodes are launched, pools of higher weight first, and
/// within a weight those whose price is lowest for what is really packed on them: pods are
/// grouped into shapes, each shape gets a price, and the launch that carries the most value for
/// its cost is taken until nothing waits. This is done [`Config::packing_rounds`] times with the
/// prices that the last time showed, and the cheapest result counts.
///
/// The same input and config give the same plan, and its order is fixed: bindings and unplaced
/// pods in the order of the input's pods, launches in the order in which they were chosen. A pod
/// is left unplaced only if no node has room for it and nothing may be launched that has.
///
/// Zone and hostname spread, pod affinity and preferences other than `PreferNoSchedule` are not
/// part of the model yet.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if [`Input::check`] or [`Config::check`]
/// refuses.
pub fn plan(input: &Input, config: &Config) -> Result<Plan> {
    config.check()?;
    input.check()?;
    let problem = problem::Problem::new(input)?;
    let mut outcome = outcome::Outcome::new(&problem);
    existing::place(&problem, config.fit, &mut outcome);
    let offers = launching::launch(&problem, config.packing_rounds, &mut outcome)?;
    Ok(outcome.into_plan(&problem, &offers))
}

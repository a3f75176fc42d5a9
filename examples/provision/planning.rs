//! The run of the planner.

use std::time::{Duration, Instant};

use binpack::{Config, Expander, Fit, Input, Plan, Preemption, Preference, plan_until};
use trestle_examples::fail::{Fail, Result};

use crate::args::{Args, Expander as WhichGroup, Fit as WhichNode, Preferences};
use crate::interrupt::Interrupt;

/// A plan, how long it took, and what ended it.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) elapsed: Duration,
    pub(crate) stopped: Option<Stop>,
}

/// What ended the planning before its steps were over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Deadline,
    Interrupt,
}

impl Planned {
    /// Plans until the steps or the time are over, or the user has had enough.
    pub(crate) fn of(input: &Input, args: &Args, interrupt: &Interrupt) -> Result<Self> {
        let config = config(args);
        let started = Instant::now();
        // A deadline beyond what the clock can say is none.
        let deadline = args.deadline_ms.map(Duration::from_millis);
        let deadline = deadline.and_then(|after| started.checked_add(after));
        let mut stopped = None;
        let plan = plan_until(input, &config, |_| {
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            stopped = match (interrupt.is_pressed(), late) {
                (true, _) => Some(Stop::Interrupt),
                (false, true) => Some(Stop::Deadline),
                (false, false) => None,
            };
            stopped.is_some()
        });
        let plan = plan.map_err(|error| Fail::new(Fail::chain(&error)))?;
        Ok(Self { plan, elapsed: started.elapsed(), stopped })
    }
}

fn config(args: &Args) -> Config {
    let mut config = Config::default();
    config.iterations = args.iterations;
    config.fit = match args.fit {
        WhichNode::First => Fit::First,
        WhichNode::Best => Fit::Best,
    };
    let expander = |which: &WhichGroup| match which {
        WhichGroup::LeastWaste => Expander::LeastWaste,
        WhichGroup::MostPods => Expander::MostPods,
        WhichGroup::Price => Expander::Price,
        WhichGroup::Priority => Expander::Priority,
    };
    config.expanders = args.expander.iter().map(expander).collect();
    if args.preempt {
        config.preemption = Preemption::Lower;
    }
    config.preference = match args.preferences {
        Preferences::Respect => Preference::Respect,
        Preferences::Ignore => Preference::Ignore,
    };
    config
}

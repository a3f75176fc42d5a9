//! The two independent checks that every plan goes through.

use std::fmt;

use binpack::{Error, ErrorKind, Input, Plan, Verified, validate, verify};

/// What the checks found.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The first rule that the plan breaks.
    breach: Option<Error>,
    pub(crate) bound: Bound,
}

/// What is known of the lower bound.
#[derive(Debug)]
pub(crate) enum Bound {
    /// The plan claims none.
    None,
    /// It holds.
    Proved(Verified),
    /// Whether it holds was not found out.
    Undecided(Error),
    /// It does not hold.
    Refuted(Error),
}

impl Checked {
    /// Checks the rules and the bound.
    pub(crate) fn of(input: &Input, plan: &Plan) -> Self {
        let bound = match plan.certificate.as_ref().map(|_| verify(input, plan)) {
            None => Bound::None,
            Some(Ok(verified)) => Bound::Proved(verified),
            Some(Err(error)) if error.kind() == ErrorKind::Unavailable => Bound::Undecided(error),
            Some(Err(error)) => Bound::Refuted(error),
        };
        Self { breach: validate(input, plan).err(), bound }
    }

    /// Why the plan must not be trusted.
    pub(crate) fn broken(&self) -> Option<&Error> {
        let refuted = match &self.bound {
            Bound::Refuted(error) => Some(error),
            _ => None,
        };
        self.breach.as_ref().or(refuted)
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.breach {
            None => f.write_str("every rule is kept; ")?,
            Some(_) => f.write_str("A RULE IS BROKEN; ")?,
        }
        match &self.bound {
            Bound::None => f.write_str("there is no lower bound"),
            Bound::Proved(verified) => {
                let (checked, spared) = (verified.offers_checked, verified.offers_spared);
                write!(f, "the lower bound is proved ({checked} offers, {spared} more follow)")
            }
            Bound::Undecided(error) => write!(f, "the lower bound is not decided: {error}"),
            Bound::Refuted(_) => f.write_str("THE LOWER BOUND IS REFUTED"),
        }
    }
}

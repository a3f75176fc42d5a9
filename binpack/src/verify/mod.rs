//! A second opinion on certificates.
//!
//! It reads the public model and nothing of the packer: which pods could share a machine, and what
//! the most is that they are worth, is worked out here from the input alone.

mod by_device;
mod device;
mod dims;
mod existing;
mod kinds;
mod knapsack;
mod machines;
mod prices;
mod simplex;

use std::collections::HashSet;

use self::kinds::Kinds;
use self::knapsack::Proof;
use self::machines::{Launcher, Offer, offers, undominated};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Certificate, Input, Plan};

/// How many partial solutions are looked at for one offer, or steps of the like are made.
const WORK: u64 = 4_000_000;

/// How many are looked at for all offers together.
const WORK_IN_ALL: u64 = 4 * WORK;

const NANOS_PER_MICRO: u64 = 1_000;

/// A certificate that holds, and what it took to know that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The lower bound, in millionths of a dollar per hour: no plan for the same input that gives
    /// the pods of value a place costs less.
    pub lower_bound_micros: u64,
    /// Offers (pool × instance type × offering, and the machines of groups) for which it was shown that nothing that fits is
    /// worth more than their price.
    pub offers_checked: usize,
    /// Offers for which that follows from another one, which costs no more and carries as much.
    pub offers_spared: usize,
    /// Partial solutions that were looked at where simple bounds didn't suffice, and steps of about
    /// the same work on the bounds of devices.
    pub search_nodes: u64,
}

/// Whether the plan's [`Certificate`] proves its lower bound for this input.
///
/// It must show two things. No set of pods that could share a machine that may be launched is worth
/// more than the machine's price. And the bound is at most what all pods are worth together, less
/// what the nodes that exist could carry of that: then weak duality of Gilmore and Gomory's linear
/// programme ("A linear programming approach to the cutting-stock problem", 1961) says that no plan
/// which gives all pods of value a place costs less.
///
/// Pods share a machine if its labels and taints let them in, if they fit beside its daemons in
/// every resource, if every share of a GPU is on a device that has room for it, and if no more of them are on it than their spread over hostnames and their anti-affinity to
/// their like allow. Every other constraint is left out, so the bound holds with them all the more.
/// Whether the plan keeps the rules is [`validate`](crate::validate())'s to say, not asked here.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if [`Input::check`] refuses, if there is no certificate or it doesn't fit
/// the input and the plan, if the values don't prove the bound, or if pods are worth more than the
/// price of a machine that they fit on; the message names it. [`ErrorKind::Unavailable`] if that
/// could not be found out for some machine within a fixed amount of work.
pub fn verify(input: &Input, plan: &Plan) -> Result<Verified> {
    input.check()?;
    let Some(certificate) = &plan.certificate else {
        return Err(invalid("the plan has no certificate: ask the packer for one"));
    };
    check_form(input, plan, certificate)?;
    let kinds = Kinds::new(input, &certificate.values_nanos);
    check_bound(input, certificate, &kinds)?;

    let all = offers(input, &kinds);
    let number = all.len();
    let (mut open, mut search_nodes) = (None, 0);
    let checked = undominated(all);
    for offer in &checked {
        let price = offer.offering.price_micros.saturating_mul(NANOS_PER_MICRO);
        let given = WORK.min(WORK_IN_ALL - search_nodes);
        let mut work = given;
        let proof = offer.machine.prove(&kinds, price, &mut work);
        search_nodes += given - work;
        match proof {
            Proof::Holds => {}
            Proof::Refuted(worth) => return Err(refuted(offer, price, worth)),
            Proof::Open => open = open.or(Some(undecided(offer))),
        }
    }
    open.map_or(Ok(()), Err)?;
    Ok(Verified {
        lower_bound_micros: certificate.lower_bound_micros,
        offers_checked: checked.len(),
        offers_spared: number - checked.len(),
        search_nodes,
    })
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// Whether the certificate speaks of this input and this plan.
fn check_form(input: &Input, plan: &Plan, certificate: &Certificate) -> Result<()> {
    let (values, pods) = (certificate.values_nanos.len(), input.pods.len());
    if values != pods {
        return Err(invalid(format!(
            "certificate: values_nanos has {values} values for {pods} pods: give one for each"
        )));
    }
    let placed: HashSet<&str> = plan.bindings.iter().map(|binding| &*binding.pod).collect();
    let mut priced = input.pods.iter().zip(&certificate.values_nanos).filter(|(_, v)| **v > 0);
    if let Some((pod, value)) = priced.find(|(pod, _)| !placed.contains(&*pod.name)) {
        return Err(invalid(format!(
            "certificate: values_nanos has {value} for pod {}, which has no place: set it to 0",
            pod.name
        )));
    }
    let (bound, cost) = (certificate.lower_bound_micros, plan.cost_per_hour_micros);
    if bound > cost {
        return Err(invalid(format!(
            "certificate: lower_bound_micros is {bound}, above the plan's cost of {cost}: one of \
             them is wrong, don't trust either"
        )));
    }
    Ok(())
}

/// Whether the bound follows from the values.
fn check_bound(input: &Input, certificate: &Certificate, kinds: &Kinds<'_>) -> Result<()> {
    let worth: u128 = certificate.values_nanos.iter().map(|value| u128::from(*value)).sum();
    let bound = certificate.lower_bound_micros;
    if bound == 0 {
        return Ok(());
    }
    let carried = existing::carried(input, kinds, existing::ENTRIES);
    let proven = worth.saturating_sub(carried) / u128::from(NANOS_PER_MICRO);
    if u128::from(bound) > proven {
        return Err(invalid(format!(
            "certificate: lower_bound_micros is {bound}, and the values prove {proven}: all pods \
             are worth {worth} nano-dollars, of which nodes that exist may carry {carried}; lower \
             the bound"
        )));
    }
    Ok(())
}

fn named(offer: &Offer<'_>) -> String {
    let (it, sold) = (&offer.instance_type.name, offer.offering);
    let (what, name) = match offer.of {
        Launcher::Pool(pool) => ("pool", &pool.name),
        Launcher::Group(group) => ("node group", &group.name),
    };
    format!("{it} ({} in {}, {what} {name})", sold.capacity_type, sold.zone)
}

fn refuted(offer: &Offer<'_>, price: u64, worth: u64) -> Error {
    invalid(format!(
        "certificate: instance type {} costs {price} nano-dollars an hour and can carry pods worth \
         {worth}: the values are too high, don't trust the bound",
        named(offer)
    ))
}

fn undecided(offer: &Offer<'_>) -> Error {
    let message = format!(
        "certificate: whether instance type {} can carry pods worth more than its price was not \
         found out within {WORK} steps: lower all values by a thousandth and the bound with them, \
         or don't trust it",
        named(offer)
    );
    Error::new(ErrorKind::Unavailable, message)
}

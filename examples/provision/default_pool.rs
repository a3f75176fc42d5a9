//! The pool that is used where none is given.

use binpack::{CapacityType, InstanceType, NodePool, Requirement, key};
use trestle_examples::fail::{Fail, Result};

use crate::args::{Arch, Args, CapacityType as Paid};

/// The flags that shape the default pool and were given.
pub(crate) fn flags(args: &Args) -> Vec<&'static str> {
    let given = [
        (args.capacity_type.is_some(), "--capacity-type"),
        (args.arch.is_some(), "--arch"),
        (!args.instance_categories.is_empty(), "--instance-categories"),
    ];
    given.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag).collect()
}

/// Linux machines of the flags' kind; a kind that the catalogue does not have is refused.
pub(crate) fn of(args: &Args, types: &[InstanceType]) -> Result<NodePool> {
    let mut pool = NodePool::new("default").require(Requirement::is_in(key::OS, ["linux"]));
    if let Some(arch) = arch(args) {
        let has =
            |it: &InstanceType| it.labels.get(key::ARCH).is_some_and(|value| **value == *arch);
        refuse_unless(types.iter().any(has), "--arch", arch)?;
        pool = pool.require(Requirement::is_in(key::ARCH, [arch]));
    }
    if let Some(paid) = paid(args) {
        let sold = |it: &InstanceType| it.offerings.iter().any(|o| o.capacity_type == paid);
        refuse_unless(types.iter().any(sold), "--capacity-type", paid.as_str())?;
        pool = pool.require(Requirement::is_in(key::CAPACITY_TYPE, [paid.as_str()]));
    }
    for category in &args.instance_categories {
        let label = |it: &InstanceType| it.labels.get(key::INSTANCE_CATEGORY).cloned();
        let has = types.iter().any(|it| label(it).is_some_and(|value| *value == **category));
        refuse_unless(has, "--instance-categories", category)?;
    }
    if !args.instance_categories.is_empty() {
        let categories = args.instance_categories.iter().map(String::as_str);
        pool = pool.require(Requirement::is_in(key::INSTANCE_CATEGORY, categories));
    }
    Ok(pool)
}

fn refuse_unless(there: bool, flag: &str, value: &str) -> Result<()> {
    if there {
        return Ok(());
    }
    let problem = "no instance type of the catalogue is of this kind: correct it, or name another \
                   catalogue with --catalog";
    Err(Fail::new(format!("{flag} {value}: {problem}")))
}

fn arch(args: &Args) -> Option<&'static str> {
    match args.arch {
        None | Some(Arch::Amd64) => Some("amd64"),
        Some(Arch::Arm64) => Some("arm64"),
        Some(Arch::Any) => None,
    }
}

fn paid(args: &Args) -> Option<CapacityType> {
    match args.capacity_type {
        None | Some(Paid::OnDemand) => Some(CapacityType::OnDemand),
        Some(Paid::Spot) => Some(CapacityType::Spot),
        Some(Paid::Any) => None,
    }
}

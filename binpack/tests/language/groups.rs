//! Node groups and expanders, in words and from words.

use binpack::{CapacityType, Expander, NodeGroup};

use super::syntax::{labels, taint};
use super::text::{Fault, Line};

/// `NAME TYPE` and what it is like.
pub(crate) fn group(line: &mut Line<'_>) -> Result<NodeGroup, Fault> {
    let (name, it) = (line.word("a name")?, line.word("a type")?);
    let mut group = NodeGroup::new(name, it, "a");
    while let Some(word) = line.next() {
        match word {
            "zone" => group.zone = line.word("a zone")?.into(),
            "paid" => group.capacity_type = capacity_type(line)?,
            "min" => group.min_size = line.number("a number of nodes")?,
            "max" => group.max_size = line.number("a number of nodes")?,
            "priority" => group.priority = line.number("a priority")?,
            "labels" => group.labels.extend(labels(line)?),
            "taint" => group.taints.push(taint(line)?),
            _ => return Err(line.fault(format!("a group has no {word}"))),
        }
    }
    Ok(group)
}

/// How something is paid for.
pub(crate) fn capacity_type(line: &mut Line<'_>) -> Result<CapacityType, Fault> {
    Ok(match line.word("how it is paid for")? {
        "on-demand" => CapacityType::OnDemand,
        "spot" => CapacityType::Spot,
        "reserved" => CapacityType::Reserved,
        other => return Err(line.fault(format!("nothing is paid for as {other}"))),
    })
}

/// `priority,least-waste`: one after the other.
pub(crate) fn expanders(line: &mut Line<'_>) -> Result<Vec<Expander>, Fault> {
    let words = line.word("expanders")?;
    let expander = |word: &str| {
        Ok(match word {
            "least-waste" => Expander::LeastWaste,
            "most-pods" => Expander::MostPods,
            "price" => Expander::Price,
            "priority" => Expander::Priority,
            other => return Err(line.fault(format!("{other} is no expander"))),
        })
    };
    words.split(',').map(expander).collect()
}

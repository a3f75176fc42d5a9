//! Placement on nodes that exist.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::bits::Bits;
use super::outcome::{Outcome, Spot};
use super::problem::{Class, Problem};
use super::room::{Demand, Gpu, Room};
use crate::config::Fit;

/// Places what has room on nodes that exist. Pods of one shape are placed together: under either
/// rule a node that was right for one of them stays right until it is full.
pub(super) fn place(problem: &Problem<'_>, fit: Fit, outcome: &mut Outcome) {
    if problem.input.nodes.is_empty() {
        return;
    }
    let mut rooms: Vec<Room> =
        (0..problem.input.nodes.len()).map(|node| problem.node_room(node)).collect();
    let masks: Vec<Masks> = problem.classes.iter().map(|class| Masks::of(problem, class)).collect();
    for (shape, of) in problem.shapes.iter().enumerate() {
        let masks = &masks[of.class];
        let mut queue = candidates(&rooms, masks, &of.demand, fit);
        while outcome.left(problem, shape) > 0 {
            let Some(Reverse((_, node))) = queue.pop() else {
                break;
            };
            let n = rooms[node].count(&of.demand).min(outcome.left(problem, shape));
            outcome.place(problem, shape, n, Spot::Node(node), &mut rooms[node]);
        }
    }
}

/// The nodes that a class may use, and those of them that don't ask it to stay away.
struct Masks {
    may: Bits,
    likes: Bits,
}

impl Masks {
    fn of(problem: &Problem<'_>, class: &Class<'_>) -> Self {
        let nodes = &problem.input.nodes;
        let all = || nodes.iter().enumerate();
        let may = all().filter(|(_, node)| {
            class.may_enter(&node.taints)
                && class.allows(|key| node.labels.get(key).map(|value| &**value))
        });
        let may = Bits::collect(nodes.len(), may.map(|(i, _)| i));
        let likes =
            all().filter(|(i, node)| may.has(*i) && class.likes(&node.taints)).map(|(i, _)| i);
        let likes = Bits::collect(nodes.len(), likes);
        Self { may, likes }
    }
}

/// The lowest goes first: taints that ask to stay away, then GPUs that the pod doesn't use, then
/// how much would stay free.
type Key = (bool, u64, u64);

fn candidates(
    rooms: &[Room],
    masks: &Masks,
    demand: &Demand,
    fit: Fit,
) -> BinaryHeap<Reverse<(Key, usize)>> {
    let fitting =
        rooms.iter().enumerate().filter(|(node, room)| masks.may.has(*node) && room.fits(demand));
    let keyed = fitting.map(|(node, room)| {
        let unwelcome = !masks.likes.has(node);
        let key = match fit {
            Fit::First => (unwelcome, 0, 0),
            Fit::Best => (unwelcome, gpu_waste(room, demand), slack(room, demand)),
        };
        Reverse((key, node))
    });
    // Made of a vector, a heap is ordered in linear time: few of its nodes are ever popped.
    BinaryHeap::from(keyed.collect::<Vec<_>>())
}

/// Thousandths of GPUs that the pod would keep from GPU pods: all that is free for a pod without,
/// what stays free of the device for a share.
fn gpu_waste(room: &Room, demand: &Demand) -> u64 {
    match demand.gpu {
        Gpu::None | Gpu::Whole(_) => room.gpu_free(),
        Gpu::Share(milli) => {
            room.gpus.iter().filter_map(|free| free.checked_sub(milli)).min().unwrap_or(0)
        }
    }
}

/// How much stays free, in multiples of the pod: the sum over what it needs.
fn slack(room: &Room, demand: &Demand) -> u64 {
    let parts = room.free.iter().zip(&demand.amounts).filter(|(_, need)| **need > 0);
    parts.map(|(free, need)| free.saturating_mul(1_000) / need).fold(0, u64::saturating_add)
}

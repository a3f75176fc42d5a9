//! Small jobs at random, and plain code that tells what is right of them.

use std::collections::HashMap;

use proptest::prelude::*;

use super::job::{Batch, Group, Job, Machine, Pattern, Row, float};
use crate::core::bits::Bits;
use crate::core::room::{Demand, Gpu, Room};
use crate::model::GPU_MILLI;

pub(super) fn gpu() -> impl Strategy<Value = Gpu> {
    prop_oneof![
        2 => Just(Gpu::None),
        3 => (1..10u64).prop_map(|tenths| Gpu::Share(tenths * 100)),
        1 => (1..3u64).prop_map(Gpu::Whole),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let cap = prop_oneof![3 => Just(u64::MAX), 1 => 1..3u64];
    (1..8u64, 1..8u64, gpu(), 1..4u64, cap).prop_map(|(cpu, memory, gpu, count, cap)| Row {
        demand: Demand { amounts: Box::new([cpu, memory, 1]), gpu },
        count,
        cap,
    })
}

/// CPU, memory, pods, devices and price; and what of the first device is in use.
fn machine() -> impl Strategy<Value = (u64, u64, u64, usize, u64, u64)> {
    let used = prop_oneof![4 => Just(0u64), 1 => 1..10u64];
    (3..20u64, 3..20u64, 1..7u64, 0..4usize, 5..40u64, used)
}

/// Two to four rows of one to three pods, and a machine for each that there is.
pub(super) fn job() -> impl Strategy<Value = Job> {
    let machines = prop::collection::vec(machine(), 1..4);
    let group = prop::option::of(1..3u64);
    (prop::collection::vec(row(), 2..5), machines, group, any::<bool>()).prop_map(
        |(rows, mut machines, group, foes)| {
            machines.push((20, 20, 6, 3, 60, 0));
            let machines = machines.into_iter().map(|of| machine_of(&rows, of)).collect();
            let cap = |cap| Group { cap, rows: vec![0, 1] };
            let mut job = Job {
                rows,
                machines,
                groups: group.map(cap).into_iter().collect(),
                ..Job::default()
            };
            if foes {
                let (size, foe) = (job.rows.len(), [1, 0]);
                let of = |row: usize| Bits::collect(size, foe.get(row).copied().into_iter());
                job.foes = (0..size).map(of).collect();
            }
            job
        },
    )
}

fn machine_of(
    rows: &[Row],
    (cpu, memory, pods, devices, price, used): (u64, u64, u64, usize, u64, u64),
) -> Machine {
    let mut gpus = vec![GPU_MILLI; devices];
    gpus.iter_mut().take(1).for_each(|free| *free -= used * 100);
    let room = Room { free: Box::new([cpu, memory, pods]), gpus: gpus.into() };
    let fits = rows.iter().enumerate().filter(|(_, row)| room.fits(&row.demand)).map(|(i, _)| i);
    let rows = Bits::collect(rows.len(), fits);
    Machine { room, price: price * 1_000_000, rows, draws: Vec::new() }
}

pub(super) fn counts(job: &Job) -> Vec<u64> {
    job.rows.iter().map(|row| row.count).collect()
}

/// Whether a machine carries a pattern, by the rules one by one.
pub(super) fn carries(job: &Job, machine: usize, pattern: &[(usize, u64)]) -> bool {
    let of = &job.machines[machine];
    let has = |row: usize| pattern.iter().any(|(r, n)| *r == row && *n > 0);
    let amounts = (0..of.room.free.len()).all(|dim| {
        let used: u64 = pattern.iter().map(|(row, n)| job.rows[*row].demand.amounts[dim] * n).sum();
        used <= of.room.free[dim]
    });
    let caps = pattern.iter().all(|(row, n)| *n <= job.rows[*row].cap && of.rows.has(*row));
    let groups = job.groups.iter().all(|group| {
        let pods = pattern.iter().filter(|(row, _)| group.rows.contains(row));
        pods.map(|(_, n)| n).sum::<u64>() <= group.cap
    });
    let foes = job.foes.iter().enumerate().any(|(row, foes)| {
        has(row) && (0..job.rows.len()).any(|other| has(other) && foes.has(other))
    });
    let gpus: Vec<Gpu> = pattern
        .iter()
        .flat_map(|(row, n)| (0..*n).map(move |_| job.rows[*row].demand.gpu))
        .collect();
    amounts && caps && groups && !foes && devices_carry(&mut of.room.gpus.to_vec(), &gpus)
}

pub(super) fn devices_carry(free: &mut Vec<u64>, gpus: &[Gpu]) -> bool {
    let Some((first, rest)) = gpus.split_first() else { return true };
    match *first {
        Gpu::None | Gpu::Whole(0) => devices_carry(free, rest),
        Gpu::Share(milli) => (0..free.len()).any(|device| {
            free[device] >= milli && {
                free[device] -= milli;
                let carry = devices_carry(free, rest);
                free[device] += milli;
                carry
            }
        }),
        Gpu::Whole(n) => (0..free.len()).any(|device| {
            free[device] == GPU_MILLI && {
                free[device] = 0;
                let mut left = vec![Gpu::Whole(n - 1)];
                left.extend_from_slice(rest);
                let carry = devices_carry(free, &left);
                free[device] = GPU_MILLI;
                carry
            }
        }),
    }
}

/// All patterns that a machine carries, of pods that there are.
pub(super) fn patterns(job: &Job, machine: usize, left: &[u64]) -> Vec<Pattern> {
    let mut all = vec![Pattern::new()];
    for (row, count) in left.iter().enumerate() {
        let more: Vec<Pattern> = all
            .iter()
            .flat_map(|pattern| (1..=*count).map(move |n| (pattern, n)))
            .map(|(pattern, n)| pattern.iter().copied().chain([(row, n)]).collect())
            .filter(|pattern: &Pattern| carries(job, machine, pattern))
            .collect();
        all.extend(more);
    }
    all
}

pub(super) fn value(pattern: &[(usize, u64)], values: &[f64]) -> f64 {
    pattern.iter().map(|(row, n)| values[*row] * float(*n)).sum()
}

/// The least price of machines for all pods.
pub(super) fn optimum(job: &Job) -> u64 {
    let left = counts(job);
    let all: Vec<_> =
        (0..job.machines.len()).map(|machine| patterns(job, machine, &left)).collect();
    least(job, &all, &left, &mut HashMap::new())
}

fn least(job: &Job, all: &[Vec<Pattern>], left: &[u64], known: &mut HashMap<Vec<u64>, u64>) -> u64 {
    let Some(first) = left.iter().position(|n| *n > 0) else { return 0 };
    if let Some(least) = known.get(left) {
        return *least;
    }
    let mut best = u64::MAX;
    for (machine, patterns) in all.iter().enumerate() {
        for pattern in patterns {
            let fits = pattern.iter().all(|(row, n)| left[*row] >= *n);
            if fits && pattern.iter().any(|(row, _)| *row == first) {
                let mut after = left.to_vec();
                for (row, n) in pattern {
                    after[*row] -= n;
                }
                let rest = least(job, all, &after, known);
                best = best.min(job.machines[machine].price.saturating_add(rest));
            }
        }
    }
    known.insert(left.to_vec(), best);
    best
}

/// Every pod is on exactly one machine, and every machine carries its pods.
pub(super) fn check(job: &Job, batches: &[Batch]) -> Result<(), TestCaseError> {
    let mut placed = vec![0; job.rows.len()];
    let mut drawn = vec![0; job.budgets.len()];
    for batch in batches {
        prop_assert!(
            carries(job, batch.machine, &batch.pattern),
            "machine {} does not carry {:?}",
            batch.machine,
            batch.pattern
        );
        batch.pattern.iter().for_each(|(row, n)| placed[*row] += n * batch.copies);
        for (budget, each) in &job.machines[batch.machine].draws {
            drawn[*budget] += each * batch.copies;
        }
    }
    prop_assert_eq!(placed, counts(job));
    prop_assert!(drawn.iter().zip(&job.budgets).all(|(drawn, budget)| drawn <= budget));
    Ok(())
}

//! A packing job: rows of equal pods, machines that may carry them, and what one machine holds.
//!
//! Amounts are floats that hold integers below 2^53, so sums and comparisons of them are exact.

use super::assign::assign;
use crate::core::bits::Bits;
use crate::core::room::{Demand, Gpu, Room};
use crate::model::GPU_MILLI;

/// Equal pods.
#[derive(Debug, Clone)]
pub(in crate::core) struct Row {
    pub(in crate::core) demand: Demand,
    pub(in crate::core) count: u64,
    /// The most of them on one machine, whatever room it has.
    pub(in crate::core) cap: u64,
}

/// A machine that may be launched any number of times.
#[derive(Debug, Clone)]
pub(in crate::core) struct Machine {
    pub(in crate::core) room: Room,
    pub(in crate::core) price: u64,
    /// The rows that may enter and fit.
    pub(in crate::core) rows: Bits,
    /// What each takes of [`Job::budgets`]: index and amount.
    pub(in crate::core) draws: Vec<(usize, u64)>,
}

/// Rows of which at most so many pods together go on one machine.
#[derive(Debug, Clone)]
pub(in crate::core) struct Group {
    pub(in crate::core) cap: u64,
    pub(in crate::core) rows: Vec<usize>,
}

/// What is to be packed.
#[derive(Debug, Default)]
pub(in crate::core) struct Job {
    pub(in crate::core) rows: Vec<Row>,
    pub(in crate::core) machines: Vec<Machine>,
    pub(in crate::core) groups: Vec<Group>,
    /// By row: rows that never share a machine with it; empty where there are none at all.
    pub(in crate::core) foes: Vec<Bits>,
    /// Amounts that all machines together may draw: what pools' limits leave, and how many of an
    /// offering there are.
    pub(in crate::core) budgets: Vec<u64>,
}

/// Pods of one machine: rows, ascending, with how many of each.
pub(in crate::core) type Pattern = Vec<(usize, u64)>;

/// Machines with the same pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) struct Batch {
    pub(in crate::core) machine: usize,
    pub(in crate::core) pattern: Pattern,
    pub(in crate::core) copies: u64,
}

/// The functions of Fekete and Schepers ("New classes of fast lower bounds for bin packing
/// problems", 2001) that turn shares of devices into amounts which no device exceeds: u(k) for
/// these k.
const DUAL_FEASIBLE: [u64; 3] = [1, 2, 3];

/// A job in the form in which it is computed with.
#[derive(Debug)]
pub(in crate::core) struct Numbers {
    /// Resources in use.
    pub(super) dims: usize,
    /// Those of them that are plain amounts, devices apart; they come first.
    pub(super) plain: usize,
    /// By row: what a pod takes of each resource.
    need: Vec<f64>,
    /// By row: what a pod takes of plain amounts, and whole devices.
    need_by_device: Vec<f64>,
    /// By machine: what it has of each.
    have: Vec<f64>,
    /// By row: the groups that it is in.
    pub(super) groups_of: Vec<Vec<usize>>,
    pub(super) shares: bool,
    /// Thousandths of a device that divide it and all shares.
    unit: u64,
}

impl Numbers {
    pub(in crate::core) fn of(job: &Job) -> Self {
        let shares = job.rows.iter().any(|row| matches!(row.demand.gpu, Gpu::Share(_)));
        let gpus = job.rows.iter().any(|row| row.demand.gpu != Gpu::None);
        let amounts = job.rows.first().map_or(0, |row| row.demand.amounts.len());
        let used: Vec<usize> = (0..amounts)
            .filter(|dim| job.rows.iter().any(|row| row.demand.amounts[*dim] > 0))
            .collect();
        let gpu_dims = if shares { 1 + DUAL_FEASIBLE.len() } else { usize::from(gpus) };
        let dims = used.len() + gpu_dims;
        let mut need = Vec::with_capacity(dims * job.rows.len());
        let mut need_by_device = Vec::new();
        for row in &job.rows {
            need.extend(used.iter().map(|dim| float(row.demand.amounts[*dim])));
            need.extend(gpu_amounts(row.demand.gpu).take(gpu_dims));
            need_by_device.extend(used.iter().map(|dim| float(row.demand.amounts[*dim])));
            need_by_device.push(float(row.demand.gpu_milli() / GPU_MILLI));
        }
        let mut have = Vec::with_capacity(dims * job.machines.len());
        for machine in &job.machines {
            have.extend(used.iter().map(|dim| float(machine.room.free[*dim])));
            have.extend(gpu_room(&machine.room).take(gpu_dims));
        }
        let mut groups_of = vec![Vec::new(); job.rows.len()];
        for (group, of) in job.groups.iter().enumerate() {
            of.rows.iter().for_each(|row| groups_of[*row].push(group));
        }
        let unit = job.rows.iter().fold(GPU_MILLI, |unit, row| match row.demand.gpu {
            Gpu::Share(milli) => gcd(unit, milli),
            Gpu::None | Gpu::Whole(_) => unit,
        });
        Self { dims, plain: used.len(), need, need_by_device, have, groups_of, shares, unit }
    }

    /// The same with devices as the only amount after the plain ones; nothing for shares of them.
    pub(super) fn need_by_device(&self, row: usize) -> &[f64] {
        let dims = self.plain + 1;
        &self.need_by_device[row * dims..(row + 1) * dims]
    }

    /// A share of a device in the units that all shares are multiples of.
    pub(super) fn units(&self, milli: u64) -> usize {
        usize::try_from(milli / self.unit).unwrap_or(usize::MAX)
    }

    /// A device in these units.
    pub(super) fn device_units(&self) -> usize {
        self.units(GPU_MILLI)
    }

    pub(super) fn need(&self, row: usize) -> &[f64] {
        &self.need[row * self.dims..(row + 1) * self.dims]
    }

    pub(super) fn have(&self, machine: usize) -> &[f64] {
        &self.have[machine * self.dims..(machine + 1) * self.dims]
    }
}

/// Divisible by 1, 2 and 3: with it, thousandths and their dual feasible images are integers.
const SCALE: u64 = 6;

/// Euclid's.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What there is of all devices: as it is, and as dual feasible functions see it, which are made
/// for whole devices.
fn gpu_room(room: &Room) -> impl Iterator<Item = f64> {
    let devices = room.gpus.iter().filter(|free| **free > 0).count() as u64;
    let images = std::iter::repeat(float(devices * GPU_MILLI * SCALE));
    std::iter::once(float(room.gpu_free() * SCALE)).chain(images)
}

/// What a pod takes of all devices: as it is, and as each dual feasible function sees it.
fn gpu_amounts(gpu: Gpu) -> impl Iterator<Item = f64> {
    let plain = match gpu {
        Gpu::None => 0,
        Gpu::Share(milli) => milli,
        Gpu::Whole(devices) => devices * GPU_MILLI,
    };
    let image = move |k: u64| match gpu {
        Gpu::Share(milli) if !((k + 1) * milli).is_multiple_of(GPU_MILLI) => {
            (k + 1) * milli / GPU_MILLI * GPU_MILLI * SCALE / k
        }
        _ => plain * SCALE,
    };
    std::iter::once(float(plain * SCALE)).chain(DUAL_FEASIBLE.map(move |k| float(image(k))))
}

#[expect(clippy::cast_precision_loss, reason = "amounts are below 2^53")]
pub(in crate::core) fn float(amount: u64) -> f64 {
    amount as f64
}

/// A machine that is being filled: what is left, with every rule that its pods must keep.
///
/// Pods come and go as items: rows with how many pods of each, and what all of them take.
#[derive(Debug, Clone)]
pub(super) struct Load<'j> {
    job: &'j Job,
    numbers: &'j Numbers,
    pub(super) free: Vec<f64>,
    /// Thousandths free of each device, where shares are in play and no item is a device's content.
    devices: Option<Vec<u64>>,
    /// By row.
    pub(super) taken: Vec<u64>,
    /// The rows of which some are taken, where rows have foes.
    present: Option<Bits>,
    /// By group.
    in_group: Vec<u64>,
}

impl<'j> Load<'j> {
    pub(super) fn new(job: &'j Job, numbers: &'j Numbers, machine: usize) -> Self {
        let devices = numbers.shares.then(|| job.machines[machine].room.gpus.to_vec());
        Self::of(job, numbers, numbers.have(machine).to_vec(), devices)
    }

    /// One whose items take whole devices, which are an amount like others: the last one.
    pub(super) fn by_device(job: &'j Job, numbers: &'j Numbers, machine: usize) -> Self {
        let mut free = numbers.have(machine)[..numbers.plain].to_vec();
        free.push(float(job.machines[machine].room.gpus.len() as u64));
        Self::of(job, numbers, free, None)
    }

    fn of(job: &'j Job, numbers: &'j Numbers, free: Vec<f64>, devices: Option<Vec<u64>>) -> Self {
        let (taken, in_group) = (vec![0; job.rows.len()], vec![0; job.groups.len()]);
        let present = (!job.foes.is_empty()).then(|| Bits::new(job.rows.len()));
        Self { job, numbers, free, devices, taken, present, in_group }
    }

    /// How many more pods of a row the machine takes, at most `most`.
    pub(super) fn count(&self, row: usize, most: u64) -> u64 {
        let mut n = self.room(self.numbers.need(row), most);
        if n == 0 {
            return 0;
        }
        n = n.min(self.job.rows[row].cap.saturating_sub(self.taken[row]));
        for group in &self.numbers.groups_of[row] {
            n = n.min(self.job.groups[*group].cap.saturating_sub(self.in_group[*group]));
        }
        if n == 0 || self.meets_foe(row) {
            return 0;
        }
        n.min(self.device_count(self.job.rows[row].demand.gpu))
    }

    /// Puts `n` more pods on the machine, which must take them.
    pub(super) fn add(&mut self, row: usize, n: u64) {
        let numbers = self.numbers;
        self.add_item(&[(row, 1)], numbers.need(row), n);
    }

    /// How many times more the machine takes an item, at most `most`.
    pub(super) fn count_item(&self, item: &[(usize, u64)], need: &[f64], most: u64) -> u64 {
        let reach = self.reach(item, need, most);
        let gpu = |row: &usize| self.job.rows[*row].demand.gpu;
        item.iter().map(|(row, _)| self.device_count(gpu(row))).fold(reach, u64::min)
    }

    /// The same without a look at single devices, whose pods might be put otherwise.
    pub(super) fn reach(&self, item: &[(usize, u64)], need: &[f64], most: u64) -> u64 {
        let mut n = self.room(need, most);
        if n == 0 {
            return 0;
        }
        for (row, each) in item {
            n = n.min(self.job.rows[*row].cap.saturating_sub(self.taken[*row]) / each);
            for group in &self.numbers.groups_of[*row] {
                let here = item.iter().filter(|(r, _)| self.numbers.groups_of[*r].contains(group));
                let each: u64 = here.map(|(_, each)| each).sum();
                let free = self.job.groups[*group].cap.saturating_sub(self.in_group[*group]);
                n = n.min(free / each);
            }
        }
        if n == 0 || item.iter().any(|(row, _)| self.has_foe(*row, item)) { 0 } else { n }
    }

    /// How many times more there is room for so much, at most `most`.
    fn room(&self, need: &[f64], most: u64) -> u64 {
        let mut n = most;
        for (free, need) in self.free.iter().zip(need) {
            if need * float(n) > *free {
                if need > free {
                    return 0;
                }
                n = whole(free / need);
            }
        }
        n
    }

    /// Whether a row's pods don't go with what is on the machine or with the rest of an item.
    fn has_foe(&self, row: usize, item: &[(usize, u64)]) -> bool {
        let apart = |foes: &Bits| item.iter().any(|(other, _)| foes.has(*other));
        self.meets_foe(row) || self.job.foes.get(row).is_some_and(apart)
    }

    /// Whether a row's pods don't go with what is on the machine.
    fn meets_foe(&self, row: usize) -> bool {
        self.present.as_ref().is_some_and(|present| self.job.foes[row].meets(present))
    }

    fn device_count(&self, gpu: Gpu) -> u64 {
        let Some(devices) = &self.devices else { return u64::MAX };
        match gpu {
            Gpu::Share(milli) => devices.iter().map(|free| free / milli).sum(),
            Gpu::Whole(each) => {
                devices.iter().filter(|free| **free == GPU_MILLI).count() as u64 / each
            }
            Gpu::None => u64::MAX,
        }
    }

    /// Puts an item on the machine `n` times, which must take it.
    pub(super) fn add_item(&mut self, item: &[(usize, u64)], need: &[f64], n: u64) {
        self.change(need, -float(n));
        for (row, each) in item {
            self.taken[*row] += n * each;
            self.numbers.groups_of[*row].iter().for_each(|g| self.in_group[*g] += n * each);
            if let Some(present) = self.present.as_mut().filter(|_| n * each > 0) {
                present.insert(*row);
            }
        }
        self.take_only_devices(item, n);
    }

    /// The devices of an item, `n` times, whose amounts are taken already.
    pub(super) fn take_only_devices(&mut self, item: &[(usize, u64)], n: u64) {
        let Some(devices) = &mut self.devices else { return };
        for (row, each) in item {
            (0..n * each).for_each(|_| take_devices(devices, self.job.rows[*row].demand.gpu));
        }
    }

    /// Takes an item off again, `n` times. With shares of devices the caller keeps a copy instead.
    pub(super) fn remove_item(&mut self, item: &[(usize, u64)], need: &[f64], n: u64) {
        self.change(need, float(n));
        for (row, each) in item {
            self.taken[*row] -= n * each;
            self.numbers.groups_of[*row].iter().for_each(|g| self.in_group[*g] -= n * each);
            if let Some(present) = self.present.as_mut().filter(|_| self.taken[*row] == 0) {
                present.remove(*row);
            }
        }
    }

    fn change(&mut self, need: &[f64], n: f64) {
        self.free.iter_mut().zip(need).for_each(|(free, need)| *free += need * n);
    }

    pub(super) fn devices(&self) -> Option<Vec<u64>> {
        self.devices.clone()
    }

    pub(super) fn restore_devices(&mut self, devices: Vec<u64>) {
        self.devices = Some(devices);
    }

    pub(super) fn pattern(&self) -> Pattern {
        let taken = self.taken.iter().enumerate().filter(|(_, n)| **n > 0);
        taken.map(|(row, n)| (row, *n)).collect()
    }
}

/// A share goes to the fullest device that has room, so that whole ones stay whole.
fn take_devices(devices: &mut [u64], gpu: Gpu) {
    match gpu {
        Gpu::Share(milli) => {
            let with_room = devices.iter_mut().filter(|free| **free >= milli);
            if let Some(free) = with_room.min() {
                *free -= milli;
            }
        }
        Gpu::Whole(each) => {
            let whole = devices.iter_mut().filter(|free| **free == GPU_MILLI);
            whole.take(usize::try_from(each).unwrap_or(usize::MAX)).for_each(|free| *free = 0);
        }
        Gpu::None => {}
    }
}

/// Takes the pods of a pattern off what is left, so many times.
pub(super) fn take(left: &mut [u64], pattern: &[(usize, u64)], copies: u64) {
    for (row, n) in pattern {
        left[*row] -= n * copies;
    }
}

/// The integer part of a quotient that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is what is meant"
)]
pub(in crate::core) fn whole(quotient: f64) -> u64 {
    quotient as u64
}

impl Job {
    /// As much of a pattern as the rules of the job let go on a machine.
    pub(super) fn allowed(&self, numbers: &Numbers, machine: usize, pattern: &Pattern) -> Pattern {
        let mut load = Load::new(self, numbers, machine);
        for (row, n) in pattern {
            let n = load.count(*row, *n);
            if n > 0 {
                load.add(*row, n);
            }
        }
        load.pattern()
    }

    /// Whether pods of a row can be had for nothing.
    pub(in crate::core) fn is_free(&self, row: usize) -> bool {
        self.machines.iter().any(|machine| machine.price == 0 && machine.rows.has(row))
    }

    pub(super) fn cost(&self, batches: &[Batch]) -> u64 {
        let costs = batches.iter().map(|b| self.machines[b.machine].price.saturating_mul(b.copies));
        costs.fold(0, u64::saturating_add)
    }

    /// Whether machines draw no more than there is.
    pub(super) fn affords(&self, batches: &[Batch]) -> bool {
        let mut left = self.budgets.clone();
        batches.iter().all(|batch| {
            self.machines[batch.machine].draws.iter().all(|(budget, each)| {
                let after = left[*budget].checked_sub(each.saturating_mul(batch.copies));
                left[*budget] = after.unwrap_or(0);
                after.is_some()
            })
        })
    }

    /// The cheapest machine below a price that carries a pattern, the first of those that cost
    /// the same.
    pub(super) fn cheapest(
        &self,
        numbers: &Numbers,
        pattern: &[(usize, u64)],
        below: (u64, usize),
    ) -> Option<usize> {
        let mut used = vec![0.0; numbers.dims];
        for (row, n) in pattern {
            let needs = numbers.need(*row);
            used.iter_mut().zip(needs).for_each(|(used, need)| *used += need * float(*n));
        }
        let mut best = below;
        for (at, machine) in self.machines.iter().enumerate() {
            let holds = (machine.price, at) < best
                && numbers.have(at).iter().zip(&used).all(|(have, used)| used <= have)
                && pattern.iter().all(|(row, _)| machine.rows.has(*row))
                && (!numbers.shares || self.devices_hold(at, pattern));
            if holds {
                best = (machine.price, at);
            }
        }
        (best < below).then_some(best.1)
    }

    fn devices_hold(&self, machine: usize, pattern: &[(usize, u64)]) -> bool {
        let of = |(row, n): &(usize, u64)| {
            let copies = usize::try_from(*n).unwrap_or(usize::MAX);
            std::iter::repeat_n(self.rows[*row].demand.gpu, copies)
        };
        let with = pattern.iter().filter(|(row, _)| self.rows[*row].demand.gpu != Gpu::None);
        let gpus: Vec<Gpu> = with.flat_map(of).collect();
        assign(&self.machines[machine].room.gpus, &gpus).is_some()
    }
}

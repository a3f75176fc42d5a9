//! What a shape of pod needs and what a node has left, as vectors that are quick to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{GPU_MILLI, Input, Pod, Resources};

/// CPU, memory, pods and ephemeral storage; extended resources follow, and then volumes by driver.
const FIXED: usize = 4;

/// Where a driver has no limit: far above what fits on any machine, and still summed up exactly.
const NO_LIMIT: u64 = 1 << 40;

/// The resources that a problem knows, GPUs apart: they are devices, not an amount.
#[derive(Debug)]
pub(super) struct Dims {
    extended: Vec<Arc<str>>,
    /// Storage drivers of which the number of volumes is limited somewhere.
    drivers: Vec<Arc<str>>,
}

impl Dims {
    /// The dimensions that some request uses: what nobody asks for needn't be compared.
    pub(super) fn of(input: &Input) -> Self {
        Self::of_pods(input, || input.pods.iter())
    }

    /// The same for requests of these pods.
    pub(super) fn of_pods<'p, I: Iterator<Item = &'p Pod>>(
        input: &Input,
        pods: impl Fn() -> I,
    ) -> Self {
        let extended: BTreeSet<&Arc<str>> =
            pods().flat_map(|pod| pod.requests.extended.keys()).collect();
        let nodes = input.nodes.iter().flat_map(|node| node.volume_limits.keys());
        let types = input.instance_types.iter().flat_map(|it| it.volume_limits.keys());
        let limited: BTreeSet<&Arc<str>> = nodes.chain(types).collect();
        let used = pods().flat_map(|pod| &pod.volumes).map(|volume| &volume.driver);
        let drivers: BTreeSet<&Arc<str>> = used.filter(|driver| limited.contains(driver)).collect();
        let owned = |names: BTreeSet<&Arc<str>>| names.into_iter().cloned().collect();
        Self { extended: owned(extended), drivers: owned(drivers) }
    }

    /// Adds what these pods ask for. Returns whether there was anything new.
    pub(super) fn extend<'p>(&mut self, pods: impl Iterator<Item = &'p Pod>) -> bool {
        let before = self.len();
        for pod in pods {
            let drivers = pod.volumes.iter().map(|volume| &volume.driver);
            pod.requests.extended.keys().for_each(|name| add(&mut self.extended, name));
            drivers.for_each(|driver| add(&mut self.drivers, driver));
        }
        self.len() > before
    }

    pub(super) fn len(&self) -> usize {
        FIXED + self.extended.len() + self.drivers.len()
    }

    /// The name of a dimension, for people.
    pub(super) fn name(&self, dim: usize) -> String {
        let fixed = ["cpu_milli", "memory_bytes", "pods", "ephemeral_bytes"];
        let drivers = self.drivers.iter().map(|driver| format!("volumes of {driver}"));
        let named = fixed.into_iter().map(str::to_owned);
        let extended = self.extended.iter().map(ToString::to_string);
        named.chain(extended).chain(drivers).nth(dim).unwrap_or_default()
    }

    pub(super) fn amounts(&self, r: &Resources) -> Box<[u64]> {
        let extended = self.extended.iter().map(|name| r.extended.get(name).copied().unwrap_or(0));
        [r.cpu_milli, r.memory_bytes, r.pods, r.ephemeral_bytes]
            .into_iter()
            .chain(extended)
            .chain(self.drivers.iter().map(|_| 0))
            .collect()
    }

    /// Whether the number of volumes is limited of any driver that pods use.
    pub(super) fn has_volumes(&self) -> bool {
        !self.drivers.is_empty()
    }

    /// The same pod without its volumes.
    pub(super) fn without_volumes(&self, demand: &Demand) -> Demand {
        let mut demand = demand.clone();
        demand.amounts[FIXED + self.extended.len()..].fill(0);
        demand
    }

    /// Takes what a pod needs of volumes.
    pub(super) fn take_volumes(&self, room: &mut Room, demand: &Demand) {
        let volumes = FIXED + self.extended.len()..;
        let free = room.free[volumes.clone()].iter_mut();
        for (free, need) in free.zip(&demand.amounts[volumes]) {
            *free = free.saturating_sub(*need);
        }
    }

    /// How many more volumes of each driver a machine takes: those of the pods that run there
    /// count once each.
    pub(super) fn limit_volumes<'p>(
        &self,
        room: &mut Room,
        limits: &BTreeMap<Arc<str>, u32>,
        running: impl Iterator<Item = &'p Pod>,
    ) {
        if self.drivers.is_empty() {
            return;
        }
        let attached: BTreeSet<(&Arc<str>, &Arc<str>)> =
            running.flat_map(|pod| &pod.volumes).map(|v| (&v.driver, &v.handle)).collect();
        let free = &mut room.free[FIXED + self.extended.len()..];
        for (free, driver) in free.iter_mut().zip(&self.drivers) {
            let used = attached.iter().filter(|(of, _)| *of == driver).count() as u64;
            let limit = limits.get(driver).map(|limit| u64::from(*limit));
            *free = limit.map_or(NO_LIMIT, |limit| limit.saturating_sub(used));
        }
    }
}

/// Adds a name to a sorted list that doesn't have it.
fn add(names: &mut Vec<Arc<str>>, name: &Arc<str>) {
    if let Err(at) = names.binary_search(name) {
        names.insert(at, name.clone());
    }
}

/// GPUs that one pod needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Gpu {
    None,
    /// Thousandths of one device, less than all of it.
    Share(u64),
    /// Whole devices.
    Whole(u64),
}

/// What one pod needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Demand {
    pub(super) amounts: Box<[u64]>,
    pub(super) gpu: Gpu,
}

impl Demand {
    pub(super) fn new(dims: &Dims, pod: &Pod) -> Self {
        let requests = &pod.requests;
        let mut amounts = dims.amounts(requests);
        amounts[2] = 1;
        let volumes = &mut amounts[FIXED + dims.extended.len()..];
        for (amount, driver) in volumes.iter_mut().zip(&dims.drivers) {
            // Pods that share a volume count it twice here, which is safe: a plan stays valid.
            *amount = pod.volumes.iter().filter(|volume| volume.driver == *driver).count() as u64;
        }
        let gpu = match requests.gpu_milli {
            0 => Gpu::None,
            milli if milli < GPU_MILLI => Gpu::Share(milli),
            milli => Gpu::Whole(milli / GPU_MILLI),
        };
        Self { amounts, gpu }
    }

    pub(super) fn cpu_milli(&self) -> u64 {
        self.amounts[0]
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.amounts[1]
    }

    pub(super) fn gpu_milli(&self) -> u64 {
        match self.gpu {
            Gpu::None => 0,
            Gpu::Share(milli) => milli,
            Gpu::Whole(devices) => devices * GPU_MILLI,
        }
    }
}

/// What a node has left.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub(super) free: Box<[u64]>,
    /// Thousandths free of each GPU.
    pub(super) gpus: Box<[u64]>,
}

impl Room {
    /// Nothing at all.
    pub(super) fn none(dims: &Dims) -> Self {
        Self { free: vec![0; dims.len()].into(), gpus: Box::default() }
    }

    /// `allocatable` less `used`, of which `gpu_used` says where on the devices.
    pub(super) fn new(
        dims: &Dims,
        allocatable: &Resources,
        used: &Resources,
        gpu_used: &[u64],
    ) -> Self {
        let used = dims.amounts(used);
        let free = dims
            .amounts(allocatable)
            .iter()
            .zip(&used)
            .map(|(all, used)| all.saturating_sub(*used))
            .collect();
        let devices = usize::try_from(allocatable.gpu_milli / GPU_MILLI).unwrap_or(0);
        let of =
            |device: usize| GPU_MILLI.saturating_sub(gpu_used.get(device).copied().unwrap_or(0));
        Self { free, gpus: (0..devices).map(of).collect() }
    }

    pub(super) fn fits(&self, demand: &Demand) -> bool {
        self.free.iter().zip(&demand.amounts).all(|(free, need)| need <= free)
            && self.gpu_count(demand) > 0
    }

    /// How many such pods fit together.
    pub(super) fn count(&self, demand: &Demand) -> u64 {
        let per_dim =
            self.free.iter().zip(&demand.amounts).map(|(free, need)| free.checked_div(*need));
        per_dim.flatten().min().unwrap_or(u64::MAX).min(self.gpu_count(demand))
    }

    fn gpu_count(&self, demand: &Demand) -> u64 {
        match demand.gpu {
            Gpu::None => u64::MAX,
            Gpu::Share(milli) => self.gpus.iter().map(|free| free / milli).sum(),
            Gpu::Whole(devices) => {
                self.gpus.iter().filter(|free| **free == GPU_MILLI).count() as u64 / devices
            }
        }
    }

    /// Takes `n` pods, which must fit, and hands over each one's devices.
    pub(super) fn take(&mut self, demand: &Demand, n: u64, mut each: impl FnMut(Vec<u32>)) {
        self.take_amounts(demand, n);
        for _ in 0..n {
            each(self.take_gpus(demand.gpu));
        }
    }

    /// Takes one pod, which must fit, with these devices.
    pub(super) fn take_on(&mut self, demand: &Demand, devices: &[usize]) {
        self.take_amounts(demand, 1);
        self.take_devices(demand, devices);
    }

    /// Takes these devices for one pod.
    pub(super) fn take_devices(&mut self, demand: &Demand, devices: &[usize]) {
        let each = demand.gpu_milli().min(GPU_MILLI);
        for device in devices {
            if let Some(free) = self.gpus.get_mut(*device) {
                *free = free.saturating_sub(each);
            }
        }
    }

    fn take_amounts(&mut self, demand: &Demand, n: u64) {
        for (free, need) in self.free.iter_mut().zip(&demand.amounts) {
            *free = free.saturating_sub(need.saturating_mul(n));
        }
    }

    /// A share goes to the fullest device that has room, so that whole ones stay whole.
    fn take_gpus(&mut self, gpu: Gpu) -> Vec<u32> {
        let index = |device: usize| u32::try_from(device).unwrap_or(u32::MAX);
        match gpu {
            Gpu::None => Vec::new(),
            Gpu::Share(milli) => {
                let devices = self.gpus.iter_mut().enumerate().filter(|(_, free)| **free >= milli);
                let fullest = devices.min_by_key(|(device, free)| (**free, *device));
                fullest
                    .map(|(device, free)| (*free -= milli, index(device)).1)
                    .into_iter()
                    .collect()
            }
            Gpu::Whole(devices) => {
                let whole =
                    self.gpus.iter_mut().enumerate().filter(|(_, free)| **free == GPU_MILLI);
                let taken = whole.take(usize::try_from(devices).unwrap_or(usize::MAX));
                taken.map(|(device, free)| (*free = 0, index(device)).1).collect()
            }
        }
    }

    /// Gives back what one pod took.
    pub(super) fn release(&mut self, demand: &Demand, gpus: &[u32]) {
        for (free, need) in self.free.iter_mut().zip(&demand.amounts) {
            *free += need;
        }
        self.release_gpus(demand, gpus);
    }

    /// Gives back the devices of one pod.
    pub(super) fn release_gpus(&mut self, demand: &Demand, gpus: &[u32]) {
        let each = demand.gpu_milli().min(GPU_MILLI);
        for gpu in gpus {
            if let Some(free) = self.gpus.get_mut(*gpu as usize) {
                *free += each;
            }
        }
    }

    pub(super) fn gpu_free(&self) -> u64 {
        self.gpus.iter().sum()
    }

    /// Whether everything of `other` is here too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.gpus.len() >= other.gpus.len()
            && self.free.iter().zip(&other.free).all(|(mine, theirs)| mine >= theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_with_taking_one_by_one() {
        let dims = Dims::of(&Input::default());
        let node = Resources::new(10_000, 100).with_pods(20).with_gpu_milli(3_000);
        for milli in [0, 1, 333, 460, 500, 501, 999, 1_000, 2_000, 3_000, 4_000] {
            let pod = Pod::new("p", Resources::new(300, 7).with_gpu_milli(milli));
            let demand = Demand::new(&dims, &pod);
            let mut room = Room::new(&dims, &node, &Resources::default(), &[0, 460]);
            let count = room.count(&demand);
            let mut taken = 0;
            while room.fits(&demand) {
                room.take(&demand, 1, |gpus| assert_eq!(gpus.is_empty(), milli == 0));
                taken += 1;
            }
            assert_eq!(count, taken, "of {milli} thousandths");
        }
    }
}

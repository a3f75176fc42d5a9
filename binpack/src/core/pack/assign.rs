//! Which devices pods get that go on a machine together.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::core::room::Gpu;
use crate::model::GPU_MILLI;

/// Steps after which it counts as impossible.
const STEPS: u32 = 10_000;

/// Devices for every pod, by pod, where `free` are the thousandths free of each device. `None` if
/// the pods don't fit, or if no way was found in many steps.
///
/// Large pods go first, each to the fullest device that has room; where that leads nowhere, other
/// devices are tried.
pub(in crate::core) fn assign(free: &[u64], pods: &[Gpu]) -> Option<Vec<Vec<usize>>> {
    let all_free = free.iter().all(|free| *free == GPU_MILLI);
    if let Some(devices) = all_free.then(|| complete(free.len(), pods)).flatten() {
        return Some(devices);
    }
    let mut order: Vec<usize> = (0..pods.len()).collect();
    order.sort_by_key(|pod| Reverse(size(pods[*pod])));
    let devices = vec![Vec::new(); pods.len()];
    let mut search = Search { pods, order, free: free.to_vec(), devices, steps: STEPS };
    search.place(0).then_some(search.devices)
}

/// Whole devices before shares, more of them first.
fn size(gpu: Gpu) -> u64 {
    match gpu {
        Gpu::None => 0,
        Gpu::Share(milli) => milli,
        Gpu::Whole(devices) => devices.saturating_mul(GPU_MILLI),
    }
}

/// Contents of one device that are tried at most.
const CONTENTS: usize = 200;

/// The same where all devices are free: whole devices come first, and then one device after the
/// other gets the largest share that is left, with what fills it best (bin completion; Korf 2002).
fn complete(devices: usize, pods: &[Gpu]) -> Option<Vec<Vec<usize>>> {
    let mut found = vec![Vec::new(); pods.len()];
    let mut next = 0;
    let mut shares: BTreeMap<Reverse<u64>, Vec<usize>> = BTreeMap::new();
    for (pod, gpu) in pods.iter().enumerate() {
        match *gpu {
            Gpu::None => {}
            Gpu::Share(milli) => shares.entry(Reverse(milli)).or_default().push(pod),
            Gpu::Whole(whole) => {
                let end = next + usize::try_from(whole).ok()?;
                found[pod] = (next..end).collect();
                next = end;
            }
        }
    }
    let sizes: Vec<u64> = shares.keys().map(|Reverse(milli)| *milli).collect();
    let left = shares.values().map(Vec::len).collect();
    let mut completion = Completion { sizes, left, filled: Vec::new(), steps: STEPS };
    if next > devices || !completion.fill(devices - next) {
        return None;
    }
    let mut shares: Vec<Vec<usize>> = shares.into_values().collect();
    for (device, content) in completion.filled.iter().enumerate() {
        for (pods, n) in shares.iter_mut().zip(content) {
            for pod in pods.drain(..*n) {
                found[pod] = vec![next + device];
            }
        }
    }
    Some(found)
}

struct Completion {
    /// The different shares, the largest first.
    sizes: Vec<u64>,
    /// How many of each have no device.
    left: Vec<usize>,
    /// By device: how many of each it has.
    filled: Vec<Vec<usize>>,
    steps: u32,
}

impl Completion {
    fn fill(&mut self, devices: usize) -> bool {
        let Some(first) = self.left.iter().position(|n| *n > 0) else { return true };
        let needed: u64 = self.sizes.iter().zip(&self.left).map(|(size, n)| size * *n as u64).sum();
        if self.steps == 0 || needed > GPU_MILLI * devices as u64 {
            return false;
        }
        self.steps -= 1;
        let mut contents = Vec::new();
        let mut content = vec![0; self.sizes.len()];
        content[first] = 1;
        self.contents(first, GPU_MILLI - self.sizes[first], &mut content, &mut contents);
        contents.sort_by_key(|(free, _)| *free);
        for (_, content) in contents {
            self.left.iter_mut().zip(&content).for_each(|(left, n)| *left -= n);
            self.filled.push(content);
            if self.fill(devices - 1) {
                return true;
            }
            let content = self.filled.pop().unwrap_or_default();
            self.left.iter_mut().zip(&content).for_each(|(left, n)| *left += n);
        }
        false
    }

    /// All contents that nothing can be added to, with what they leave free.
    fn contents(
        &self,
        from: usize,
        free: u64,
        content: &mut Vec<usize>,
        found: &mut Vec<(u64, Vec<usize>)>,
    ) {
        let more = |at: &usize| content[*at] < self.left[*at] && self.sizes[*at] <= free;
        let next: Vec<usize> = (from..self.sizes.len()).filter(more).collect();
        if next.is_empty() && found.len() < CONTENTS {
            found.push((free, content.clone()));
        }
        for at in next {
            if found.len() == CONTENTS {
                return;
            }
            content[at] += 1;
            self.contents(at, free - self.sizes[at], content, found);
            content[at] -= 1;
        }
    }
}

struct Search<'p> {
    pods: &'p [Gpu],
    order: Vec<usize>,
    free: Vec<u64>,
    devices: Vec<Vec<usize>>,
    steps: u32,
}

impl Search<'_> {
    /// Whether the pods from a place in the order on have devices now.
    fn place(&mut self, at: usize) -> bool {
        let Some(pod) = self.order.get(at).copied() else { return true };
        match self.pods[pod] {
            Gpu::None => self.place(at + 1),
            Gpu::Whole(devices) => self.place_whole(at, pod, devices),
            Gpu::Share(milli) => self.place_share(at, pod, milli),
        }
    }

    /// Free devices are all alike.
    fn place_whole(&mut self, at: usize, pod: usize, devices: u64) -> bool {
        let whole = (0..self.free.len()).filter(|device| self.free[*device] == GPU_MILLI);
        let taken: Vec<usize> =
            whole.take(usize::try_from(devices).unwrap_or(usize::MAX)).collect();
        if (taken.len() as u64) < devices {
            return false;
        }
        for device in &taken {
            self.free[*device] = 0;
        }
        self.devices[pod] = taken;
        self.place(at + 1)
    }

    fn place_share(&mut self, at: usize, pod: usize, milli: u64) -> bool {
        let with_room = (0..self.free.len()).filter(|device| self.free[*device] >= milli);
        let mut fullest: Vec<(u64, usize)> = with_room.map(|d| (self.free[d], d)).collect();
        fullest.sort_unstable();
        fullest.dedup_by_key(|(free, _)| *free);
        for (_, device) in fullest {
            if self.steps == 0 {
                return false;
            }
            self.steps -= 1;
            self.free[device] -= milli;
            self.devices[pod] = vec![device];
            if self.place(at + 1) {
                return true;
            }
            self.free[device] += milli;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{devices_carry, gpu};
    use super::*;

    proptest! {
        #[test]
        fn devices_are_found_if_there_are_any(
            free in prop::collection::vec(prop_oneof![Just(1_000u64), (0..10u64).prop_map(|f| f * 100)], 0..5),
            pods in prop::collection::vec(gpu(), 0..8),
        ) {
            let Some(devices) = assign(&free, &pods) else {
                prop_assert!(!devices_carry(&mut free.clone(), &pods));
                return Ok(());
            };
            let mut left = free;
            for (pod, devices) in pods.iter().zip(&devices) {
                let each = match *pod {
                    Gpu::None => 0,
                    Gpu::Share(milli) => milli,
                    Gpu::Whole(_) => GPU_MILLI,
                };
                let n = match *pod {
                    Gpu::None => 0,
                    Gpu::Share(_) => 1,
                    Gpu::Whole(n) => n,
                };
                prop_assert_eq!(devices.len() as u64, n);
                for device in devices {
                    prop_assert!(left[*device] >= each, "{pods:?} on {device}");
                    left[*device] -= each;
                }
            }
        }
    }
}

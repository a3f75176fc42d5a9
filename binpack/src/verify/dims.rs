//! What a pod needs and a machine has, as linear dimensions.

use std::collections::BTreeSet;

use crate::model::{GPU_MILLI, Resources};

/// Which of Fekete and Schepers' dual feasible functions u^(k) are used.
const STEPS: [u64; 3] = [1, 2, 3];

/// CPU, memory, pods and ephemeral storage come first.
const FIXED: usize = 4;

/// The dimensions that some pod of value needs.
///
/// Pods may share a machine only if their needs are within its room in every dimension. GPUs give
/// one dimension of thousandths and one for each u^(k): if shares fit on devices, then so does
/// u^(k) of them, and that tells what the plain sum doesn't, such as that of two shares of 0.6 each
/// wants a device of its own. It doesn't tell all: `by_device.rs` does where that matters.
#[derive(Debug)]
pub(super) struct Dims<'a> {
    extended: Vec<&'a str>,
    gpus: bool,
}

impl<'a> Dims<'a> {
    /// Those that these requests need.
    pub(super) fn of(requests: impl Iterator<Item = &'a Resources>) -> Self {
        let (mut extended, mut gpus) = (BTreeSet::new(), false);
        for one in requests {
            extended.extend(one.extended.keys().map(|name| &**name));
            gpus |= one.gpu_milli > 0;
        }
        Self { extended: extended.into_iter().collect(), gpus }
    }

    /// What one pod needs.
    pub(super) fn need(&self, requests: &Resources) -> Vec<u64> {
        let milli = requests.gpu_milli;
        let mut need = self.plain(requests);
        need[2] = 1;
        if self.gpus {
            let (whole, share) = (milli / GPU_MILLI, milli % GPU_MILLI);
            need.push(milli);
            need.extend(STEPS.map(|k| whole * whole_device(k) + dual_feasible(k, share)));
        }
        need
    }

    /// What a machine has: `free` in all, of which `devices` are thousandths of each GPU.
    pub(super) fn room(&self, free: &Resources, devices: &[u64]) -> Vec<u64> {
        let mut room = self.plain(free);
        if self.gpus {
            room.push(free.gpu_milli);
            let step = |k| devices.iter().map(|milli| dual_feasible(k, *milli)).sum::<u64>();
            room.extend(STEPS.map(step));
        }
        room
    }

    /// A need without its GPUs, and the thousandths of them.
    pub(super) fn without_gpus(&self, need: &[u64]) -> (Vec<u64>, u64) {
        if !self.gpus {
            return (need.to_vec(), 0);
        }
        let (plain, rest) = need.split_at(need.len().min(FIXED + self.extended.len()));
        let others = plain.iter().chain(rest.iter().skip(1 + STEPS.len()));
        (others.copied().collect(), rest.first().copied().unwrap_or_default())
    }

    fn plain(&self, of: &Resources) -> Vec<u64> {
        let extended = self.extended.iter().map(|name| of.extended.get(*name).copied());
        [of.cpu_milli, of.memory_bytes, of.pods, of.ephemeral_bytes]
            .into_iter()
            .chain(extended.map(Option::unwrap_or_default))
            .collect()
    }
}

/// u^(k) of a whole device, in the units of [`dual_feasible`].
fn whole_device(k: u64) -> u64 {
    k * (k + 1)
}

/// u^(k) of a share of at most one device, exactly: in units of 1/(k(k+1)).
///
/// u(x) is x where (k+1)x is an integer, else floor((k+1)x)/k. It is superadditive, so what fits on
/// a device of which c is free has at most u(c) together. Source: Fekete and Schepers, "New classes
/// of fast lower bounds for bin packing problems", Mathematical Programming 91 (2001).
fn dual_feasible(k: u64, milli: u64) -> u64 {
    let steps = (k + 1) * milli / GPU_MILLI;
    if ((k + 1) * milli).is_multiple_of(GPU_MILLI) { steps * k } else { steps * (k + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_fit_on_a_device_fit_in_every_step() {
        for k in STEPS {
            assert_eq!(dual_feasible(k, GPU_MILLI), whole_device(k));
            for sum in 0..=GPU_MILLI {
                for part in 0..=sum {
                    let parts = dual_feasible(k, part) + dual_feasible(k, sum - part);
                    assert!(
                        parts <= dual_feasible(k, sum),
                        "u^({k}) of {part} and the rest of {sum}"
                    );
                }
            }
        }
    }

    #[test]
    fn steps_tell_how_many_shares_a_device_takes() {
        let most = |k, share| whole_device(k) / dual_feasible(k, share).max(1);
        assert_eq!((most(1, 810), most(1, 501), most(1, 500)), (1, 1, 2));
        assert_eq!((most(2, 470), most(2, 334)), (2, 2));
        assert_eq!((most(3, 320), most(3, 251), most(3, 250)), (3, 3, 4));
    }

    #[test]
    fn a_pod_needs_one_of_pods_and_only_what_is_in_use_counts() {
        let requests = Resources::new(5, 6).with_extended("x", 7);
        let dims = Dims::of([&requests].into_iter());
        assert_eq!(dims.need(&requests.clone().with_pods(1)), [5, 6, 1, 0, 7]);
        let free = Resources::new(8, 9).with_pods(3).with_extended("y", 1).with_gpu_milli(1_000);
        assert_eq!(dims.room(&free, &[1_000]), [8, 9, 3, 0, 0]);
        let two = requests.with_gpu_milli(2_000);
        let dims = Dims::of([&two].into_iter());
        assert_eq!(dims.need(&two)[5..], [2_000, 4, 12, 24]);
        assert_eq!(dims.room(&free, &[1_000])[5..], [1_000, 2, 6, 12]);
    }
}

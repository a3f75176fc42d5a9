//! All fillings of what is left of a machine, where they are few.

use super::filler::{Filler, State};
use super::job::{Pattern, float, whole};

/// Steps after which it is given up: about what solving a relaxation takes.
const STEPS: u32 = 300;

/// What going through fillings came to.
pub(super) struct Outcome {
    /// The most valuable one above what was sought, and its value beyond what was taken before.
    pub(super) best: Option<(Pattern, f64)>,
    /// Whether there is none better.
    pub(super) complete: bool,
}

/// A depth-first walk over the candidates that may be in a filling that is sought.
pub(super) struct Enumeration<'s, 'f, 'j> {
    filler: &'f Filler<'j>,
    state: &'s mut State<'j>,
    prices: &'s [f64],
    /// The candidates, those that gain most for their value first.
    order: Vec<usize>,
    /// By place in the order: what a pod is worth beyond the resources that it takes.
    gain: Vec<f64>,
    /// By place in the order: what the candidates from there on may gain.
    rest: Vec<f64>,
    /// The value to exceed, beyond what was taken before.
    sought: f64,
    best: Option<(Pattern, f64)>,
    steps: u32,
    /// Whether devices refused what the amounts would have let in.
    refused: bool,
}

impl<'s, 'f, 'j> Enumeration<'s, 'f, 'j> {
    /// `prices` of resources prove that no filling is worth more than `bound`.
    pub(super) fn new(
        filler: &'f Filler<'j>,
        state: &'s mut State<'j>,
        prices: &'s [f64],
        bound: f64,
        sought: f64,
    ) -> Self {
        // A pod that costs more than what lies between the bound and what is sought is in no
        // filling that is sought.
        let spare = bound - sought;
        let of = |i: usize| filler.gain(i, prices);
        let mut order: Vec<(f64, usize)> = (0..filler.len())
            .filter(|i| state.most[*i] > 0.0)
            .map(|i| (of(i), i))
            .filter(|(gain, _)| *gain > -spare)
            .map(|(gain, i)| (gain / filler.value[i], i))
            .collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let order: Vec<usize> = order.into_iter().map(|(_, i)| i).collect();
        let gain: Vec<f64> = order.iter().map(|i| of(*i)).collect();
        let mut rest = vec![0.0; order.len() + 1];
        for at in (0..order.len()).rev() {
            rest[at] = rest[at + 1] + state.most[order[at]] * gain[at].max(0.0);
        }
        let sought = sought - state.value;
        let refused = !state.taken;
        Self { filler, prices, order, gain, rest, sought, best: None, steps: STEPS, refused, state }
    }

    pub(super) fn run(mut self) -> Outcome {
        self.visit(0, 0.0);
        Outcome { complete: self.steps > 0 && !self.refused, best: self.best }
    }

    fn visit(&mut self, at: usize, value: f64) {
        if self.steps == 0 {
            return;
        }
        self.steps -= 1;
        if value > self.sought {
            self.best = Some((self.state.load.pattern(), value));
            self.sought = value;
        }
        let room: f64 = self.state.free.iter().zip(self.prices).map(|(f, p)| f * p).sum();
        for next in at..self.order.len() {
            if value + room + self.rest[next] <= self.sought {
                return;
            }
            if value + room + self.rest[next] + self.gain[next].min(0.0) > self.sought
                && self.filler.reach(&self.state.load, self.order[next], 1) > 0
            {
                self.branch(next, value, room);
                return;
            }
        }
    }

    /// Tries every number of pods of a candidate, the most first.
    fn branch(&mut self, at: usize, value: f64, room: f64) {
        let candidate = self.order[at];
        let reach = whole(self.state.most[candidate]);
        let reach = self.filler.reach(&self.state.load, candidate, reach);
        let most = self.filler.count(&self.state.load, candidate, reach);
        self.refused |= most < reach;
        let devices = self.state.load.devices();
        self.put(candidate, most);
        for n in (0..=most).rev() {
            // Fewer pods of a candidate that gains reach less, more of one that loses too.
            if value + room + self.gain[at] * float(n) + self.rest[at + 1] > self.sought {
                self.visit(at + 1, value + self.filler.value[candidate] * float(n));
            } else if self.gain[at] >= 0.0 {
                self.take_off(candidate, n, devices.as_ref(), 0);
                return;
            }
            if n > 0 {
                self.take_off(candidate, 1, devices.as_ref(), n - 1);
            }
        }
    }

    fn put(&mut self, candidate: usize, n: u64) {
        let (item, need) = (self.filler.item(candidate), self.filler.need(candidate));
        self.state.load.add_item(item, need, n);
        self.change(candidate, -float(n));
    }

    /// Takes a candidate off `n` times, so that `kept` of those that were put last are left.
    fn take_off(&mut self, candidate: usize, n: u64, devices: Option<&Vec<u64>>, kept: u64) {
        let (item, need) = (self.filler.item(candidate), self.filler.need(candidate));
        self.state.load.remove_item(item, need, n);
        self.change(candidate, float(n));
        if let Some(devices) = devices {
            self.state.load.restore_devices(devices.clone());
            self.state.load.take_only_devices(item, kept);
        }
    }

    fn change(&mut self, candidate: usize, n: f64) {
        let need = self.filler.need(candidate);
        self.state.free.iter_mut().zip(need).for_each(|(free, need)| *free += need * n);
    }
}

//! A hierarchical timer wheel: which leases are due, without looking at those that are not.
//!
//! Time is cut into ticks of [`TICK_MS`]. Level 0 has a slot for each of 64 ticks, level 1 one for
//! each of 64 times 64 ticks, and so on (Varghese and Lauck, "Hashed and Hierarchical Timing
//! Wheels", 1987, scheme 7). An entry lies at the level of the highest group of six bits in which
//! its tick differs from the wheel's, so a slot of an upper level is emptied into lower ones when
//! its first tick comes: an entry moves at most once per level.
//!
//! A slot is a ring of nodes with a head of its own, all in one array: inserting and cancelling
//! touch two neighbours and nothing else. All work is done node by node within a budget, so that a
//! million entries of one tick don't hold up the caller.
//!
//! Invariant: an occupied slot begins at or after `cursor`. At level 1 and above it begins at
//! `cursor` only while it is being emptied.

#![allow(
    clippy::cast_possible_truncation,
    reason = "levels, slots and nodes are counted in 32 bits: the caller has at most 2^30 entries"
)]

use std::num::NonZeroU32;

/// A deadline is rounded up to this many milliseconds. etcd looks for expired leases every 500 ms.
pub(crate) const TICK_MS: u64 = 64;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// Enough for 2^42 ticks, some nine million years.
const LEVELS: usize = 7;
const HEADS: usize = SLOTS * LEVELS;
const LAST_TICK: u64 = (1 << (BITS * LEVELS as u32)) - 1;

/// Above this a wheel that has become empty gives its memory back.
const KEPT_NODES: usize = 1 << 14;

/// Which leases are due at which time. Times are milliseconds of one monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    /// The heads of the slots, level by level, then the entries. Empty until the first entry.
    nodes: Vec<Node>,
    /// One bit for each slot that may have an entry. Cancelling leaves it set.
    occupied: [u64; LEVELS],
    /// Everything that is due before this tick has been popped.
    cursor: u64,
    /// The first of the unused nodes, which are linked by `next`. 0, a head, is the end.
    unused: u32,
    len: usize,
}

/// An entry's place, to cancel it by. It ends with the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(NonZeroU32);

#[derive(Debug, Clone, Copy)]
struct Node {
    id: i64,
    due: u64,
    prev: u32,
    next: u32,
}

struct Slot {
    level: usize,
    index: usize,
    first_tick: u64,
}

impl Wheel {
    /// Adds an entry that is due at `deadline_ms`, rounded up to the next tick.
    ///
    /// The caller has at most 2^30.
    pub(crate) fn insert(&mut self, id: i64, deadline_ms: u64) -> Ticket {
        let due = deadline_ms.div_ceil(TICK_MS).min(LAST_TICK);
        let node = self.take_unused();
        self.nodes[node.get() as usize] = Node { id, due, prev: 0, next: 0 };
        self.link(node.get());
        self.len += 1;
        Ticket(node)
    }

    /// Takes an entry out before it is due.
    pub(crate) fn cancel(&mut self, ticket: Ticket) {
        self.unlink(ticket.0.get());
        self.release(ticket.0.get());
    }

    /// The next entry that is due at `now_ms`. Every entry that is looked at, whether it is
    /// returned or moved to a lower level, and every slot that is found empty takes one from
    /// `budget`; without any left the answer is `None`, and `next_wake_ms` is not after `now_ms`.
    pub(crate) fn pop(&mut self, now_ms: u64, budget: &mut usize) -> Option<i64> {
        let now = (now_ms / TICK_MS).min(LAST_TICK);
        while *budget > 0 {
            let Some(slot) = self.next_slot().filter(|slot| slot.first_tick <= now) else {
                // No slot begins before: the cursor passes none.
                self.cursor = self.cursor.max(now);
                return None;
            };
            *budget -= 1;
            self.cursor = slot.first_tick;
            let node = self.nodes[slot.head()].next;
            if node as usize == slot.head() {
                self.occupied[slot.level] &= !(1 << slot.index);
                continue;
            }
            self.unlink(node);
            if slot.level == 0 {
                let id = self.nodes[node as usize].id;
                self.release(node);
                return Some(id);
            }
            self.link(node);
        }
        None
    }

    /// When to call [`pop`](Self::pop) next; `None` without entries. Nothing is due before, but
    /// something need not be due then.
    pub(crate) fn next_wake_ms(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        self.next_slot().map(|slot| slot.first_tick * TICK_MS)
    }

    /// The first slot that may have an entry. Where two begin at one tick either may come first.
    fn next_slot(&self) -> Option<Slot> {
        let slots = (0..LEVELS).filter_map(|level| {
            let shift = BITS * level as u32;
            let ahead = self.occupied[level] & (u64::MAX << ((self.cursor >> shift) % 64));
            let index = ahead.trailing_zeros() as usize;
            let block = self.cursor >> (shift + BITS) << (shift + BITS);
            let first_tick = block | ((index as u64) << shift);
            (ahead != 0).then_some(Slot { level, index, first_tick })
        });
        slots.min_by_key(|slot| slot.first_tick)
    }

    /// Puts a node where its tick belongs; at the end, so that a slot is first in, first out.
    fn link(&mut self, node: u32) {
        let due = self.nodes[node as usize].due.max(self.cursor);
        let highest = (due ^ self.cursor).checked_ilog2().unwrap_or(0);
        let level = (highest / BITS) as usize;
        let index = ((due >> (BITS * level as u32)) % 64) as usize;
        self.occupied[level] |= 1 << index;
        let head = level * SLOTS + index;
        let last = self.nodes[head].prev;
        self.nodes[node as usize].prev = last;
        self.nodes[node as usize].next = head as u32;
        self.nodes[last as usize].next = node;
        self.nodes[head].prev = node;
    }

    fn unlink(&mut self, node: u32) {
        let Node { prev, next, .. } = self.nodes[node as usize];
        self.nodes[prev as usize].next = next;
        self.nodes[next as usize].prev = prev;
    }

    fn take_unused(&mut self) -> NonZeroU32 {
        if let Some(node) = NonZeroU32::new(self.unused) {
            self.unused = self.nodes[node.get() as usize].next;
            return node;
        }
        if self.nodes.is_empty() {
            self.nodes = (0..HEADS as u32)
                .map(|head| Node { id: 0, due: 0, prev: head, next: head })
                .collect();
        }
        if self.nodes.len() == self.nodes.capacity() {
            // Doubling would leave half of a million entries' memory unused.
            self.nodes.reserve_exact(self.nodes.len() / 4);
        }
        let node = NonZeroU32::MIN.saturating_add(self.nodes.len() as u32 - 1);
        self.nodes.push(Node { id: 0, due: 0, prev: 0, next: 0 });
        node
    }

    fn release(&mut self, node: u32) {
        self.len -= 1;
        if self.len == 0 && self.nodes.len() > KEPT_NODES {
            *self = Self { cursor: self.cursor, ..Self::default() };
            return;
        }
        self.nodes[node as usize].next = self.unused;
        self.unused = node;
    }
}

impl Slot {
    fn head(&self) -> usize {
        self.level * SLOTS + self.index
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pop_all(wheel: &mut Wheel, now_ms: u64) -> Vec<i64> {
        std::iter::from_fn(|| wheel.pop(now_ms, &mut usize::MAX.clone())).collect()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert { in_ms: u64 },
        Cancel(prop::sample::Index),
        Advance { ms: u64, budget: usize },
    }

    fn far() -> impl Strategy<Value = u64> {
        // Every level, the beyond, and many close neighbours.
        prop_oneof![0..200u64, (0..44u32).prop_map(|bits| 1 << bits), 0..1u64 << 44, Just(u64::MAX)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => far().prop_map(|in_ms| Step::Insert { in_ms }),
            1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            3 => (far(), 0..12usize).prop_map(|(ms, budget)| Step::Advance { ms, budget }),
        ]
    }

    /// What is due, by tick and then id.
    type Model = BTreeMap<i64, (u64, Ticket)>;

    fn popped_is_due(model: &mut Model, id: i64, now: u64) {
        let (due, _) = model.remove(&id).expect("popped once");
        assert!(due <= now / TICK_MS, "popped {id} of tick {due} at {now} ms");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn what_is_due_is_popped_once_and_never_early(steps in prop::collection::vec(step(), 1..80)) {
            let mut wheel = Wheel::default();
            let mut model = Model::new();
            let (mut now, mut next_id) = (0u64, 0);
            for step in steps {
                match step {
                    Step::Insert { in_ms } => {
                        let deadline = now.saturating_add(in_ms);
                        let due = deadline.div_ceil(TICK_MS).min(LAST_TICK);
                        model.insert(next_id, (due, wheel.insert(next_id, deadline)));
                        next_id += 1;
                    }
                    Step::Cancel(at) if !model.is_empty() => {
                        let id = *model.keys().nth(at.index(model.len())).unwrap();
                        let (_, ticket) = model.remove(&id).unwrap();
                        wheel.cancel(ticket);
                    }
                    Step::Cancel(_) => {}
                    Step::Advance { ms, budget } => {
                        now = now.saturating_add(ms);
                        let mut left = budget;
                        while let Some(id) = wheel.pop(now, &mut left) {
                            popped_is_due(&mut model, id, now);
                        }
                        if left > 0 {
                            let missed = model.values().find(|(due, _)| *due <= now / TICK_MS);
                            prop_assert_eq!(missed, None);
                        }
                    }
                }
                prop_assert_eq!(wheel.len, model.len());
                let earliest = model.values().map(|(due, _)| *due).min();
                prop_assert_eq!(wheel.next_wake_ms().is_some(), earliest.is_some());
                if let (Some(wake), Some(earliest)) = (wheel.next_wake_ms(), earliest) {
                    prop_assert!(wake <= (earliest * TICK_MS).max(wheel.cursor * TICK_MS));
                }
            }
            for id in pop_all(&mut wheel, u64::MAX) {
                popped_is_due(&mut model, id, u64::MAX);
            }
            prop_assert!(model.is_empty());
        }

        #[test]
        fn entries_come_in_the_order_of_their_ticks(deadlines in prop::collection::vec(0..1u64 << 40, 1..200)) {
            let mut wheel = Wheel::default();
            for (id, deadline) in (0i64..).zip(&deadlines) {
                wheel.insert(id, *deadline);
            }
            let tick = |id: &i64| deadlines[usize::try_from(*id).unwrap()].div_ceil(TICK_MS);
            prop_assert!(pop_all(&mut wheel, u64::MAX).is_sorted_by_key(tick));
        }
    }

    #[test]
    fn following_the_wakes_pops_everything_in_its_tick() {
        let mut wheel = Wheel::default();
        let deadlines: Vec<u64> = (0..2000u64).map(|n| n * n * 37 % (1 << 26)).collect();
        for (id, deadline) in (0i64..).zip(&deadlines) {
            wheel.insert(id, *deadline);
        }
        let mut popped = 0;
        while let Some(now) = wheel.next_wake_ms() {
            for id in pop_all(&mut wheel, now) {
                let due = deadlines[usize::try_from(id).unwrap()].div_ceil(TICK_MS) * TICK_MS;
                assert_eq!(due, now);
                popped += 1;
            }
        }
        assert_eq!(popped, deadlines.len());
    }

    #[test]
    fn a_million_leases_cost_a_few_steps_each_and_the_rest_nothing() {
        const LEASES: usize = 1_000_000;
        let mut wheel = Wheel::default();
        // TTLs from 15 s to about 75 minutes, as of node heartbeats and events.
        let deadlines = (0u64..).map(|number| 15_000 + number * 7919 % 4_400_000);
        let tickets: Vec<_> = (0i64..)
            .zip(deadlines)
            .take(LEASES)
            .map(|(id, deadline)| wheel.insert(id, deadline))
            .collect();
        let mut budget = 100;
        assert_eq!(wheel.pop(12_000, &mut budget), None);
        assert_eq!(budget, 100, "a tick without due entries looks at none of them");
        for ticket in tickets.iter().step_by(2) {
            wheel.cancel(*ticket);
        }
        let (mut steps, mut popped) = (0, 0);
        for now in (0..=4_500_000).step_by(TICK_MS as usize) {
            let mut budget = usize::MAX;
            while wheel.pop(now, &mut budget).is_some() {
                popped += 1;
            }
            steps += usize::MAX - budget;
        }
        assert_eq!((popped, wheel.next_wake_ms()), (LEASES / 2, None));
        // Popped once and moved at most twice (75 minutes are below the third level), and each
        // slot found empty once.
        assert!(steps <= popped * 3 + 80_000, "{steps} steps for {popped}");
    }

    #[test]
    fn a_wheel_that_was_large_gives_its_memory_back() {
        let mut wheel = Wheel::default();
        let tickets: Vec<_> = (0..=KEPT_NODES).map(|_| wheel.insert(0, 1000)).collect();
        for ticket in tickets {
            wheel.cancel(ticket);
        }
        assert_eq!((wheel.len, wheel.nodes.capacity()), (0, 0));
        wheel.insert(1, 5000);
        assert_eq!(pop_all(&mut wheel, 6000), [1]);
    }

    #[test]
    fn a_node_takes_24_bytes() {
        assert_eq!((size_of::<Node>(), size_of::<Option<Ticket>>()), (24, 4));
    }
}

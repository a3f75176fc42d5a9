//! The protocol between the driver that publishes and those who wait, in every interleaving.
//!
//! A model of `store/shared.rs`, `store/watch.rs` and `Store::read_barrier`, step by step; each
//! step is what another thread can come between. All orders are tried. The broken variants show
//! that the orders in the code are needed.
#![allow(clippy::panic, reason = "a broken promise ends the test")]

use std::collections::HashSet;

/// Revisions that the driver publishes before it ends.
const LAST: u8 = 3;

/// What differs between the code and its broken variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Code,
    /// The driver says that it has moved before the state is there.
    MarkFirst,
    /// A watcher takes the state before it notes how far the watermark is.
    LookFirst,
    /// The watermark's sender goes before the store is marked as closed.
    GoneFirst,
    /// A watcher that finds the sender gone ends without a look at what it has not seen yet.
    GoneWins,
}

/// What the threads share, and where each of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct World {
    /// The published state's revision.
    state: u8,
    /// The watermark's.
    mark: u8,
    closed: bool,
    sender_gone: bool,
    driver: u8,
    watcher: Watcher,
    reader: Reader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Watcher {
    at: WatcherAt,
    /// The watermark that it has noted.
    seen: u8,
    /// The state that it has taken.
    taken: u8,
    /// The last revision that it has delivered.
    told: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum WatcherAt {
    #[default]
    First,
    Second,
    Scan,
    Wait,
    Ended,
}

/// One that waits for a revision behind a barrier and then reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Reader {
    #[default]
    Waits,
    Heard(u8),
    Ended,
}

impl World {
    /// The worlds that one step of one thread leads to.
    fn steps(self, variant: Variant) -> Result<Vec<Self>, String> {
        let mut next = Vec::new();
        next.extend(self.step_driver(variant));
        next.extend(self.step_watcher(variant)?);
        next.extend(self.step_reader()?);
        Ok(next)
    }

    /// Two steps for each revision, and two at its end.
    fn step_driver(mut self, variant: Variant) -> Option<Self> {
        let (revision, second) = (self.driver / 2 + 1, self.driver % 2 == 1);
        if revision > LAST + 1 {
            return None;
        }
        if revision <= LAST && second == (variant == Variant::MarkFirst) {
            self.state = revision;
        } else if revision <= LAST {
            self.mark = revision;
        } else if second == (variant == Variant::GoneFirst) {
            self.closed = true;
        } else {
            self.sender_gone = true;
        }
        self.driver += 1;
        Some(self)
    }

    fn step_watcher(mut self, variant: Variant) -> Result<Option<Self>, String> {
        let gone_wins = variant == Variant::GoneWins && self.sender_gone;
        let watcher = &mut self.watcher;
        let looks_first = variant == Variant::LookFirst;
        match watcher.at {
            WatcherAt::First | WatcherAt::Second => {
                if looks_first == (watcher.at == WatcherAt::First) {
                    watcher.taken = self.state;
                } else {
                    watcher.seen = self.mark;
                }
                let second = watcher.at == WatcherAt::First;
                watcher.at = if second { WatcherAt::Second } else { WatcherAt::Scan };
            }
            WatcherAt::Scan if watcher.taken > watcher.told => {
                watcher.told = watcher.taken;
                watcher.at = WatcherAt::First;
            }
            WatcherAt::Scan => watcher.at = WatcherAt::Wait,
            // `changed` reports what was not seen before it reports that the sender is gone.
            WatcherAt::Wait if self.mark != watcher.seen && !gone_wins => {
                watcher.at = WatcherAt::First;
            }
            WatcherAt::Wait if self.sender_gone => {
                if !self.closed {
                    return Err(format!(
                        "a watcher was woken by an end that is not there: {self:?}"
                    ));
                }
                if self.watcher.told < LAST {
                    return Err(format!("a watcher ended before it heard of everything: {self:?}"));
                }
                self.watcher.at = WatcherAt::Ended;
            }
            WatcherAt::Wait | WatcherAt::Ended => return Ok(None),
        }
        Ok(Some(self))
    }

    /// Waits until the watermark is at the last revision, and reads the state.
    fn step_reader(mut self) -> Result<Option<Self>, String> {
        match self.reader {
            Reader::Waits if self.mark == LAST => self.reader = Reader::Heard(self.mark),
            Reader::Heard(revision) if self.state < revision => {
                return Err(format!("a reader heard of what it cannot read: {self:?}"));
            }
            Reader::Heard(_) => self.reader = Reader::Ended,
            Reader::Waits | Reader::Ended => return Ok(None),
        }
        Ok(Some(self))
    }
}

/// Tries every interleaving; says how many worlds there are, or what goes wrong in one of them.
fn explore(variant: Variant) -> Result<usize, String> {
    let mut seen = HashSet::from([World::default()]);
    let mut open = vec![World::default()];
    while let Some(world) = open.pop() {
        let steps = world.steps(variant)?;
        if steps.is_empty() && (world.watcher.at, world.reader) != (WatcherAt::Ended, Reader::Ended)
        {
            return Err(format!("somebody waits for ever: {world:?}"));
        }
        open.extend(steps.into_iter().filter(|step| seen.insert(*step)));
    }
    Ok(seen.len())
}

#[test]
fn in_every_interleaving_watchers_hear_of_everything_and_can_read_it() {
    let worlds = explore(Variant::Code).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(worlds > 500, "{worlds}");
}

#[test]
fn each_order_in_the_code_is_needed() {
    for variant in [Variant::MarkFirst, Variant::LookFirst, Variant::GoneFirst, Variant::GoneWins] {
        assert!(explore(variant).is_err(), "{variant:?}");
    }
}

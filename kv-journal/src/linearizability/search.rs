//! The search for an order that explains every answer.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;

use super::{Answer, Contradiction, Model, Operation, Outcome, Request, contradiction};

/// What a search has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains every answer.
    Linearizable,
    /// The search took more steps than were allowed.
    Undecided,
}

/// Searches for an order of the operations that explains all answers, in at most `steps` steps for
/// each set of keys that operations join. Serializable reads are left out.
///
/// # Errors
/// If there is none.
pub fn check_answers(history: &[Operation], steps: u64) -> Result<Verdict, Contradiction> {
    let considered = history
        .iter()
        .filter(|operation| !operation.serializable && operation.outcome != Outcome::Refused);
    let mut verdict = Verdict::Linearizable;
    for part in parts(considered.collect()) {
        if Search::new(&part).run(steps)? == Verdict::Undecided {
            verdict = Verdict::Undecided;
        }
    }
    Ok(verdict)
}

/// Operations on keys that no operation joins are independent: linearizable apart is linearizable
/// together (Herlihy and Wing's locality).
fn parts(operations: Vec<&Operation>) -> Vec<Vec<&Operation>> {
    let known: BTreeSet<Bytes> = operations.iter().flat_map(|op| named(op)).collect();
    let mut parts: Vec<(BTreeSet<Bytes>, Vec<&Operation>)> = Vec::new();
    for operation in operations {
        let mut keys = touched(operation, &known);
        let mut members = vec![operation];
        // What touches no known key saw nothing, or explains itself: it joins all such.
        let joined = |part: &(BTreeSet<Bytes>, _)| {
            !part.0.is_disjoint(&keys) || (part.0.is_empty() && keys.is_empty())
        };
        let (join, apart): (Vec<_>, Vec<_>) = parts.into_iter().partition(joined);
        for (others, operations) in join {
            keys.extend(others);
            members.extend(operations);
        }
        parts = apart;
        parts.push((keys, members));
    }
    parts.into_iter().map(|(_, operations)| operations).collect()
}

/// The keys that an operation or its answer names.
fn named(operation: &Operation) -> Vec<Bytes> {
    let mut keys = match &operation.request {
        Request::Get(key) | Request::Put { key, .. } | Request::Swap { key, .. } => {
            vec![key.clone()]
        }
        Request::PutAll { keys, .. } => keys.clone(),
        Request::Range(range) | Request::Count(range) | Request::Delete(range) => {
            range.as_key().cloned().into_iter().collect()
        }
    };
    if let Some((Answer::Pairs(pairs), _)) = operation.answered() {
        keys.extend(pairs.iter().map(|(key, _)| key.clone()));
    }
    keys
}

fn touched(operation: &Operation, known: &BTreeSet<Bytes>) -> BTreeSet<Bytes> {
    let mut keys: BTreeSet<Bytes> = named(operation).into_iter().collect();
    if let Request::Range(range) | Request::Count(range) | Request::Delete(range) =
        &operation.request
    {
        keys.extend(known.iter().filter(|key| range.contains(key)).cloned());
    }
    keys
}

/// Calls and returns in the order of their times, as a list from which the operations that have
/// their place are taken, and put back when the place was wrong.
struct Search<'a> {
    operations: &'a [&'a Operation],
    /// For each place of the list what stands there; the first place is its head.
    entries: Vec<Entry>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// For each operation its places.
    places: Vec<(usize, Option<usize>)>,
    placed: Vec<u64>,
    model: Model,
    /// Operations that were given a place, with the state before each.
    stack: Vec<(usize, Model)>,
    /// Configurations that were tried.
    tried: HashSet<(Vec<u64>, Model)>,
    /// Operations with an answer that have no place yet.
    open: usize,
    /// The most that had a place at once, and the operation whose return stopped it there.
    deepest: (usize, usize),
}

#[derive(Clone, Copy)]
enum Entry {
    Head,
    Call(usize),
    Return(usize),
}

const HEAD: usize = 0;
/// The list's end: as its next, the last place has its head again.
const END: usize = HEAD;

impl<'a> Search<'a> {
    fn new(operations: &'a [&'a Operation]) -> Self {
        let calls = operations.iter().enumerate().map(|(at, op)| (op.call, Entry::Call(at)));
        let returns = operations
            .iter()
            .enumerate()
            .filter_map(|(at, op)| op.end.map(|end| (end, Entry::Return(at))));
        let mut timed: Vec<_> = calls.chain(returns).collect();
        timed.sort_by_key(|(time, _)| *time);
        let entries: Vec<_> =
            std::iter::once(Entry::Head).chain(timed.into_iter().map(|(_, entry)| entry)).collect();
        let mut places = vec![(HEAD, None); operations.len()];
        for (place, entry) in entries.iter().enumerate() {
            match entry {
                Entry::Call(at) => places[*at].0 = place,
                Entry::Return(at) => places[*at].1 = Some(place),
                Entry::Head => {}
            }
        }
        let len = entries.len();
        Self {
            operations,
            next: (0..len).map(|place| (place + 1) % len).collect(),
            previous: (0..len).map(|place| (place + len - 1) % len).collect(),
            entries,
            places,
            placed: vec![0; operations.len().div_ceil(64)],
            model: Model::default(),
            stack: Vec::new(),
            tried: HashSet::new(),
            open: operations.iter().filter(|op| op.end.is_some()).count(),
            deepest: (0, 0),
        }
    }

    fn run(mut self, steps: u64) -> Result<Verdict, Contradiction> {
        let mut place = self.next[HEAD];
        for _ in 0..steps {
            if self.open == 0 {
                return Ok(Verdict::Linearizable);
            }
            let entry = self.entries[place];
            let tried = match entry {
                Entry::Call(at) if self.try_next(at) => Some(self.next[HEAD]),
                Entry::Call(_) if self.next[place] != END => Some(self.next[place]),
                // Whatever comes first now must be before this return, and nothing fits.
                Entry::Return(at) => {
                    self.deepest = self.deepest.max((self.stack.len(), at));
                    self.take_back()
                }
                Entry::Call(_) | Entry::Head => self.take_back(),
            };
            match tried {
                Some(next) => place = next,
                None => return contradiction(self.explain()),
            }
        }
        Ok(Verdict::Undecided)
    }

    /// Whether the operation can be the next one, in a configuration that was not tried before.
    fn try_next(&mut self, at: usize) -> bool {
        let operation = self.operations[at];
        let mut model = self.model.clone();
        let answer = model.apply(&operation.request);
        if operation.answered().is_some_and(|(told, _)| *told != answer) {
            return false;
        }
        self.flip(at);
        if !self.tried.insert((self.placed.clone(), model.clone())) {
            self.flip(at);
            return false;
        }
        self.stack.push((at, std::mem::replace(&mut self.model, model)));
        let (call, end) = self.places[at];
        self.unlink(call);
        if let Some(end) = end {
            self.unlink(end);
            self.open -= 1;
        }
        true
    }

    /// Takes the last operation's place away, and goes on after its call. `None`: there is none.
    fn take_back(&mut self) -> Option<usize> {
        loop {
            let (at, model) = self.stack.pop()?;
            self.model = model;
            self.flip(at);
            let (call, end) = self.places[at];
            if let Some(end) = end {
                self.link(end);
                self.open += 1;
            }
            self.link(call);
            if self.next[call] != END {
                return Some(self.next[call]);
            }
        }
    }

    fn flip(&mut self, at: usize) {
        self.placed[at / 64] ^= 1 << (at % 64);
    }

    fn unlink(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    /// Undoes the last [`unlink`](Self::unlink) that was not undone.
    fn link(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = place;
        self.previous[next] = place;
    }

    fn explain(&self) -> String {
        let (placed, at) = self.deepest;
        let count = self.operations.len();
        let operation = self.operations[at];
        format!("{placed} of {count} operations have an order, none explains {operation:?}")
    }
}

//! Whether what many clients were answered can have happened one after the other.
//!
//! Clients record what they ask and what they are told, with a logical clock. Two judges look at
//! the same history and share nothing:
//!
//! - [`check_answers`] knows no revisions. It searches for an order of the operations that explains
//!   every answer and keeps every operation between its call and its return (Wing and Gong's
//!   search with Lowe's memory of configurations, "Testing for linearizability", 2017). Keys that
//!   no operation joins are searched apart.
//! - [`check_revisions`] takes the order from the revisions, as etcd's robustness tests do: the
//!   journal says what each revision did, every answer must fit its revision, and revisions must
//!   not go against real time.
//!
//! ```
//! use kv_journal::linearizability::{Answer, Outcome, Recorder, Request, Verdict, check_answers};
//!
//! let recorder = Recorder::default();
//! let put = recorder.call(1, Request::Put { key: "a".into(), value: "1".into() });
//! let get = recorder.call(2, Request::Get("a".into()));
//! recorder.end(get, Outcome::Answered { answer: Answer::Value(Some("1".into())), revision: 2 });
//! recorder.end(put, Outcome::Answered { answer: Answer::Done, revision: 2 });
//! assert_eq!(check_answers(&recorder.history(), 1000), Ok(Verdict::Linearizable));
//! ```

mod revisions;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

pub use revisions::check_revisions;
pub use search::{Verdict, check_answers};

use crate::core::KeyRange;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// The value of a key.
    Get(Bytes),
    /// The keys of a range with their values.
    Range(KeyRange),
    /// How many keys a range holds.
    Count(KeyRange),
    /// Writes a key.
    Put {
        /// Which.
        key: Bytes,
        /// What.
        value: Bytes,
    },
    /// Writes one value to several keys, in one transaction.
    PutAll {
        /// Which; none of them twice.
        keys: Vec<Bytes>,
        /// What.
        value: Bytes,
    },
    /// Writes a key if it holds what is expected.
    Swap {
        /// Which.
        key: Bytes,
        /// What it must hold; `None` is that it does not exist.
        expected: Option<Bytes>,
        /// What it shall hold.
        value: Bytes,
    },
    /// Deletes the keys of a range.
    Delete(KeyRange),
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// To [`Request::Get`].
    Value(Option<Bytes>),
    /// To [`Request::Range`], in key order.
    Pairs(Vec<(Bytes, Bytes)>),
    /// To [`Request::Count`].
    Count(u64),
    /// To [`Request::Put`] and [`Request::PutAll`].
    Done,
    /// To [`Request::Swap`]: whether it was written.
    Swapped(bool),
    /// To [`Request::Delete`]: how many keys.
    Deleted(u64),
}

impl Answer {
    /// Whether an operation that is answered so changed the store.
    #[must_use]
    pub fn changed(&self) -> bool {
        match self {
            Self::Done | Self::Swapped(true) => true,
            Self::Deleted(deleted) => *deleted > 0,
            Self::Value(_) | Self::Pairs(_) | Self::Count(_) | Self::Swapped(false) => false,
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer, and the revision that it carries.
    Answered {
        /// What it says.
        answer: Answer,
        /// Of the store when it was answered; of the write, if it wrote.
        revision: u64,
    },
    /// With an error that says that nothing happened.
    Refused,
    /// It may have happened, may happen later, or never.
    Unknown,
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who asked. A client asks one thing after the other.
    pub client: usize,
    /// What.
    pub request: Request,
    /// A read that did not ask for the newest state: it may be old, but never torn, and a client
    /// never sees the store go back.
    pub serializable: bool,
    /// When it was asked, by the history's clock.
    pub call: u64,
    /// When it was answered; `None` if it never was, or its outcome is unknown.
    pub end: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// The answer and its revision, if there is one.
    fn answered(&self) -> Option<(&Answer, u64)> {
        match &self.outcome {
            Outcome::Answered { answer, revision } => Some((answer, *revision)),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }
}

/// A history that no order explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// What cannot be, and where.
    pub seen: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not linearizable: {}", self.seen)
    }
}

impl std::error::Error for Contradiction {}

fn contradiction<T>(seen: impl Into<String>) -> Result<T, Contradiction> {
    Err(Contradiction { seen: seen.into() })
}

/// Records operations of any number of clients, from any number of threads.
#[derive(Debug, Default)]
pub struct Recorder {
    clock: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

/// An operation that was called and has not ended.
#[derive(Debug)]
#[must_use = "end it, or its outcome stays unknown"]
pub struct Called(usize);

impl Recorder {
    /// To be called right before a client asks.
    pub fn call(&self, client: usize, request: Request) -> Called {
        self.add(client, request, false)
    }

    /// The same for a read that does not ask for the newest state.
    pub fn call_serializable(&self, client: usize, request: Request) -> Called {
        self.add(client, request, true)
    }

    /// To be called right after a client was answered. What is never ended stays unknown.
    #[expect(clippy::needless_pass_by_value, reason = "an operation ends once")]
    pub fn end(&self, called: Called, outcome: Outcome) {
        let now = self.tick();
        if let Some(operation) = self.operations.lock().get_mut(called.0) {
            operation.end = (outcome != Outcome::Unknown).then_some(now);
            operation.outcome = outcome;
        }
    }

    /// Everything so far, by the order of the calls' beginnings.
    #[must_use]
    pub fn history(&self) -> Vec<Operation> {
        let mut history = self.operations.lock().clone();
        history.sort_by_key(|operation| operation.call);
        history
    }

    fn add(&self, client: usize, request: Request, serializable: bool) -> Called {
        let call = self.tick();
        let outcome = Outcome::Unknown;
        let operation = Operation { client, request, serializable, call, end: None, outcome };
        let mut operations = self.operations.lock();
        operations.push(operation);
        Called(operations.len() - 1)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

/// The store as it would be if it did one thing after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Model {
    values: BTreeMap<Bytes, Bytes>,
}

impl Model {
    fn apply(&mut self, request: &Request) -> Answer {
        match request {
            Request::Get(key) => Answer::Value(self.values.get(key).cloned()),
            Request::Range(range) => Answer::Pairs(self.pairs(range)),
            Request::Count(range) => Answer::Count(self.pairs(range).len() as u64),
            Request::Put { key, value } => {
                self.values.insert(key.clone(), value.clone());
                Answer::Done
            }
            Request::PutAll { keys, value } => {
                self.values.extend(keys.iter().map(|key| (key.clone(), value.clone())));
                Answer::Done
            }
            Request::Swap { key, expected, value } => {
                let holds = self.values.get(key) == expected.as_ref();
                if holds {
                    self.values.insert(key.clone(), value.clone());
                }
                Answer::Swapped(holds)
            }
            Request::Delete(range) => {
                let before = self.values.len();
                self.values.retain(|key, _| !range.contains(key));
                Answer::Deleted((before - self.values.len()) as u64)
            }
        }
    }

    fn pairs(&self, range: &KeyRange) -> Vec<(Bytes, Bytes)> {
        let pairs = self.values.iter().filter(|(key, _)| range.contains(key));
        pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

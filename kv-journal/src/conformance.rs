//! The contract of [`Journal`] as checks that every adapter must pass.
//!
//! Each check is one numbered item of the port's contract. [`journal_conformance!`] turns them
//! into one `#[test]` each; called directly, a check returns the [`Violation`] that it found, which
//! is how a deliberately broken adapter is shown to fail.
//!
//! [`journal_conformance!`]: crate::journal_conformance
//!
//! ```
//! use kv_journal::{MemoryJournal, conformance};
//!
//! let passed = conformance::run(async {
//!     conformance::bounded_reads(&MemoryJournal::new()).await
//! });
//! assert_eq!(passed, Ok(()));
//! ```

pub mod checkpoints;
pub mod stores;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use bytes::Bytes;

use crate::error::{ErrorKind, Result as JournalResult};
use crate::journal::{Entry, Journal, ReadLimits, Tail};

/// A broken promise of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The contract item, as numbered in the port's docs.
    pub item: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contract item {}: {}", self.item, self.seen)
    }
}

impl std::error::Error for Violation {}

/// What a check returns.
pub type Checked = Result<(), Violation>;

/// A check under way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Checked> + Send + 'a>>;

/// A check, as a value. It wants a journal that nothing was done to.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its function's name.
    pub name: &'static str,
    /// The function.
    pub run: for<'a> fn(&'a dyn Journal) -> Running<'a>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// Every check of this module.
pub const CHECKS: &[Check] = &[
    Check { name: "numbers", run: |journal| Box::pin(numbers(journal)) },
    Check { name: "fence", run: |journal| Box::pin(fence(journal)) },
    Check { name: "fenced_writers", run: |journal| Box::pin(fenced_writers(journal)) },
    Check { name: "compare_and_append", run: |journal| Box::pin(compare_and_append(journal)) },
    Check { name: "acknowledged", run: |journal| Box::pin(acknowledged(journal)) },
    Check { name: "whole_batches", run: |journal| Box::pin(whole_batches(journal)) },
    Check { name: "definite_errors", run: |journal| Box::pin(definite_errors(journal)) },
    Check { name: "bounded_reads", run: |journal| Box::pin(bounded_reads(journal)) },
    Check { name: "trim", run: |journal| Box::pin(trim(journal)) },
    Check { name: "cancelled_appends", run: |journal| Box::pin(cancelled_appends(journal)) },
    Check { name: "fresh_tail", run: |journal| Box::pin(fresh_tail(journal)) },
    Check { name: "local_epoch", run: |journal| Box::pin(local_epoch(journal)) },
];

/// Makes a module of one test for each check.
///
/// The second argument is an expression, evaluated inside a tokio runtime, for a future of a fresh
/// journal and of what must live as long as it (a temporary directory, or `()`).
///
/// ```
/// use kv_journal::{MemoryJournal, journal_conformance};
///
/// journal_conformance!(memory, async { (MemoryJournal::new(), ()) });
/// ```
#[macro_export]
macro_rules! journal_conformance {
    ($module:ident, $fresh:expr) => {
        $crate::journal_conformance!(
            @tests $module, $fresh,
            numbers fence fenced_writers compare_and_append acknowledged whole_batches
            definite_errors bounded_reads trim cancelled_appends fresh_tail
            local_epoch
        );
    };
    (@tests $module:ident, $fresh:expr, $($check:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the expression may need what surrounds it")]
            use super::*;
            $(
                #[test]
                fn $check() -> Result<(), $crate::conformance::Violation> {
                    $crate::conformance::run(async {
                        let (journal, _kept) = $fresh.await;
                        $crate::conformance::$check(&journal).await
                    })
                }
            )*
        }
    };
}

/// Runs a check to its end on a runtime of its own.
///
/// # Panics
/// If the runtime cannot be made.
pub fn run<F: Future>(check: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    #[expect(clippy::expect_used, reason = "a test without a runtime can only fail")]
    runtime.expect("a runtime").block_on(check)
}

/// Item 1: an empty journal, and numbers without gaps.
///
/// # Errors
/// The violation found.
pub async fn numbers(journal: &dyn Journal) -> Checked {
    let item = Item("1");
    let empty = item.ok("tail", journal.tail().await)?;
    item.eq("the tail of an empty journal", empty, Tail { epoch: 0, first_seq: 1, next_seq: 1 })?;
    let tail = item.ok("fence", journal.fence(1).await)?;
    item.eq("the tail after a fence", tail, Tail { epoch: 1, first_seq: 1, next_seq: 1 })?;
    item.ok("append", journal.append(1, 1, &records(0..3)).await)?;
    item.ok("append", journal.append(1, 4, &records(3..5)).await)?;
    let entries = read_all(item, journal, 1).await?;
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    item.eq("the numbers of five records", numbers, vec![1, 2, 3, 4, 5])
}

/// Item 2: an epoch only ever rises.
///
/// # Errors
/// The violation found.
pub async fn fence(journal: &dyn Journal) -> Checked {
    let item = Item("2");
    item.ok("fence", journal.fence(3).await)?;
    for stale in [0, 2, 3] {
        item.fails("a fence at or below the epoch", journal.fence(stale).await, ErrorKind::Fenced)?;
    }
    let tail = item.ok("tail", journal.tail().await)?;
    item.eq("the epoch after refused fences", tail.epoch, 3)?;
    item.ok("append after refused fences", journal.append(3, 1, &records(0..1)).await)?;
    let tail = item.ok("a higher fence", journal.fence(7).await)?;
    item.eq("its tail", tail, Tail { epoch: 7, first_seq: 1, next_seq: 2 })
}

/// Item 3: a fenced writer stores nothing.
///
/// # Errors
/// The violation found.
pub async fn fenced_writers(journal: &dyn Journal) -> Checked {
    let item = Item("3");
    item.ok("fence", journal.fence(1).await)?;
    item.ok("append", journal.append(1, 1, &records(0..1)).await)?;
    item.ok("fence", journal.fence(2).await)?;
    for epoch in [0, 1, 3] {
        let append = journal.append(epoch, 2, &records(1..2)).await;
        item.fails("an append of another epoch", append, ErrorKind::Fenced)?;
        let empty = journal.append(epoch, 2, &[]).await;
        item.fails("an empty append of another epoch", empty, ErrorKind::Fenced)?;
    }
    item.ok("append of the current epoch", journal.append(2, 2, &records(7..8)).await)?;
    expect_records(item, journal, &[records(0..1), records(7..8)].concat()).await
}

/// Item 4: an append goes where it was meant to, or nowhere.
///
/// # Errors
/// The violation found.
pub async fn compare_and_append(journal: &dyn Journal) -> Checked {
    let item = Item("4");
    item.ok("fence", journal.fence(1).await)?;
    item.ok("append", journal.append(1, 1, &records(0..2)).await)?;
    for wrong in [0, 1, 2, 4, u64::MAX] {
        let append = journal.append(1, wrong, &records(2..3)).await;
        item.fails("an append at another number", append, ErrorKind::Conflict)?;
    }
    let (left, right) = (records(10..11), records(20..21));
    let (first, second) = tokio::join!(journal.append(1, 3, &left), journal.append(1, 3, &right));
    item.eq("of two concurrent appends, those won", first.is_ok(), second.is_err())?;
    let winner = if first.is_ok() { left } else { right };
    item.fails("the other one", first.and(second), ErrorKind::Conflict)?;
    expect_records(item, journal, &[records(0..2), winner].concat()).await
}

/// Item 5: what was acknowledged is read back byte for byte.
///
/// # Errors
/// The violation found.
pub async fn acknowledged(journal: &dyn Journal) -> Checked {
    let item = Item("5");
    item.ok("fence", journal.fence(1).await)?;
    let odd = [Bytes::new(), Bytes::from(vec![0; 1]), Bytes::from(vec![255; 70_000]), Bytes::new()];
    item.ok("append", journal.append(1, 1, &odd).await)?;
    let tail = item.ok("tail", journal.tail().await)?;
    item.eq("the tail", tail, Tail { epoch: 1, first_seq: 1, next_seq: 5 })?;
    expect_records(item, journal, &odd).await?;
    item.ok("fence", journal.fence(2).await)?;
    expect_records(item, journal, &odd).await
}

/// Item 6: a batch is stored whole and in order, and an empty one checks.
///
/// # Errors
/// The violation found.
pub async fn whole_batches(journal: &dyn Journal) -> Checked {
    let item = Item("6");
    item.ok("fence", journal.fence(1).await)?;
    let batch = records(0..200);
    item.ok("append", journal.append(1, 1, &batch).await)?;
    expect_records(item, journal, &batch).await?;
    item.ok("an empty append", journal.append(1, 201, &[]).await)?;
    item.fails("an empty append elsewhere", journal.append(1, 7, &[]).await, ErrorKind::Conflict)?;
    let tail = item.ok("tail", journal.tail().await)?;
    item.eq("the next number after empty appends", tail.next_seq, 201)
}

/// Item 7: after a definite error the journal is as it was, and goes on.
///
/// # Errors
/// The violation found.
pub async fn definite_errors(journal: &dyn Journal) -> Checked {
    let item = Item("7");
    item.ok("fence", journal.fence(5).await)?;
    item.ok("append", journal.append(5, 1, &records(0..3)).await)?;
    let before = item.ok("tail", journal.tail().await)?;
    let refused = [
        journal.append(4, 4, &records(50..60)).await,
        journal.append(5, 3, &records(60..70)).await,
        journal.append(5, 5, &records(70..80)).await,
    ];
    for append in refused {
        item.eq("a wrong append succeeded", append.is_ok(), false)?;
    }
    let after = item.ok("tail", journal.tail().await)?;
    item.eq("the tail after refused appends", after, before)?;
    expect_records(item, journal, &records(0..3)).await?;
    item.ok("append after refused ones", journal.append(5, 4, &records(3..6)).await)?;
    expect_records(item, journal, &records(0..6)).await
}

/// Item 8: a read returns what its limits allow, at least one record, in order.
///
/// # Errors
/// The violation found.
pub async fn bounded_reads(journal: &dyn Journal) -> Checked {
    let item = Item("8");
    item.ok("fence", journal.fence(1).await)?;
    let big = vec![Bytes::from(vec![7; 1000]); 20];
    item.ok("append", journal.append(1, 1, &big).await)?;
    let cases = [
        (1, ReadLimits { records: 3, bytes: 1 << 20 }, 1..4),
        (5, ReadLimits { records: 100, bytes: 2500 }, 5..8),
        (9, ReadLimits { records: 0, bytes: 0 }, 9..10),
        (20, ReadLimits { records: 100, bytes: 1 << 20 }, 20..21),
        (21, ReadLimits::default(), 21..21),
        (u64::MAX, ReadLimits::default(), 0..0),
    ];
    for (from, limits, expected) in cases {
        let entries = item.ok("read", journal.read(from, limits).await)?;
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
        item.eq("the numbers read", numbers, expected.collect())?;
    }
    Ok(())
}

/// Item 9: trim removes nothing that it was not told to.
///
/// # Errors
/// The violation found.
pub async fn trim(journal: &dyn Journal) -> Checked {
    let item = Item("9");
    item.ok("fence", journal.fence(1).await)?;
    item.ok("append", journal.append(1, 1, &records(0..10)).await)?;
    for (before, allowed) in [(0, 1), (1, 1), (6, 6), (6, 6), (3, 6)] {
        item.ok("trim", journal.trim(before).await)?;
        let tail = item.ok("tail", journal.tail().await)?;
        item.eq("the next number", tail.next_seq, 11)?;
        item.eq("a record after the trim is gone", tail.first_seq > allowed, false)?;
        let kept = read_all(item, journal, tail.first_seq).await?;
        let expected = records(tail.first_seq - 1..10);
        item.eq("what is kept", payloads(&kept), expected)?;
        if let Some(gone) = tail.first_seq.checked_sub(1) {
            let first_seq = tail.first_seq;
            let read = journal.read(gone, ReadLimits::default()).await;
            item.fails("a read below", read, ErrorKind::Trimmed { first_seq })?;
        }
    }
    item.ok("trim of everything and more", journal.trim(u64::MAX).await)?;
    item.ok("append after a trim", journal.append(1, 11, &records(10..11)).await)?;
    let last = item.ok("read", journal.read(11, ReadLimits::default()).await)?;
    item.eq("what follows a trim", payloads(&last), records(10..11))
}

/// Item 10: an append whose future is dropped is whole or not there, and harms nothing.
///
/// # Errors
/// The violation found.
pub async fn cancelled_appends(journal: &dyn Journal) -> Checked {
    let item = Item("10");
    item.ok("fence", journal.fence(1).await)?;
    let mut kept = Vec::new();
    for round in 0..8 {
        let batch = records(round * 100..round * 100 + 10);
        let next_seq = kept.len() as u64 + 1;
        start_and_drop(journal.append(round + 1, next_seq, &batch));
        // The fence settles what became of it.
        let tail = item.ok("fence", journal.fence(round + 2).await)?;
        match tail.next_seq.checked_sub(next_seq) {
            Some(0) => {}
            Some(10) => kept.extend(batch),
            _ => return Err(item.violation(format!("a part of a batch of 10: tail {tail:?}"))),
        }
        let more = records(round * 100 + 50..round * 100 + 51);
        let next_seq = kept.len() as u64 + 1;
        item.ok("the next append", journal.append(round + 2, next_seq, &more).await)?;
        kept.extend(more);
        expect_records(item, journal, &kept).await?;
    }
    Ok(())
}

/// Item 12: an epoch that is known without asking is that of the last fence, when it returns.
///
/// # Errors
/// The violation, if there is one.
pub async fn local_epoch(journal: &dyn Journal) -> Checked {
    let item = Item("12");
    let Some(local) = journal.local_epoch() else { return Ok(()) };
    for epoch in [1, 2, 7] {
        item.ok("fence", journal.fence(epoch).await)?;
        item.eq("the local epoch", local.load(Ordering::Acquire), epoch)?;
    }
    item.fails("an old fence", journal.fence(3).await, ErrorKind::Fenced)?;
    item.eq("the local epoch after a fence that failed", local.load(Ordering::Acquire), 7)?;
    let again = journal.local_epoch().map(|local| local.load(Ordering::Acquire));
    item.eq("the local epoch asked for again", again, Some(7))
}

/// Item 11: a tail is never older than its question, though an older one is still unanswered.
///
/// # Errors
/// The violation found.
pub async fn fresh_tail(journal: &dyn Journal) -> Checked {
    let item = Item("11");
    item.ok("fence", journal.fence(1).await)?;
    for seq in 1..9 {
        let batch = records(seq..seq + 1);
        // The first question goes out before the append, and may be answered after it.
        let (early, late) = tokio::join!(journal.tail(), async {
            item.ok("append", journal.append(1, seq, &batch).await)?;
            item.ok("tail", journal.tail().await)
        });
        item.eq("the next number in a tail after an append", late?.next_seq, seq + 1)?;
        let early = item.ok("tail", early)?.next_seq;
        item.eq("a tail beside an append was beyond it", early < seq || early > seq + 1, false)?;
    }
    for epoch in 2..5 {
        let (early, late) = tokio::join!(journal.tail(), async {
            item.ok("fence", journal.fence(epoch).await)?;
            item.ok("tail", journal.tail().await)
        });
        item.eq("the epoch in a tail after a fence", late?.epoch, epoch)?;
        item.ok("tail", early)?;
    }
    Ok(())
}

/// Polls an append once, then forgets it.
fn start_and_drop(append: impl Future<Output = JournalResult<()>>) {
    let mut append = Box::pin(append);
    let _started = append.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

/// What a check compares, under the number of its contract item.
#[derive(Clone, Copy)]
struct Item(&'static str);

impl Item {
    fn violation(self, seen: String) -> Violation {
        Violation { item: self.0, seen }
    }

    fn ok<T>(self, what: &str, result: JournalResult<T>) -> Result<T, Violation> {
        result.map_err(|error| {
            self.violation(format!("{what} failed with {:?}: {error}", error.kind()))
        })
    }

    fn fails<T>(self, what: &str, result: JournalResult<T>, kind: ErrorKind) -> Checked {
        match result {
            Err(error) if error.kind() == kind => Ok(()),
            Err(error) => {
                Err(self.violation(format!("{what} failed with {:?}, not {kind:?}", error.kind())))
            }
            Ok(_) => Err(self.violation(format!("{what} succeeded instead of {kind:?}"))),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers compare values they just made")]
    fn eq<T: PartialEq + fmt::Debug>(self, what: &str, seen: T, expected: T) -> Checked {
        if seen == expected {
            return Ok(());
        }
        Err(self.violation(format!("{what}: {seen:?} instead of {expected:?}")))
    }
}

/// Records that tell their numbers.
fn records(numbers: std::ops::Range<u64>) -> Vec<Bytes> {
    numbers.map(|number| Bytes::from(format!("record {number}"))).collect()
}

fn payloads(entries: &[Entry]) -> Vec<Bytes> {
    entries.iter().map(|entry| entry.payload.clone()).collect()
}

async fn read_all(item: Item, journal: &dyn Journal, from: u64) -> Result<Vec<Entry>, Violation> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let next = from + entries.len() as u64;
        let more = item.ok("read", journal.read(next, ReadLimits::default()).await)?;
        if more.is_empty() {
            return Ok(entries);
        }
        entries.extend(more);
    }
}

async fn expect_records(item: Item, journal: &dyn Journal, expected: &[Bytes]) -> Checked {
    let entries = read_all(item, journal, 1).await?;
    item.eq("the records read", payloads(&entries), expected.to_vec())?;
    let tail = item.ok("tail", journal.tail().await)?;
    item.eq("the next number", tail.next_seq, expected.len() as u64 + 1)
}

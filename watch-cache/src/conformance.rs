//! The contract of [`Source`] as checks that every adapter must pass.
//!
//! Each check is one numbered item of the port's contract. [`source_conformance!`] turns them into
//! one `#[test]` each; called directly, a check returns the [`Violation`] that it found, which is
//! how a deliberately broken adapter is shown to fail.
//!
//! [`source_conformance!`]: crate::source_conformance
//!
//! ```
//! use std::sync::Arc;
//! use watch_cache::{MemorySource, conformance};
//!
//! let passed = conformance::run(async {
//!     let store = Arc::new(MemorySource::new());
//!     let subject = conformance::Subject { source: store.clone(), writer: store };
//!     conformance::revisions_are_whole(&subject).await
//! });
//! assert_eq!(passed, Ok(()));
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::{Duration, Instant, timeout};

use crate::error::{Error, ErrorKind};
use crate::object::{Change, Object, Revision};
use crate::source::{Events, Freshness, MemorySource, Source, SourceEvent, Write};

/// How long a check waits for what must come before it says that it does not.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a check asks again for progress, which may have been told too early to count.
const ASK_AGAIN: Duration = Duration::from_millis(200);

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

/// The way into the store behind a source. A check is the only writer while it runs.
#[async_trait]
pub trait Writer: Send + Sync {
    /// Applies all writes at one revision, and returns it once it is acknowledged.
    async fn txn(&self, writes: Vec<Write>) -> u64;

    /// Makes reads below `revision` impossible.
    async fn compact(&self, revision: u64);
}

#[async_trait]
impl Writer for MemorySource {
    async fn txn(&self, writes: Vec<Write>) -> u64 {
        Self::txn(self, writes)
    }

    async fn compact(&self, revision: u64) {
        // A check compacts only what it has written.
        let _ = Self::compact(self, revision);
    }
}

/// A source to check, and the store behind it.
#[derive(Clone)]
pub struct Subject {
    /// The source.
    pub source: Arc<dyn Source>,
    /// Its store.
    pub writer: Arc<dyn Writer>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("freshness", &self.source.freshness())
            .finish_non_exhaustive()
    }
}

/// A check, as a value. It writes under prefixes of its own, and wants nobody else to write.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its function's name.
    pub name: &'static str,
    /// The function.
    pub run: for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = Checked> + Send + 'a>>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// Every check of this module, in the order of the contract's items.
pub const CHECKS: &[Check] = &[
    Check { name: "list_is_current", run: |subject| Box::pin(list_is_current(subject)) },
    Check { name: "listing_is_exact", run: |subject| Box::pin(listing_is_exact(subject)) },
    Check { name: "list_at_a_revision", run: |subject| Box::pin(list_at_a_revision(subject)) },
    Check { name: "watch_is_complete", run: |subject| Box::pin(watch_is_complete(subject)) },
    Check { name: "revisions_are_whole", run: |subject| Box::pin(revisions_are_whole(subject)) },
    Check { name: "compacted_watch", run: |subject| Box::pin(compacted_watch(subject)) },
    Check { name: "progress_is_true", run: |subject| Box::pin(progress_is_true(subject)) },
    Check { name: "current_revision", run: |subject| Box::pin(current_revision(subject)) },
    Check { name: "watch_reaches", run: |subject| Box::pin(watch_reaches(subject)) },
    Check { name: "an_error_is_last", run: |subject| Box::pin(an_error_is_last(subject)) },
];

/// Makes a module of one test for each check.
///
/// The second argument is an expression, evaluated inside a tokio runtime, for a future of a
/// [`Subject`](crate::conformance::Subject) and of what must live as long as it (a server, or `()`).
///
/// ```
/// use std::sync::Arc;
/// use watch_cache::{MemorySource, conformance::Subject, source_conformance};
///
/// source_conformance!(memory, async {
///     let store = Arc::new(MemorySource::new());
///     (Subject { source: store.clone(), writer: store }, ())
/// });
/// ```
#[macro_export]
macro_rules! source_conformance {
    ($module:ident, $fresh:expr) => {
        $crate::source_conformance!(
            @tests $module, $fresh,
            list_is_current listing_is_exact list_at_a_revision watch_is_complete
            revisions_are_whole compacted_watch progress_is_true current_revision watch_reaches
            an_error_is_last
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
                        let (subject, _kept) = $fresh.await;
                        $crate::conformance::$check(&subject).await
                    })
                }
            )*
        }
    };
}

/// Runs a check to its end on a runtime of its own.
///
/// # Panics
///
/// If the runtime cannot be made.
pub fn run<F: Future>(check: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    #[expect(clippy::expect_used, reason = "a test without a runtime can only fail")]
    runtime.expect("a runtime").block_on(check)
}

/// Item 1: a list is as new as the last acknowledged write.
///
/// # Errors
///
/// The violation found.
pub async fn list_is_current(subject: &Subject) -> Checked {
    let item = Item("1");
    let prefix = Bytes::from("/conformance/1/");
    for round in 0..5 {
        let written = subject.writer.txn(vec![put("/conformance/1/a", &format!("{round}"))]).await;
        let (revision, objects) = list(item, subject, &prefix, None).await?;
        item.holds(revision >= written, || {
            format!("a list at {revision} after a write at {written} was acknowledged")
        })?;
        let seen = objects.first().map(|object| object.mod_revision);
        item.eq("the last write to the object listed", seen, Some(written))?;
    }
    Ok(())
}

/// Item 2: a listing is exact, ordered, and within its prefix.
///
/// # Errors
///
/// The violation found.
pub async fn listing_is_exact(subject: &Subject) -> Checked {
    let item = Item("2");
    let prefix = Bytes::from("/conformance/2/");
    let inside = ["c", "a", "b", "a/b", "a!"].map(|key| format!("/conformance/2/{key}"));
    let outside = ["/conformance/2", "/conformance/20", "/conformance/3/z"];
    let mut created = Vec::new();
    for key in inside.iter().map(String::as_str).chain(outside) {
        created.push(subject.writer.txn(vec![put(key, "v")]).await);
    }
    subject.writer.txn(vec![put("/conformance/2/a", "w")]).await;
    subject.writer.txn(vec![delete("/conformance/2/b")]).await;
    let (revision, objects) = list(item, subject, &prefix, None).await?;
    let keys: Vec<&[u8]> = objects.iter().map(|object| &object.key[..]).collect();
    let expected = ["a", "a!", "a/b", "c"].map(|key| format!("/conformance/2/{key}"));
    item.eq("the keys listed", keys, expected.iter().map(String::as_bytes).collect())?;
    for object in &objects {
        let order = [1, object.create_revision, object.mod_revision, revision];
        item.holds(order.is_sorted(), || format!("revisions out of order: {order:?}"))?;
    }
    let first = objects.first().map(|object| (object.create_revision, object.value.clone()));
    let expected = created.get(1).map(|created| (*created, Bytes::from("w")));
    item.eq("the creation and the value of an object written twice", first, expected)
}

/// Item 3: the past is listed as it was, or not at all.
///
/// # Errors
///
/// The violation found.
pub async fn list_at_a_revision(subject: &Subject) -> Checked {
    let item = Item("3");
    let prefix = Bytes::from("/conformance/3/");
    let first = subject.writer.txn(vec![put("/conformance/3/a", "1")]).await;
    let second = subject.writer.txn(vec![put("/conformance/3/a", "2")]).await;
    let third = subject.writer.txn(vec![delete("/conformance/3/a")]).await;
    for (at, expected) in [(first, Some("1")), (second, Some("2")), (third, None)] {
        let (revision, objects) = list(item, subject, &prefix, Some(at)).await?;
        item.eq("the revision of a list at a revision", revision, at)?;
        let value = objects.first().map(|object| object.value.clone());
        item.eq("the value at that revision", value, expected.map(Bytes::from))?;
    }
    subject.writer.compact(third).await;
    let early = list_of(subject, &prefix, Some(first)).await;
    item.fails("a compacted list", early, |kind| matches!(kind, ErrorKind::Expired { .. }))?;
    let late = list_of(subject, &prefix, Some(third + 1000)).await;
    item.fails("a list to come", late, |kind| matches!(kind, ErrorKind::TooLarge { .. }))?;
    list(item, subject, &prefix, Some(third)).await.map(|_| ())
}

/// Item 4: a watch delivers each revision once, in order, the past and what is to come.
///
/// # Errors
///
/// The violation found.
pub async fn watch_is_complete(subject: &Subject) -> Checked {
    let item = Item("4");
    let prefix = Bytes::from("/conformance/4/");
    let mut written = Vec::new();
    for round in 0..4 {
        subject.writer.txn(vec![put("/conformance/other", "x")]).await;
        written.push(subject.writer.txn(vec![put("/conformance/4/a", &format!("{round}"))]).await);
    }
    let mut events = watch(item, subject, &prefix, written[0]).await?;
    let mut early = watch(item, subject, &prefix, written[0] - 1).await?;
    for round in 4..8 {
        written.push(subject.writer.txn(vec![put("/conformance/4/a", &format!("{round}"))]).await);
        subject.writer.txn(vec![put("/conformance/other", "y")]).await;
    }
    written.push(subject.writer.txn(vec![delete("/conformance/4/a")]).await);
    let seen = revisions(item, &mut events, written.len() - 1).await?;
    item.eq("the revisions after the first", numbers(&seen), written[1..].to_vec())?;
    let seen = revisions(item, &mut early, written.len()).await?;
    item.eq("the revisions from the first on", numbers(&seen), written.clone())
}

/// Item 5: a revision is never split, and holds nothing else.
///
/// # Errors
///
/// The violation found.
pub async fn revisions_are_whole(subject: &Subject) -> Checked {
    let item = Item("5");
    let prefix = Bytes::from("/conformance/5/");
    let start = subject.writer.txn(vec![put("/conformance/5/c", "0")]).await;
    let mut events = watch(item, subject, &prefix, start).await?;
    let writes = vec![
        put("/conformance/5/a", "1"),
        put("/conformance/5/b", "1"),
        put("/conformance/50", "1"),
        delete("/conformance/5/c"),
    ];
    let whole = subject.writer.txn(writes).await;
    let next = subject.writer.txn(vec![put("/conformance/5/a", "2")]).await;
    let seen = revisions(item, &mut events, 2).await?;
    item.eq("the revisions", numbers(&seen), vec![whole, next])?;
    let mut changes = seen.into_iter().flat_map(|revision| revision.changes).collect::<Vec<_>>();
    let after = changes.split_off(3.min(changes.len()));
    changes.sort_by(|a, b| a.key().cmp(b.key()));
    let expected = vec![
        changed("/conformance/5/a", "1", whole, whole),
        changed("/conformance/5/b", "1", whole, whole),
        Change::Delete("/conformance/5/c".into()),
    ];
    item.eq("the changes of one transaction", changes, expected)?;
    item.eq("those of the next", after, vec![changed("/conformance/5/a", "2", whole, next)])
}

/// Item 6: a watch that starts in compacted history says so.
///
/// # Errors
///
/// The violation found.
pub async fn compacted_watch(subject: &Subject) -> Checked {
    let item = Item("6");
    let prefix = Bytes::from("/conformance/6/");
    let (first, last) = compacted(subject, "/conformance/6/a").await;
    let error = first_error(subject, &prefix, first).await;
    item.holds(matches!(error, Some(ErrorKind::Expired { .. })), || {
        format!("a watch after compacted {first} begins with {error:?}")
    })?;
    let mut events = watch(item, subject, &prefix, last).await?;
    let next = subject.writer.txn(vec![put("/conformance/6/a", "next")]).await;
    let seen = revisions(item, &mut events, 1).await?;
    item.eq("what a watch after the compaction delivers", numbers(&seen), vec![next])
}

/// Item 7: progress is neither early, nor zero, nor back.
///
/// # Errors
///
/// The violation found.
pub async fn progress_is_true(subject: &Subject) -> Checked {
    let item = Item("7");
    let prefix = Bytes::from("/conformance/7/");
    let mut reached = subject.writer.txn(vec![put("/conformance/7/a", "0")]).await;
    let mut events = watch(item, subject, &prefix, reached).await?;
    for round in 0..6 {
        let key = if round % 2 == 0 { "/conformance/70" } else { "/conformance/7/a" };
        let written = subject.writer.txn(vec![put(key, &format!("{round}"))]).await;
        request_progress(item, subject).await?;
        // What must come is item 4's and item 9's matter; here it is whether what comes is true.
        while let Ok(Some(event)) = timeout(ASK_AGAIN, events.next()).await {
            let event = item.ok("watch", event)?;
            reached = check_order(item, &event, reached, written)?;
            if reached == written {
                break;
            }
        }
    }
    Ok(())
}

/// What a watch that had reached `reached` has reached after `event`, while the store is at `last`.
fn check_order(item: Item, event: &SourceEvent, reached: u64, last: u64) -> Result<u64, Violation> {
    match event {
        SourceEvent::Revision(revision) => {
            let number = revision.revision;
            item.holds(number > reached, || format!("revision {number} after {reached}"))?;
            Ok(number)
        }
        SourceEvent::Progress(progress) => {
            item.holds((reached.max(1)..=last).contains(progress), || {
                format!("progress {progress} after {reached}, while the store is at {last}")
            })?;
            Ok(*progress)
        }
    }
}

/// Item 8: a current revision is neither old nor ahead.
///
/// # Errors
///
/// The violation found.
pub async fn current_revision(subject: &Subject) -> Checked {
    let item = Item("8");
    for round in 0..5 {
        let written = subject.writer.txn(vec![put("/conformance/8", &format!("{round}"))]).await;
        let Some(answer) = ask(item, subject).await? else { return Ok(()) };
        item.eq("the current revision after a write", answer, written)?;
    }
    Ok(())
}

/// Item 9: a watch reaches each current revision, on its own or on request.
///
/// # Errors
///
/// The violation found.
pub async fn watch_reaches(subject: &Subject) -> Checked {
    let item = Item("9");
    let prefix = Bytes::from("/conformance/9/");
    let start = subject.writer.txn(vec![put("/conformance/9/a", "0")]).await;
    let mut events = watch(item, subject, &prefix, start).await?;
    for key in ["/conformance/90", "/conformance/9/a", "/conformance/90"] {
        subject.writer.txn(vec![put(key, "1")]).await;
        let Some(current) = ask(item, subject).await? else { return Ok(()) };
        reach(item, subject, &mut events, current).await?;
    }
    Ok(())
}

/// Item 10: nothing follows an error.
///
/// # Errors
///
/// The violation found.
pub async fn an_error_is_last(subject: &Subject) -> Checked {
    let item = Item("10");
    let prefix = Bytes::from("/conformance/10/");
    let (first, _) = compacted(subject, "/conformance/10/a").await;
    let Ok(mut events) = subject.source.watch(&prefix, first).await else { return Ok(()) };
    loop {
        match timeout(PATIENCE, events.next()).await {
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_))) => break,
            // That there is an error is item 6's matter.
            Ok(None) | Err(_) => return Ok(()),
        }
    }
    let after = timeout(PATIENCE, events.next()).await;
    item.holds(matches!(after, Ok(None)), || format!("after an error comes {after:?}"))
}

/// Reads until the watch has reached `current`, asking for progress where that is needed.
async fn reach(item: Item, subject: &Subject, events: &mut Events, current: u64) -> Checked {
    let patience = Instant::now() + PATIENCE;
    loop {
        request_progress(item, subject).await?;
        while let Ok(event) = timeout(ASK_AGAIN, events.next()).await {
            let event = event.ok_or_else(|| item.violated("the watch ended".to_owned()))?;
            let reached = match item.ok("watch", event)? {
                SourceEvent::Revision(revision) => revision.revision,
                SourceEvent::Progress(revision) => revision,
            };
            if reached >= current {
                return Ok(());
            }
        }
        item.holds(Instant::now() < patience, || format!("the watch does not reach {current}"))?;
    }
}

/// Writes some revisions of `key`, and compacts all but the last.
async fn compacted(subject: &Subject, key: &str) -> (u64, u64) {
    let first = subject.writer.txn(vec![put(key, "1")]).await;
    subject.writer.txn(vec![put(key, "2")]).await;
    let last = subject.writer.txn(vec![put(key, "3")]).await;
    subject.writer.compact(last).await;
    (first, last)
}

/// The kind of the error that a watch begins with; none if it begins otherwise.
async fn first_error(subject: &Subject, prefix: &Bytes, after: u64) -> Option<ErrorKind> {
    let mut events = match subject.source.watch(prefix, after).await {
        Ok(events) => events,
        Err(error) => return Some(error.kind()),
    };
    let first = timeout(PATIENCE, events.next()).await.ok()??;
    first.err().map(|error| error.kind())
}

async fn ask(item: Item, subject: &Subject) -> Result<Option<u64>, Violation> {
    let answer = match subject.source.freshness() {
        Freshness::Pushed(source) => source.current_revision().await,
        Freshness::OnRequest(source) => source.current_revision().await,
        Freshness::ListOnly => return Ok(None),
    };
    item.ok("current revision", answer).map(Some)
}

async fn request_progress(item: Item, subject: &Subject) -> Checked {
    match subject.source.freshness() {
        Freshness::OnRequest(source) => {
            item.ok("request for progress", source.request_progress().await)
        }
        Freshness::Pushed(_) | Freshness::ListOnly => Ok(()),
    }
}

async fn list_of(
    subject: &Subject,
    prefix: &Bytes,
    at: Option<u64>,
) -> Result<(u64, Vec<Arc<Object>>), Error> {
    let listing = subject.source.list(prefix, at).await?;
    let batches: Vec<_> = listing.objects.try_collect().await?;
    Ok((listing.revision, batches.concat()))
}

async fn list(
    item: Item,
    subject: &Subject,
    prefix: &Bytes,
    at: Option<u64>,
) -> Result<(u64, Vec<Arc<Object>>), Violation> {
    item.ok("list", list_of(subject, prefix, at).await)
}

async fn watch(
    item: Item,
    subject: &Subject,
    prefix: &Bytes,
    after: u64,
) -> Result<Events, Violation> {
    item.ok("watch", subject.source.watch(prefix, after).await)
}

/// The next `count` revisions of a watch.
async fn revisions(
    item: Item,
    events: &mut Events,
    count: usize,
) -> Result<Vec<Revision>, Violation> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let Ok(Some(event)) = timeout(PATIENCE, events.next()).await else {
            let message = format!("of {count} revisions only {:?} came", numbers(&seen));
            return Err(item.violated(message));
        };
        if let SourceEvent::Revision(revision) = item.ok("watch", event)? {
            seen.push(revision);
        }
    }
    Ok(seen)
}

fn numbers(revisions: &[Revision]) -> Vec<u64> {
    revisions.iter().map(|revision| revision.revision).collect()
}

fn put(key: &str, value: &str) -> Write {
    Write::Put(Bytes::from(key.to_owned()), Bytes::from(value.to_owned()))
}

fn delete(key: &str) -> Write {
    Write::Delete(Bytes::from(key.to_owned()))
}

fn changed(key: &str, value: &str, create_revision: u64, mod_revision: u64) -> Change {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Change::Put(Arc::new(Object { key, value, create_revision, mod_revision }))
}

/// The number of the item that a check is about.
#[derive(Clone, Copy)]
struct Item(&'static str);

impl Item {
    fn violated(self, seen: String) -> Violation {
        Violation { item: self.0, seen }
    }

    fn holds(self, holds: bool, seen: impl FnOnce() -> String) -> Checked {
        if holds { Ok(()) } else { Err(self.violated(seen())) }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is called with temporaries")]
    fn eq<T: PartialEq + fmt::Debug>(self, what: &str, seen: T, expected: T) -> Checked {
        self.holds(seen == expected, || format!("{what}: {seen:?}, not {expected:?}"))
    }

    fn ok<T>(self, call: &str, result: Result<T, Error>) -> Result<T, Violation> {
        result.map_err(|error| self.violated(format!("{call} fails: {error}")))
    }

    fn fails<T>(
        self,
        what: &str,
        result: Result<T, Error>,
        expected: impl Fn(ErrorKind) -> bool,
    ) -> Checked {
        let kind = result.err().map(|error| error.kind());
        self.holds(kind.is_some_and(expected), || format!("{what} ends with {kind:?}"))
    }
}

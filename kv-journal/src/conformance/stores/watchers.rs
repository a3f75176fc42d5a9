//! What watchers see.

use futures_util::StreamExt;

use super::super::{Checked, Item, Violation};
use crate::core::{EventKind, KeyRange, Op, PutRequest, Txn};
use crate::error::ErrorKind;
use crate::kv_store::{KvStore, Watching};
use crate::store::{WatchMessage, WatchRequest};

/// One revision as a watcher is told of it: its keys, with a `-` before those that are gone.
type Told = (u64, Vec<String>);

async fn next(item: Item, watching: &mut Watching) -> Result<WatchMessage, Violation> {
    match watching.messages.next().await {
        Some(message) => item.ok("a message", message),
        None => Err(item.violation("the stream has ended".to_owned())),
    }
}

async fn create(
    item: Item,
    watching: &mut Watching,
    request: WatchRequest,
) -> Result<i64, Violation> {
    let watch_id = item.ok("create", watching.desk.create(request))?;
    match next(item, watching).await? {
        WatchMessage::Created { watch_id: created, .. } if created == watch_id => Ok(watch_id),
        other => Err(item.violation(format!("{other:?} instead of the creation of {watch_id}"))),
    }
}

/// The next revision that a watcher is told of.
async fn batch(item: Item, watching: &mut Watching, of: i64) -> Result<Told, Violation> {
    match next(item, watching).await? {
        WatchMessage::Events { watch_id, batch } if watch_id == of && !batch.more => {
            let keys = batch.events.iter().map(|event| {
                let gone = if event.kind == EventKind::Delete { "-" } else { "" };
                format!("{gone}{}", String::from_utf8_lossy(event.kv.key()))
            });
            Ok((batch.revision, keys.collect()))
        }
        other => Err(item.violation(format!("{other:?} instead of events of watcher {of}"))),
    }
}

fn told(revision: u64, keys: &[&str]) -> Told {
    (revision, keys.iter().map(|&key| key.to_owned()).collect())
}

/// Item 5: a watcher is told of every revision, whole, once and in order.
///
/// # Errors
/// The violation found.
pub async fn watchers(store: &dyn KvStore) -> Checked {
    let item = Item("5");
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2")] {
        item.ok("put", store.put(PutRequest::new(key, value)).await)?;
    }
    let txn = Txn::new().then(Op::put("a", "3")).then(Op::put("c", "1"));
    let txn = txn.then(Op::delete(KeyRange::key("b")));
    item.ok("txn", store.txn(txn).await)?;
    whole_revisions(item, store).await?;
    filters(item, store).await?;
    what_is_to_come(item, store).await?;
    numbers(item, store).await?;
    progress(item, store).await?;
    compaction(item, store).await
}

async fn whole_revisions(item: Item, store: &dyn KvStore) -> Checked {
    let mut watching = item.ok("watch_stream", store.watch_stream().await)?;
    let from_two = WatchRequest::new(KeyRange::all()).from_revision(2);
    let all = create(item, &mut watching, from_two).await?;
    for expected in [told(2, &["a"]), told(3, &["b"]), told(4, &["a"]), told(5, &["a", "c", "-b"])]
    {
        item.eq("a past revision", batch(item, &mut watching, all).await?, expected)?;
    }
    for value in 0..20_u64 {
        item.ok("put", store.put(PutRequest::new("a", format!("{value}"))).await)?;
    }
    for revision in 6..26 {
        let expected = told(revision, &["a"]);
        item.eq("a new revision", batch(item, &mut watching, all).await?, expected)?;
    }
    Ok(())
}

async fn filters(item: Item, store: &dyn KvStore) -> Checked {
    let mut watching = item.ok("watch_stream", store.watch_stream().await)?;
    let deletes = WatchRequest::new(KeyRange::all()).from_revision(2).no_put();
    let watch_id = create(item, &mut watching, deletes).await?;
    let message = next(item, &mut watching).await?;
    let WatchMessage::Events { batch: first, .. } = &message else {
        return Err(item.violation(format!("{message:?} instead of a delete")));
    };
    let before: Vec<_> = first.events.iter().map(|event| event.prev_kv.clone()).collect();
    let before: Vec<_> = before.iter().flatten().map(|kv| (kv.key(), kv.value())).collect();
    item.eq("what was there before", before, vec![(&b"b"[..], &b"1"[..])])?;
    item.eq("its number", watching.desk.cancel(watch_id), true)?;
    item.eq("a second cancellation", watching.desk.cancel(watch_id), false)?;
    let puts = WatchRequest::new(KeyRange::range("a", "c")).from_revision(5).no_delete();
    let mut other = item.ok("watch_stream", store.watch_stream().await)?;
    let watch_id = create(item, &mut other, puts).await?;
    item.eq("puts alone", batch(item, &mut other, watch_id).await?, told(5, &["a"]))?;
    match next(item, &mut watching).await? {
        WatchMessage::Canceled { reason: None, .. } => Ok(()),
        message => Err(item.violation(format!("{message:?} instead of an end"))),
    }
}

async fn what_is_to_come(item: Item, store: &dyn KvStore) -> Checked {
    let mut watching = item.ok("watch_stream", store.watch_stream().await)?;
    let now = create(item, &mut watching, WatchRequest::new(KeyRange::key("a"))).await?;
    let put = item.ok("put", store.put(PutRequest::new("a", "now")).await)?;
    item.eq("the next one", batch(item, &mut watching, now).await?, told(put.revision, &["a"]))?;
    let later = WatchRequest::new(KeyRange::key("a")).from_revision(put.revision + 3);
    let later = create(item, &mut watching, later).await?;
    for _ in 0..2 {
        let put = item.ok("put", store.put(PutRequest::new("a", "later")).await)?;
        item.eq("of now", batch(item, &mut watching, now).await?, told(put.revision, &["a"]))?;
    }
    let put = item.ok("put", store.put(PutRequest::new("a", "later")).await)?;
    let heard = two_batches(item, &mut watching).await?;
    item.eq("of both", heard, in_order([(now, put.revision), (later, put.revision)]))
}

/// Who hears of which revision next, of two of whom either may be first.
async fn two_batches(item: Item, watching: &mut Watching) -> Result<[(i64, u64); 2], Violation> {
    let mut heard = [(0, 0); 2];
    for heard in &mut heard {
        match next(item, watching).await? {
            WatchMessage::Events { watch_id, batch } => *heard = (watch_id, batch.revision),
            message => return Err(item.violation(format!("{message:?} instead of events"))),
        }
    }
    Ok(in_order(heard))
}

fn in_order(mut heard: [(i64, u64); 2]) -> [(i64, u64); 2] {
    heard.sort_unstable();
    heard
}

async fn numbers(item: Item, store: &dyn KvStore) -> Checked {
    let mut watching = item.ok("watch_stream", store.watch_stream().await)?;
    let chosen = WatchRequest::new(KeyRange::key("d")).watch_id(77);
    let number = create(item, &mut watching, chosen.clone()).await?;
    item.eq("the number that was chosen", number, 77)?;
    let again = watching.desk.create(chosen.clone()).map(drop);
    item.fails("a number that is taken", again, ErrorKind::Invalid)?;
    let empty = watching.desk.create(WatchRequest::new(KeyRange::range("b", "a"))).map(drop);
    item.fails("an empty range", empty, ErrorKind::Invalid)?;
    watching.desk.cancel(77);
    match next(item, &mut watching).await? {
        WatchMessage::Canceled { watch_id: 77, reason: None, .. } => {}
        message => return Err(item.violation(format!("{message:?} instead of the end of 77"))),
    }
    let number = create(item, &mut watching, chosen).await?;
    item.eq("a number that is free again", number, 77)?;
    // Two watchers of one key, and one of another.
    let second = create(item, &mut watching, WatchRequest::new(KeyRange::key("d"))).await?;
    create(item, &mut watching, WatchRequest::new(KeyRange::key("e"))).await?;
    let put = item.ok("put", store.put(PutRequest::new("d", "1")).await)?;
    let heard = two_batches(item, &mut watching).await?;
    item.eq("who heard of a put", heard, in_order([(77, put.revision), (second, put.revision)]))
}

async fn progress(item: Item, store: &dyn KvStore) -> Checked {
    let mut watching = item.ok("watch_stream", store.watch_stream().await)?;
    let quiet = WatchRequest::new(KeyRange::key("nobody")).progress_on_advance();
    let quiet = create(item, &mut watching, quiet).await?;
    let put = item.ok("put", store.put(PutRequest::new("a", "progress")).await)?;
    loop {
        match next(item, &mut watching).await? {
            WatchMessage::Progress { watch_id, revision } if watch_id == Some(quiet) => {
                item.eq("progress", revision, put.revision)?;
                break;
            }
            WatchMessage::Progress { .. } => {}
            message => return Err(item.violation(format!("{message:?} instead of progress"))),
        }
    }
    watching.desk.request_progress();
    match next(item, &mut watching).await? {
        WatchMessage::Progress { watch_id: None, revision } => {
            item.eq("the progress of all", revision, put.revision)
        }
        message => Err(item.violation(format!("{message:?} instead of progress of all"))),
    }
}

async fn compaction(item: Item, store: &dyn KvStore) -> Checked {
    item.ok("compact", store.compact(6).await)?;
    let mut watching = item.ok("watch_stream", store.watch_stream().await)?;
    let old = WatchRequest::new(KeyRange::key("a")).from_revision(5);
    let old = create(item, &mut watching, old).await?;
    let expected = ErrorKind::Compacted { compact_revision: 6 };
    match next(item, &mut watching).await? {
        WatchMessage::Canceled { watch_id, reason: Some(reason), .. } if watch_id == old => {
            item.eq("the reason", reason.kind(), expected)?;
        }
        message => return Err(item.violation(format!("{message:?} instead of an end"))),
    }
    let request = WatchRequest::new(KeyRange::key("a")).from_revision(6);
    let kept = create(item, &mut watching, request).await?;
    item.eq("what is kept", batch(item, &mut watching, kept).await?, told(6, &["a"]))
}

//! One check for each item of the contract.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::probe::{
    ASK_AGAIN, Item, PATIENCE, ask, changed, compacted, delete, first_error, list, list_of,
    numbers, put, reach, request_progress, revisions, watch,
};
use super::{Checked, Subject, Violation};
use crate::core::digest::Digest;
use crate::error::ErrorKind;
use crate::object::Change;
use crate::source::{Events, SourceEvent};

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
    let outside = ["/conformance/2", "/conformance/20", "/conformance/2~/z"];
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

/// Item 6: a watch that starts in compacted history says so, and so does one that was still to read
/// what is compacted: it does not go on behind that.
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
    item.eq("what a watch after the compaction delivers", numbers(&seen), vec![next])?;
    let slow = watch(item, subject, &prefix, next).await?;
    let mut written = Vec::new();
    for round in 0..4 {
        written.push(subject.writer.txn(vec![put("/conformance/6/a", &format!("{round}"))]).await);
    }
    subject.writer.compact(written[2]).await;
    whole_or_expired(item, slow, &written).await?;
    let deleted = subject.writer.txn(vec![delete("/conformance/6/a")]).await;
    subject.writer.compact(deleted).await;
    let next = subject.writer.txn(vec![put("/conformance/6/b", "next")]).await;
    // It begins with what was compacted last.
    match subject.source.watch(&prefix, deleted - 1).await {
        Ok(events) => whole_or_expired(item, events, &[deleted, next]).await,
        Err(error) => item.fails::<()>("a watch from the compacted revision", Err(error), |kind| {
            matches!(kind, ErrorKind::Expired { .. })
        }),
    }
}

/// Whether a watch delivers these revisions, as far as it does not say that it cannot.
async fn whole_or_expired(item: Item, mut events: Events, expected: &[u64]) -> Checked {
    for expected in expected {
        let seen = loop {
            match timeout(PATIENCE, events.next()).await {
                Ok(Some(Ok(SourceEvent::Revision(revision)))) => break Some(revision.revision),
                Ok(Some(Ok(SourceEvent::Progress(_)))) => {}
                Ok(Some(Err(error))) if matches!(error.kind(), ErrorKind::Expired { .. }) => {
                    return Ok(());
                }
                _ => break None,
            }
        };
        item.eq("what a watch tells that began before it", seen, Some(*expected))?;
    }
    Ok(())
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
    let mut last = reached;
    for round in 0..6 {
        let key = if round % 2 == 0 { "/conformance/70" } else { "/conformance/7/a" };
        last = subject.writer.txn(vec![put(key, &format!("{round}"))]).await;
        request_progress(item, subject).await?;
        // What must come is item 4's and item 9's matter; here it is whether what comes is true.
        while let Ok(Some(event)) = timeout(ASK_AGAIN, events.next()).await {
            let event = item.ok("watch", event)?;
            reached = check_order(item, &event, reached, last)?;
            if reached == last {
                break;
            }
        }
    }
    // What was overtaken comes late. There may be progress without an end.
    let patience = Instant::now() + 5 * ASK_AGAIN;
    while Instant::now() < patience
        && let Ok(Some(event)) = timeout(ASK_AGAIN, events.next()).await
    {
        reached = check_order(item, &item.ok("watch", event)?, reached, last)?;
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

/// Item 11: a digest, where there is one, is that of what is there.
///
/// # Errors
///
/// The violation found.
pub async fn digest_is_true(subject: &Subject) -> Checked {
    let item = Item("11");
    let prefixes = [Bytes::from("/conformance/11/a/"), Bytes::from("/conformance/11/b/")];
    for round in 0..8 {
        let key = if round % 2 == 0 { "/conformance/11/a/" } else { "/conformance/11/b/" };
        let written = match round {
            6 => subject.writer.txn(vec![delete("/conformance/11/b/1")]).await,
            7 => subject.writer.txn(vec![put("/conformance/11/c", "beside")]).await,
            _ => subject.writer.txn(vec![put(&format!("{key}{round}"), "1")]).await,
        };
        let Some(told) = item.ok("digest", subject.source.digest(&prefixes).await)? else {
            return Ok(());
        };
        item.holds(told.revision >= written, || {
            format!("a digest at {} after a write at {written} was acknowledged", told.revision)
        })?;
        let mut digest = Digest::default();
        for prefix in &prefixes {
            let (_, objects) = list(item, subject, prefix, Some(told.revision)).await?;
            for object in objects {
                digest.add(&object.key, object.mod_revision);
            }
        }
        item.eq("the digest", told.digest, digest)?;
    }
    Ok(())
}

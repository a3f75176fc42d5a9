//! Lists: page by page, all of them at the revision of the first.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::calls::{Calls, bounds};
use super::failure::{Next, corrupt, too_large};
use super::messages::{KeyValue, RangeRequest, RangeResponse, revision_of, signed, unsigned};
use crate::core::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::object::SourceObject;
use crate::source::{Listing, RevisionDigest};

/// Objects of the first page, of whose size nothing is known.
const FIRST_PAGE: usize = 500;

/// What of the objects is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Keys,
}

pub(super) async fn list(calls: Arc<Calls>, prefix: Bytes, at: Option<u64>) -> Result<Listing> {
    read(calls, prefix, at, Part::All).await
}

/// The digest of all prefixes, at the revision of the first; none of no prefixes.
pub(super) async fn digest(
    calls: &Arc<Calls>,
    prefixes: &[Bytes],
) -> Result<Option<RevisionDigest>> {
    let mut digest = Digest::default();
    let mut at = None;
    for prefix in prefixes {
        let mut listing = read(Arc::clone(calls), prefix.clone(), at, Part::Keys).await?;
        at = Some(listing.revision);
        while let Some(objects) = listing.objects.try_next().await? {
            for object in objects {
                digest.add(&object.key, object.mod_revision);
            }
        }
    }
    Ok(at.map(|revision| RevisionDigest { revision, digest }))
}

async fn read(calls: Arc<Calls>, prefix: Bytes, at: Option<u64>, part: Part) -> Result<Listing> {
    match at {
        Some(0) => {
            let message = "there is no revision 0: list at 1 or later";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Some(at) if i64::try_from(at).is_err() => {
            return Err(too_large(at, calls.current_revision(&prefix).await?));
        }
        _ => {}
    }
    let (next, end) = bounds(&prefix);
    let page = FIRST_PAGE.min(calls.config.page_objects);
    let revision = at.unwrap_or(0);
    let mut pages = Pages { calls, prefix, part, next, end, revision, page, more: true };
    let first = pages.next().await?;
    let revision = pages.revision;
    let rest = stream::unfold(pages, |mut pages| async {
        if !pages.more {
            return None;
        }
        let page = pages.next().await;
        pages.more &= page.is_ok();
        Some((page, pages))
    });
    Ok(Listing { revision, objects: stream::iter([Ok(first)]).chain(rest).boxed() })
}

struct Pages {
    calls: Arc<Calls>,
    prefix: Bytes,
    part: Part,
    /// What is still to be read.
    next: Bytes,
    end: Bytes,
    /// 0 until the first page says which.
    revision: u64,
    /// Objects of the next page.
    page: usize,
    more: bool,
}

impl Pages {
    async fn next(&mut self) -> Result<Vec<SourceObject>> {
        let answer = self.read().await?;
        if self.revision == 0 {
            self.revision = revision_of(answer.header.as_ref());
        }
        self.more = answer.more;
        let bytes: usize = answer.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        let objects: Vec<SourceObject> = answer.kvs.into_iter().map(object).collect();
        match objects.last() {
            Some(last) => self.next = [&last.key[..], b"\0"].concat().into(),
            None if self.more => return Err(corrupt("a page has no objects, and more follow")),
            None => {}
        }
        self.page = self.page_after(objects.len(), bytes);
        Ok(objects)
    }

    async fn read(&mut self) -> Result<RangeResponse> {
        loop {
            let request = RangeRequest {
                key: self.next.clone(),
                range_end: self.end.clone(),
                limit: i64::try_from(self.page).unwrap_or(i64::MAX),
                revision: signed(self.revision),
                keys_only: self.part == Part::Keys,
                count_only: false,
            };
            match self.calls.range(request).await {
                Ok((answer, _)) => return Ok(answer),
                Err(failure) if failure.next == Next::Smaller && self.page > 1 => self.page /= 2,
                Err(failure) => {
                    let explained =
                        self.calls.explained(failure.error, &self.prefix, self.revision);
                    return Err(explained.await);
                }
            }
        }
    }

    /// As many objects as fill a page if they are like the last ones, and at most twice as many as
    /// those: if they are not, the server has to make it nevertheless.
    fn page_after(&self, objects: usize, bytes: usize) -> usize {
        let config = &self.calls.config;
        let each = bytes.div_ceil(objects.max(1)).max(1);
        (config.page_bytes / each).clamp(1, config.page_objects.min(2 * self.page))
    }
}

pub(super) fn object(kv: KeyValue) -> SourceObject {
    SourceObject {
        key: kv.key,
        value: kv.value,
        create_revision: unsigned(kv.create_revision),
        mod_revision: unsigned(kv.mod_revision),
    }
}

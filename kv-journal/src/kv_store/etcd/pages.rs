//! A range in chunks: as the server streams them, or page by page where it cannot.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tonic::Streaming;

use super::calls::Calls;
use super::failure::{Effect, Failure, is_unimplemented};
use crate::config::ChunkLimits;
use crate::core::{
    KEY_OVERHEAD, KeyRange, KeyValue, RangeChunk, RangeRequest, RangeSummary, check_streamable,
};
use crate::error::Result;
use crate::etcd_api::etcdserverpb::RangeStreamResponse;
use crate::etcd_api::{range_answer, range_message, revision_of};
use crate::kv_store::{Consistency, RangeChunks};

/// Keys of the first page, of whose size nothing is known: as many as Kubernetes lists at a time.
const FIRST_PAGE: usize = 500;

impl Calls {
    pub(super) async fn range_stream(
        &self,
        request: RangeRequest,
        consistency: Consistency,
        limits: ChunkLimits,
    ) -> Result<RangeChunks> {
        limits.check()?;
        check_streamable(&request)?;
        let message = range_message(&request, consistency);
        let client = self.kv();
        let call =
            move |channel, request| async move { client(channel).range_stream(request).await };
        match self.call(Effect::Reads, message, call).await {
            Ok(answers) => Ok(Box::pin(streamed(self.clone(), answers))),
            Err(error) if is_unimplemented(&error) => {
                self.paged(request, consistency, limits).await
            }
            Err(error) => {
                Err(self.explained(error, &request.range, request.revision.saturating_add(1)).await)
            }
        }
    }

    /// The first page decides at which revision the others are read.
    async fn paged(
        &self,
        request: RangeRequest,
        consistency: Consistency,
        limits: ChunkLimits,
    ) -> Result<RangeChunks> {
        let page = limits.keys.min(FIRST_PAGE);
        let mut pages = Pages {
            calls: self.clone(),
            left: if request.limit == 0 { usize::MAX } else { request.limit },
            request,
            consistency,
            limits,
            page,
            summary: None,
        };
        let first = pages.next().await?;
        let rest = stream::unfold(pages.unless_after(&first), |pages| async {
            let mut pages = pages?;
            let chunk = pages.next().await;
            let rest = chunk.as_ref().ok().and_then(|chunk| pages.unless_after(chunk));
            Some((chunk, rest))
        });
        Ok(Box::pin(stream::iter([Ok(first)]).chain(rest)))
    }
}

/// What a server streams. Of the range as a whole it speaks when it has all of it.
fn streamed(
    calls: Calls,
    answers: Streaming<RangeStreamResponse>,
) -> impl futures_core::Stream<Item = Result<RangeChunk>> + Send {
    let begun = Some((answers, RangeSummary::default()));
    stream::unfold((calls, begun), |(calls, streaming)| async move {
        let (mut answers, mut summary) = streaming?;
        match answers.message().await {
            Ok(Some(answer)) => {
                let part = answer.range_response.unwrap_or_default();
                summary.revision = summary.revision.max(revision_of(part.header.as_ref()));
                let part = range_answer(part, 0);
                summary.more |= part.more;
                summary.count = summary.count.max(part.count);
                let chunk = RangeChunk { kvs: part.kvs, summary: None };
                Some((Ok(chunk), (calls, Some((answers, summary)))))
            }
            Ok(None) => {
                calls.saw(summary.revision);
                let end = RangeChunk { kvs: Vec::new(), summary: Some(summary) };
                Some((Ok(end), (calls, None)))
            }
            Err(status) => {
                let failure = Failure::of(status, Effect::Reads);
                Some((Err(failure.error), (calls, None)))
            }
        }
    })
}

/// A range that is read page by page.
struct Pages {
    calls: Calls,
    /// What is still to be read.
    request: RangeRequest,
    consistency: Consistency,
    limits: ChunkLimits,
    /// Keys that may still be given.
    left: usize,
    /// Keys of the next page.
    page: usize,
    /// What the first page said.
    summary: Option<RangeSummary>,
}

impl Pages {
    fn unless_after(self, chunk: &RangeChunk) -> Option<Self> {
        chunk.summary.is_none().then_some(self)
    }

    async fn next(&mut self) -> Result<RangeChunk> {
        let wanted = self.page.min(self.left);
        let request = self.request.clone().limit(if self.request.count_only { 0 } else { wanted });
        let answer = self.calls.range(request, self.consistency).await?;
        let summary = *self.summary.get_or_insert(RangeSummary {
            revision: answer.revision,
            count: answer.count,
            more: false,
        });
        if self.request.revision == 0 {
            // A page may be read of any member that has come so far.
            self.request.revision = answer.revision;
        }
        self.left = self.left.saturating_sub(answer.kvs.len());
        let ends = !answer.more || self.left == 0 || answer.kvs.is_empty();
        if let Some(last) = answer.kvs.last() {
            self.page = self.page_after(&answer.kvs);
            self.request.range = after(&self.request.range, last.key());
        }
        let whole = RangeSummary { more: answer.more, ..summary };
        Ok(RangeChunk { kvs: answer.kvs, summary: ends.then_some(whole) })
    }

    /// As many keys as fill a chunk if they are like the last ones.
    fn page_after(&self, kvs: &[KeyValue]) -> usize {
        let size = |kv: &KeyValue| kv.key().len() + kv.value().len() + KEY_OVERHEAD;
        let each = kvs.iter().map(size).sum::<usize>().div_ceil(kvs.len().max(1)).max(1);
        (self.limits.bytes / each).clamp(1, self.limits.keys)
    }
}

/// The part of a range that is above a key.
fn after(range: &KeyRange, key: &[u8]) -> KeyRange {
    let next = Bytes::from([key, b"\0"].concat());
    match range.end_key() {
        Some(end) => KeyRange::range(next, end.clone()),
        None => KeyRange::from(next),
    }
}

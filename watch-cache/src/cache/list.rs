//! Lists: at any revision, from an index, in pages.

use std::sync::Arc;

use arc_swap::Guard;
use bytes::Bytes;

use super::Cache;
use super::feed::yield_now;
use crate::core::object::Object;
use crate::core::past::Lost;
use crate::core::predicate::Predicate;
use crate::core::root::{JUDGED, Root};
use crate::core::selector::Selector;
use crate::core::token::ContinueToken;
use crate::core::view::View;
use crate::error::{Error, ErrorKind, Result};

/// The revision that a list is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum At {
    /// One that holds every write acknowledged before the call.
    #[default]
    Consistent,
    /// The current one of the cache, however old.
    Any,
    /// This one or a later one.
    AtLeast(u64),
    /// This one.
    Exactly(u64),
}

/// What to list.
///
/// ```
/// use watch_cache::{At, ListRequest};
///
/// let request = ListRequest::new("/pods/").index("spec.nodeName", "n1").at(At::Any).limit(500);
/// assert_eq!(request.limit, Some(500));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListRequest {
    /// The keys to list start with it.
    pub prefix: Bytes,
    /// What to select among them.
    pub selector: Selector,
    /// The revision to show.
    pub at: At,
    /// The most objects to return; all without it.
    pub limit: Option<usize>,
    /// Where to go on; `at` must then be left at its default, since the token has the revision.
    pub continue_token: Option<ContinueToken>,
}

impl ListRequest {
    /// A consistent list of all under `prefix`.
    pub fn new(prefix: impl Into<Bytes>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// Only objects with `value` in the index `name`.
    #[must_use]
    pub fn index(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.selector = self.selector.index(name, value);
        self
    }

    /// Only what this selects.
    #[must_use]
    pub fn select(mut self, selector: Selector) -> Self {
        self.selector = selector;
        self
    }

    /// At this revision.
    #[must_use]
    pub fn at(mut self, at: At) -> Self {
        self.at = at;
        self
    }

    /// At most `limit` objects, and a token to go on with.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The page after the one that gave `token`, at the same revision.
    #[must_use]
    pub fn continue_from(mut self, token: ContinueToken) -> Self {
        self.continue_token = Some(token);
        self
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListResponse {
    /// The revision that the page is exact for.
    pub revision: u64,
    /// The objects in the order of their keys.
    pub objects: Vec<Object>,
    /// The way to the next page; none on the last. With a selector that is not answered by an index
    /// alone the last page may be empty.
    pub continue_token: Option<ContinueToken>,
    /// How many objects follow this page. Unknown if there are more pages and the selector is not
    /// answered by an index alone, or the list is at an older revision that was not the newest when
    /// it was begun.
    pub remaining: Option<usize>,
}

impl Cache {
    /// Lists objects at one revision.
    ///
    /// A page costs `O(log n + page)`, whatever the revision: of an older one each object that was
    /// written since also costs a search in its retained versions, and those are passed by that
    /// were not there yet or are not any more.
    ///
    /// Of a selector the first value that an index has is looked up, and the rest is judged object
    /// by object: the page then costs what is judged for it, which without an index is all under
    /// the prefix. Other tasks have their turn meanwhile.
    ///
    /// # Errors
    ///
    /// `Invalid` if the request is not within the cache's prefixes, names no index, selects what
    /// only a codec could tell and there is none, has a limit of 0, or a token that is of another
    /// list or comes with a revision; `Expired` if the exact revision is not retained; `TooLarge`
    /// if the revision was not reached in time; `Unavailable` if the source did not say in time how
    /// new the cache is; `Exhausted` if too many wait already; `Closed` if the driver is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn list(&self, request: ListRequest) -> Result<ListResponse> {
        let (predicate, at) = self.planned(&request)?;
        let mut view = self.view_at(at).await?;
        let page = Page { predicate, token: request.continue_token, limit: request.limit };
        loop {
            let listed = match at {
                At::Exactly(revision) => {
                    view.check(revision)?;
                    page.at(&view.root, revision).await
                }
                _ if page.predicate.filter.is_some() => {
                    // It takes longer, and is not begun again.
                    let (view, _pin) = self.shared.pinned();
                    page.filtered(&view.root, view.revision).await
                }
                _ => page.newest(&view.root, view.revision),
            };
            if let Ok(listed) = listed {
                return Ok(listed);
            }
            // It left the log while it was read. What came after it is there.
            view = Guard::into_inner(self.shared.view());
        }
    }

    /// What a request selects, and of which revision.
    pub(super) fn planned(&self, request: &ListRequest) -> Result<(Predicate, At)> {
        self.shared.check_open()?;
        let predicate = self.predicate(request.prefix.clone(), request.selector.clone())?;
        if request.limit == Some(0) {
            return Err(invalid("list: a limit of 0 shows nothing: leave it out for all"));
        }
        let at = match &request.continue_token {
            None => request.at,
            Some(_) if request.at != At::default() => {
                return Err(invalid("list: a continue token has its revision: leave `at` out"));
            }
            Some(token) => {
                token.check(&predicate)?;
                At::Exactly(token.revision())
            }
        };
        Ok((predicate, at))
    }

    /// The state to list from.
    pub(super) async fn view_at(&self, at: At) -> Result<Arc<View>> {
        match at {
            At::Any => self.wait_for(0).await?,
            At::AtLeast(revision) | At::Exactly(revision) => self.wait_for(revision).await?,
            At::Consistent => self.wait_fresh().await?,
        }
        Ok(Guard::into_inner(self.shared.view()))
    }
}

/// The part of a list that is asked for.
struct Page {
    predicate: Predicate,
    token: Option<ContinueToken>,
    limit: Option<usize>,
}

impl Page {
    fn after(&self) -> Option<&Bytes> {
        self.token.as_ref().map(ContinueToken::after)
    }

    /// Of the state that `root` is, or of one before.
    async fn at(&self, root: &Root, revision: u64) -> Result<ListResponse, Lost> {
        if self.predicate.filter.is_some() {
            self.filtered(root, revision).await
        } else if revision >= root.revision {
            self.newest(root, revision)
        } else {
            self.past(root, revision)
        }
    }

    fn newest(&self, root: &Root, revision: u64) -> Result<ListResponse, Lost> {
        let part = root.select(&self.predicate, self.after());
        let count = part.len();
        let size = self.limit.unwrap_or(count).min(count);
        let mut objects = Vec::with_capacity(size);
        for object in part.take(size) {
            objects.push(object?);
        }
        let remaining = count - objects.len();
        Ok(self.response(revision, objects, remaining > 0, Some(remaining)))
    }

    fn past(&self, root: &Root, revision: u64) -> Result<ListResponse, Lost> {
        let mut part = root.select_at(&self.predicate, self.after(), revision);
        let limit = self.limit.unwrap_or(usize::MAX);
        let objects = part.by_ref().take(limit).collect::<Result<Vec<_>, Lost>>()?;
        let more = part.next().transpose()?.is_some();
        let before = self.token.as_ref().and_then(ContinueToken::remaining);
        let remaining =
            if more { before.map(|before| before.saturating_sub(objects.len())) } else { Some(0) };
        Ok(self.response(revision, objects, more, remaining))
    }

    /// What a filter takes. How much of the rest it would take is not known.
    async fn filtered(&self, root: &Root, revision: u64) -> Result<ListResponse, Lost> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut objects = Vec::new();
        let mut after = self.after().cloned();
        loop {
            let wanted = limit - objects.len();
            let step = root.step(&self.predicate, after.as_ref(), revision, wanted, JUDGED)?;
            objects.extend(step.objects);
            after = step.after;
            if after.is_none() || objects.len() >= limit {
                let more = after.is_some();
                return Ok(self.response(revision, objects, more, (!more).then_some(0)));
            }
            yield_now().await;
        }
    }

    fn response(
        &self,
        revision: u64,
        objects: Vec<Object>,
        more: bool,
        remaining: Option<usize>,
    ) -> ListResponse {
        let last = objects.last().filter(|_| more).map(|last| Bytes::copy_from_slice(last.key()));
        let token = |last| ContinueToken::new(revision, &self.predicate, last, remaining);
        ListResponse { revision, continue_token: last.map(token), objects, remaining }
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

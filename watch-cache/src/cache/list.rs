//! Lists: at any revision, from an index, in pages.

use std::sync::Arc;

use bytes::Bytes;

use super::{Cache, Selector};
use crate::core::predicate::Predicate;
use crate::core::root::Root;
use crate::core::token::ContinueToken;
use crate::error::{Error, ErrorKind, Result};
use crate::object::Object;

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
        self.selector = Selector::Index { name: name.into(), value: value.into() };
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
    pub objects: Vec<Arc<Object>>,
    /// The way to the next page; none on the last.
    pub continue_token: Option<ContinueToken>,
    /// How many objects follow this page.
    pub remaining: usize,
}

impl Cache {
    /// Lists objects at one revision.
    ///
    /// A page costs `O(log n + page)`. The first one of an older revision also costs `O(log n)` for
    /// each change between it and the next kept snapshot ([`snapshot_changes`] at most); the states
    /// made last are remembered for the pages that follow.
    ///
    /// # Errors
    ///
    /// `Invalid` if the request is not within the cache's prefixes, names no index, has a limit of
    /// 0, or a token that is of another list or comes with a revision; `Expired` if the exact
    /// revision is not retained; `TooLarge` if the revision was not reached in time; `Unavailable`
    /// if the source did not say in time how new the cache is; `Exhausted` if too many wait
    /// already; `Closed` if the driver is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    ///
    /// [`snapshot_changes`]: crate::Config::snapshot_changes
    pub async fn list(&self, request: ListRequest) -> Result<ListResponse> {
        self.shared.check_open()?;
        let predicate = self.predicate(request.prefix, request.selector)?;
        if request.limit == Some(0) {
            return Err(invalid("list: a limit of 0 shows nothing: leave it out for all"));
        }
        let Some(token) = request.continue_token else {
            let (revision, root) = self.root(request.at).await?;
            return Ok(page(&root, revision, &predicate, None, request.limit));
        };
        if request.at != At::default() {
            return Err(invalid("list: a continue token has its revision: leave `at` out"));
        }
        let after = token.after(&predicate)?;
        let (revision, root) = self.root(At::Exactly(token.revision())).await?;
        Ok(page(&root, revision, &predicate, Some(after), request.limit))
    }

    /// The state to list from, and the revision that it is listed as.
    async fn root(&self, at: At) -> Result<(u64, Arc<Root>)> {
        match at {
            At::Any => self.wait_for(0).await?,
            At::AtLeast(revision) | At::Exactly(revision) => self.wait_for(revision).await?,
            At::Consistent => self.wait_fresh().await?,
        }
        let view = self.shared.view();
        match at {
            At::Exactly(revision) => Ok((revision, self.shared.rebuilt.root_at(&view, revision)?)),
            _ => Ok((view.revision, Arc::clone(&view.root))),
        }
    }
}

fn page(
    root: &Root,
    revision: u64,
    predicate: &Predicate,
    after: Option<&Bytes>,
    limit: Option<usize>,
) -> ListResponse {
    let part = root.select(predicate, after);
    let count = part.count();
    let size = limit.unwrap_or(count).min(count);
    let mut objects = Vec::with_capacity(size);
    objects.extend(part.iter().take(size).cloned());
    let remaining = count - objects.len();
    let last = objects.last().filter(|_| remaining > 0);
    let continue_token = last.map(|last| ContinueToken::new(revision, predicate, last.key.clone()));
    ListResponse { revision, objects, continue_token, remaining }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

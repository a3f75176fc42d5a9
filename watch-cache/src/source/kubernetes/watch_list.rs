//! A list that comes as a watch which begins with all objects (KEP-3157): the server sends each as it has
//! it, and need not hold the list as a whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::Asked;
use super::lines::Lines;
use super::wire::{self, Line, Page};
use crate::error::{ErrorKind, Result};
use crate::object::SourceObject;

/// What a server does with the question.
pub(super) enum Listed {
    /// All objects, as current as a list.
    Whole(Page),
    /// It does not have such lists.
    Refused,
    /// It did not say in time where the objects end, as one that does not know of it never does.
    Unanswered,
}

pub(super) async fn list(asked: &Asked) -> Result<Listed> {
    let query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true\
                 &resourceVersionMatch=NotOlderThan";
    let body = match asked.get(query).await {
        Err(error) if error.kind() == ErrorKind::Invalid => return Ok(Listed::Refused),
        body => body?,
    };
    let mut lines = Lines::new(body);
    let mut objects: BTreeMap<Bytes, SourceObject> = BTreeMap::new();
    // That many things happen to what is there already says nothing.
    let patience = asked.config.answer_timeout;
    let mut until = Instant::now() + patience;
    loop {
        let Ok(line) = timeout_at(until, lines.next(asked, 2 * patience)).await else {
            return Ok(Listed::Unanswered);
        };
        let Some(line) = line? else { return Ok(Listed::Unanswered) };
        match wire::line(&line)? {
            Line::Put(object) => {
                if objects.insert(object.key.clone(), object).is_none() {
                    until = Instant::now() + patience;
                }
            }
            Line::Delete { key, .. } => drop(objects.remove(&key)),
            Line::Bookmark { revision, initial_end: true } => {
                let objects = objects.into_values().collect();
                return Ok(Listed::Whole(Page { revision, continue_token: None, objects }));
            }
            Line::Bookmark { .. } => {}
            Line::Failed(error) if error.kind() == ErrorKind::Invalid => {
                return Ok(Listed::Refused);
            }
            Line::Failed(error) => return Err(error),
        }
    }
}

//! A list that comes as a watch which begins with all objects (KEP-3157): the server sends each as it has
//! it, and need not hold the list as a whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::time::timeout;

use super::Asked;
use super::lines::Lines;
use super::wire::{self, Line, Page};
use crate::error::{Error, ErrorKind, Result};
use crate::object::SourceObject;

/// All objects, as current as a list. None if the server does not do that: it refuses it, or it does not
/// say where the objects end.
pub(super) async fn list(asked: &Asked) -> Result<Option<Page>> {
    let secs = asked.config.watch_timeout.as_secs();
    let query = format!(
        "watch=1&allowWatchBookmarks=true&sendInitialEvents=true\
         &resourceVersionMatch=NotOlderThan&timeoutSeconds={secs}"
    );
    let body = match asked.get(&query).await {
        Err(error) if error.kind() == ErrorKind::Invalid => return Ok(None),
        body => body?,
    };
    let mut lines = Lines::new(body);
    let mut objects: BTreeMap<Bytes, SourceObject> = BTreeMap::new();
    loop {
        // One that does not know of it sends what is there, and then is silent.
        let patience = asked.config.answer_timeout;
        let silence = asked.config.watch_timeout + patience;
        let line = match timeout(patience, lines.next(asked, silence)).await {
            Err(_) => return Ok(None),
            Ok(line) => line?,
        };
        let Some(line) = line else {
            let message = "a watch ended before its initial events: list again";
            return Err(Error::new(ErrorKind::Unavailable, message));
        };
        match wire::line(&line)? {
            Line::Put(object) => drop(objects.insert(object.key.clone(), object)),
            Line::Delete { key, .. } => drop(objects.remove(&key)),
            Line::Bookmark { revision, initial_end: true } => {
                let objects = objects.into_values().collect();
                return Ok(Some(Page { revision, continue_token: None, objects }));
            }
            Line::Bookmark { .. } => {}
            Line::Failed(error) => return Err(error),
        }
    }
}

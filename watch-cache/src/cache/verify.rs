//! Compares the cache with its source, on demand.

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Cache;
use super::feed::{list_all, yield_now};
use super::run::Command;
use super::stats::add;
use crate::core::object::Object;
use crate::core::past::Lost;
use crate::core::predicate::Predicate;
use crate::core::root::JUDGED;
use crate::core::view::expired;
use crate::error::{Error, Result};
use crate::object::SourceObject;
use crate::source::Source;

/// So many keys are named that are not as they should be.
const NAMED: usize = 16;

/// What a comparison of a cache with its source came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// The revision that both were compared at.
    pub revision: u64,
    /// Objects that the source has.
    pub objects: usize,
    /// How many keys are in one of both only, or have another object.
    pub different: usize,
    /// The first of those keys.
    pub keys: Vec<Bytes>,
}

impl Verification {
    /// Whether both are the same.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.different == 0
    }

    fn differs(&mut self, key: &[u8]) {
        self.different += 1;
        if self.keys.len() < NAMED {
            self.keys.push(Bytes::copy_from_slice(key));
        }
    }
}

/// What is remembered of an object of the source.
#[derive(Debug)]
pub(super) struct Print {
    key: Bytes,
    revisions: (u64, u64),
    value: u64,
}

/// The source's state at a revision.
pub(super) type Prints = (u64, Vec<Print>);

/// Within one process a value has one hash.
fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

impl Print {
    /// Without the source's memory.
    fn of(object: &SourceObject) -> Self {
        let revisions = (object.create_revision, object.mod_revision);
        let key = Bytes::copy_from_slice(&object.key);
        Self { key, revisions, value: hash(&object.value) }
    }

    fn is_of(&self, object: &Object) -> bool {
        self.revisions == (object.create_revision(), object.mod_revision())
            && self.value == hash(object.value())
    }
}

/// Lists the source.
pub(super) async fn prints(source: &dyn Source, prefixes: &[Bytes]) -> Result<Prints> {
    list_all(source, prefixes, |object, _| Ok::<_, Error>(Print::of(&object))).await
}

impl Cache {
    /// Lists the source and compares each object with the cache's at that revision: its bytes and
    /// revisions. The source's objects are not kept meanwhile, some 50 bytes of each and its key are.
    ///
    /// A difference is counted, and changes nothing: [`begin_anew`](Self::begin_anew) is what to do
    /// about it.
    ///
    /// # Errors
    ///
    /// Those of the source; `TooLarge` if the revision of its listing was not reached in time, as may
    /// be with a source that can only list and an idle prefix; `Expired` if it left the log before it
    /// was compared; `Closed` if the driver is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn verify(&self) -> Result<Verification> {
        self.ready().await?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Verify { reply })?;
        let (revision, prints) = answer.await.unwrap_or_else(|_| Err(self.shared.closed()))?;
        self.wait_for(revision).await?;
        let verification = self.compare(revision, &prints).await?;
        if !verification.is_consistent() {
            add(&self.shared.counters.inconsistencies, 1);
        }
        Ok(verification)
    }

    /// Trusts nothing that the cache holds: lists the source, and ends all watches with `Expired`. Reads
    /// go on meanwhile. A client that watches again after a revision below that of the listing is told to
    /// begin anew, too; one that had come to just that revision is not, though it may have been told
    /// wrong.
    ///
    /// # Errors
    ///
    /// `Closed` if the driver is gone.
    pub fn begin_anew(&self) -> Result<()> {
        self.shared.check_open()?;
        self.shared.anew.notify_one();
        Ok(())
    }

    async fn compare(&self, revision: u64, prints: &[Print]) -> Result<Verification> {
        let (view, _pin) = self.shared.pinned_at(revision)?;
        let all = Predicate { prefix: Bytes::new(), index: None, filter: None };
        let mut found =
            Verification { revision, objects: prints.len(), different: 0, keys: Vec::new() };
        let mut prints = prints.iter().peekable();
        let mut after = None;
        loop {
            let step = view.root.step(&all, after.as_ref(), revision, JUDGED, JUDGED);
            let step = step.map_err(|Lost| expired(revision, self.shared.view().log_floor))?;
            for ours in step.objects {
                while let Some(missing) = prints.next_if(|theirs| theirs.key < ours.key()) {
                    found.differs(&missing.key);
                }
                let same = prints.next_if(|theirs| theirs.key == ours.key());
                if same.is_none_or(|theirs| !theirs.is_of(&ours)) {
                    found.differs(ours.key());
                }
            }
            after = step.after;
            if after.is_none() {
                break;
            }
            yield_now().await;
        }
        for missing in prints {
            found.differs(&missing.key);
        }
        Ok(found)
    }
}

//! What a watcher needs to go on with that was away for longer than the log reaches back: the last
//! change of each key that changed.
//!
//! A trace is left where a change leaves the log that is its key's last one. A later change makes it
//! stale, so that as many traces count as keys have changed, however often: those that do not are
//! swept out, some at a time. Each key knows its newest revision, so a stale trace is seen without
//! looking for the object.

use cow_tree::{Log, Place};

use super::object::Object;
use super::text::Text;

/// Stale traces are swept out when there are more of them than this, and than of the others.
const STALE: usize = 4096;
/// So many of the oldest go together: each time a segment is copied.
const TRIMMED_AT_ONCE: usize = 64;
/// Segments of the trail that are swept for each time that is done.
const SWEPT: usize = 4;

/// The last change of a key as far as the log had it.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    revision: u64,
    key: Text,
}

impl Place for Trace {
    fn place(&self) -> u64 {
        self.revision
    }
}

impl Trace {
    pub(crate) fn key(&self) -> &[u8] {
        self.key.bytes()
    }

    fn is_stale(&self) -> bool {
        self.key.newest() != self.revision
    }
}

/// The traces. Cloning it costs the same at any size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail {
    pub(crate) traces: Log<Trace>,
    /// What changed after this revision is known, if not by a trace then by the log.
    pub(crate) since: u64,
    /// What changed up to this revision is not to be looked for in the log.
    pub(crate) until: u64,
    len: usize,
    /// About how many are stale.
    stale: usize,
    /// Where the sweeping goes on.
    swept: u64,
}

impl Trail {
    /// Nothing is known of what was before.
    pub(crate) fn restart(&mut self, revision: u64) {
        *self = Self { since: revision, until: revision, ..Self::default() };
    }

    /// A version was followed by another one.
    pub(crate) fn replaced(&mut self, version: &Object) {
        self.stale +=
            usize::from(version.revision() <= self.until && version.revision() > self.since);
    }

    /// A revision leaves the log.
    pub(crate) fn leave<'a>(&mut self, revision: u64, versions: impl Iterator<Item = &'a Object>) {
        let last = versions.filter(|version| version.key_text().newest() == revision);
        let traces: Vec<Trace> =
            last.map(|version| Trace { revision, key: version.key_text().clone() }).collect();
        self.until = revision;
        if !traces.is_empty() {
            self.len += traces.len();
            self.traces.push(traces);
        }
    }

    /// Keeps to at most so many traces, by letting go of stale ones first and of the oldest then.
    pub(crate) fn keep_to(&mut self, most: usize) {
        if self.stale > STALE.max(self.len / 2) {
            self.sweep();
        }
        if most == 0 {
            (self.traces, self.len, self.stale, self.since) = (Log::new(), 0, 0, self.until);
        } else if self.len > most {
            let mut over = self.len - most + TRIMMED_AT_ONCE.min(most / 8);
            for (oldest, traces) in self.traces.from(0) {
                self.since = oldest;
                self.len -= traces.len();
                over = over.saturating_sub(traces.len());
                if over == 0 {
                    break;
                }
            }
            self.traces.trim(self.since + 1);
        }
    }

    /// How many traces there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn sweep(&mut self) {
        for _ in 0..SWEPT {
            let mut gone = 0;
            let next = self.traces.sweep(self.swept, |trace| {
                let stale = trace.is_stale();
                gone += usize::from(stale);
                !stale
            });
            self.len -= gone;
            self.stale = self.stale.saturating_sub(gone);
            let Some(next) = next else {
                // What is left to sweep is there since.
                self.swept = 0;
                self.stale = self.stale.min(self.len / 4);
                return;
            };
            self.swept = next;
        }
    }
}

//! Frames become a state.
#![deny(clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::thread;

use bytes::Bytes;

use super::frame::Checked;
use super::header::{Footer, Header};
use super::leases::{self, Granted};
use super::order::{self, Listed};
use super::versions::{self, Edge, Versions};
use super::{
    FOOTER, HEADER, LEASES, LEDGER, ORDER, PROPERTIES, VERSIONS, damaged, log, properties,
};
use crate::core::mvcc::State;
use crate::core::property::PropertyChange;
use crate::core::retained::{Parts, keys_of};
use crate::core::value::KeyValue;
use crate::error::{Error, ErrorKind, Result};

/// What one frame holds.
#[derive(Debug)]
pub(crate) enum Part {
    Header,
    Versions(Versions),
    Order(Vec<Listed>),
    Leases(Vec<Granted>),
    Properties(Vec<PropertyChange>),
    /// Some of the bytes of a ledger.
    Ledger(Bytes),
    Footer(Footer),
}

/// What a checkpoint holds.
pub(crate) struct Restored {
    pub(crate) state: State,
    /// The bytes of the ledger over the journal up to here; empty if there was none.
    #[cfg_attr(not(feature = "ledger"), expect(dead_code, reason = "for those who have one"))]
    pub(crate) ledger: Vec<u8>,
}

/// Verifies and decodes a frame. Frames may be decoded in any order, on any thread.
///
/// # Errors
/// `Corrupt` if it is damaged or of an unknown kind.
pub(crate) fn decode(frame: &Checked) -> Result<Part> {
    let payload = frame.payload()?;
    match frame.kind() {
        HEADER => Ok(Part::Header),
        VERSIONS => versions::decode(payload, &frame.header()).map(Part::Versions),
        ORDER => order::decode(payload).map(Part::Order),
        LEASES => leases::decode(payload).map(Part::Leases),
        PROPERTIES => properties::decode(payload).map(Part::Properties),
        LEDGER => Ok(Part::Ledger(Bytes::copy_from_slice(payload))),
        FOOTER => Footer::decode(payload).map(Part::Footer),
        kind => Err(Error::new(
            ErrorKind::Corrupt,
            format!("the checkpoint has a frame of kind {kind}: read it with a newer version"),
        )),
    }
}

/// The parts of one checkpoint, in any order, until all are there.
#[derive(Debug)]
pub(crate) struct Assembly {
    header: Header,
    parts: BTreeMap<u32, Part>,
}

impl Assembly {
    pub(crate) fn new(header: Header) -> Self {
        Self { header, parts: BTreeMap::new() }
    }

    /// Takes the part of the frame with this index.
    pub(crate) fn add(&mut self, index: u32, part: Part) {
        self.parts.insert(index, part);
    }

    /// The state, once every part is there. The trees are built side by side if `threads` is
    /// more than one.
    ///
    /// # Errors
    /// `Corrupt` if parts are missing or do not fit each other.
    pub(crate) fn finish(self, threads: usize) -> Result<Restored> {
        let Self { header, parts } = self;
        let pieces = Pieces::collect(parts)?;
        let Pieces { live, deleted, changes, listed, leases, attached, ledger, totals, .. } =
            pieces;
        let properties = properties::build(&pieces.properties)?;
        let keys = || {
            let leases = leases::build(leases, attached)?;
            Ok((keys_of(live.into_iter().flatten()), keys_of(deleted), leases))
        };
        let log = || log::build(&header, changes, &listed);
        let (log, keys) = if threads > 1 {
            thread::scope(|scope| {
                let log = scope.spawn(log);
                let keys = keys();
                (log.join().unwrap_or_else(|_| Err(damaged("events that broke the decoder"))), keys)
            })
        } else {
            (log(), keys())
        };
        let Header { revision, compact_revision, next_seq } = header;
        let (log, (live, deleted, leases)) = (log?, keys?);
        let Footer { versions, bytes, .. } = totals;
        let state = State::from_parts(Parts {
            revision,
            compact_revision,
            next_seq,
            live,
            deleted,
            log,
            leases,
            properties,
            versions,
            bytes,
        });
        Ok(Restored { state, ledger })
    }
}

/// All frames' content, by kind.
#[derive(Default)]
struct Pieces {
    live: Vec<Vec<KeyValue>>,
    deleted: Vec<KeyValue>,
    changes: Vec<Vec<KeyValue>>,
    listed: Vec<Listed>,
    leases: Vec<Granted>,
    properties: Vec<PropertyChange>,
    attached: Vec<(i64, Bytes)>,
    ledger: Vec<u8>,
    last: Option<Edge>,
    totals: Footer,
    ended: bool,
}

impl Pieces {
    fn collect(parts: BTreeMap<u32, Part>) -> Result<Self> {
        let mut pieces = Self::default();
        for part in parts.into_values() {
            pieces.take(part)?;
        }
        // The last key of all is live or deleted.
        let last = pieces.last.take().filter(|last| !last.live).map(|last| last.kv);
        let complete = last.as_ref().is_none_or(KeyValue::is_delete);
        pieces.deleted.extend(last);
        if pieces.ended && complete { Ok(pieces) } else { Err(damaged("no end")) }
    }

    fn take(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Header => {}
            Part::Versions(versions) => self.take_versions(versions)?,
            Part::Order(listed) => {
                self.totals.listed += listed.len() as u64;
                self.listed.extend(listed);
            }
            Part::Leases(granted) => self.leases.extend(granted),
            Part::Properties(properties) => self.properties.extend(properties),
            Part::Ledger(bytes) => self.ledger.extend_from_slice(&bytes),
            Part::Footer(footer) if footer == self.totals => self.ended = true,
            Part::Footer(_) => return Err(damaged("parts missing")),
        }
        self.totals.frames += 1;
        Ok(())
    }

    /// A key's versions may be cut between two frames: they are joined here.
    fn take_versions(&mut self, versions: Versions) -> Result<()> {
        if let Some(first) = &versions.first {
            match self.last.take() {
                Some(last) if last.check_next(first)? => {
                    first.kv.past().link(last.kv);
                }
                Some(last) => self.deleted.extend(Some(last.kv).filter(KeyValue::is_delete)),
                None if first.kv.is_delete() => return Err(damaged("a delete of nothing")),
                None => {}
            }
        }
        self.totals.versions += versions.count;
        self.totals.bytes += versions.bytes;
        self.live.push(versions.live);
        self.deleted.extend(versions.deleted);
        self.changes.push(versions.changes);
        self.attached.extend(versions.attached);
        self.last = versions.last;
        Ok(())
    }
}

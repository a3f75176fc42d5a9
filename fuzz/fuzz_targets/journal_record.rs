//! The bytes of a journal record and of a segment: no panic, no unbounded allocation, and what
//! decodes encodes to the same bytes. And records of every shape: what is encoded decodes to the
//! same, and no cut or flipped form of it is taken for it.
#![no_main]

use bytes::Bytes;
use kv_journal::{KeyRange, Mutation, PropertyChange, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let payload = Bytes::copy_from_slice(bytes);
    if let Ok(record) = Record::decode(payload.clone()) {
        assert_eq!(record.encode().ok(), Some(payload.clone()));
    }
    let _frames = kv_journal::fuzz_frames(bytes);
    if let Some((first, next)) = kv_journal::fuzz_segment(bytes) {
        assert!(first <= next && next - first <= bytes.len() as u64);
    }
    if let Some((record, damage)) = Source(payload).record() {
        check_shape(&record, damage);
    }
});

fn check_shape(record: &Record, damage: usize) {
    let Ok(encoded) = record.encode() else { return };
    assert_eq!(Record::decode(encoded.clone()).ok().as_ref(), Some(record));
    let at = damage % encoded.len();
    assert!(Record::decode(encoded.slice(..at)).is_err());
    let mut flipped = encoded.to_vec();
    flipped[at] ^= 1 << (damage / encoded.len() % 8);
    if let Ok(other) = Record::decode(flipped.clone().into()) {
        assert_ne!(other, *record);
        assert_eq!(other.encode().ok(), Some(flipped.into()));
    }
}

/// Records from whatever bytes there are.
struct Source(Bytes);

impl Source {
    fn record(&mut self) -> Option<(Record, usize)> {
        let damage = self.number()? as usize;
        let revision = self.number()?;
        let mut mutations = Vec::new();
        while mutations.len() < 64
            && let Some(mutation) = self.mutation()
        {
            mutations.push(mutation);
        }
        let (id, number) = (damage as i64, damage as u64);
        let record = match damage % 5 {
            _ if !mutations.is_empty() => Record::Transaction { revision, mutations },
            0 => Record::LeaseGrant { revision, id, ttl_secs: number },
            4 => {
                let name = revision.to_be_bytes().to_vec().into();
                let changes = vec![PropertyChange { name, value: None }];
                Record::Properties { revision, changes }
            }
            1 => Record::LeaseRevoke { revision, id, deleted: number },
            _ => Record::Compaction { revision },
        };
        Some((record, damage))
    }

    fn mutation(&mut self) -> Option<Mutation> {
        let kind = self.byte()?;
        let (number, first, second) = (self.number()?, self.bytes()?, self.bytes()?);
        Some(match kind % 4 {
            0 => Mutation::Put { key: first, value: second, lease: number.cast_signed() },
            1 => Mutation::Delete { range: KeyRange::key(first), deleted: number },
            2 => Mutation::Delete { range: KeyRange::range(first, second), deleted: number },
            _ => Mutation::Delete { range: KeyRange::from(first), deleted: number },
        })
    }

    fn byte(&mut self) -> Option<u8> {
        (!self.0.is_empty()).then(|| self.0.split_to(1)[0])
    }

    /// Of two bytes, spread over all magnitudes.
    fn number(&mut self) -> Option<u64> {
        let (shift, low) = (self.byte()?, self.byte()?);
        Some(u64::from(low) << (shift % 64))
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let len = usize::from(self.byte()? % 16).min(self.0.len());
        Some(self.0.split_to(len))
    }
}

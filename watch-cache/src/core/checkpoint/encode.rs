//! Writes a checkpoint in one pass.

use std::io::{self, Write};

use super::{FRAME_HEAD, Head, Kind, MAGIC};
use crate::core::object::Object;

/// A frame is written when it has grown to this: small enough to be read by many at once, large enough
/// that its head is nothing.
const FRAME: usize = 1 << 20;

/// First the head, then the objects, then the changes, then the end.
pub(crate) struct Encoder<W> {
    out: W,
    kind: Kind,
    /// The frame that is being filled, with room for its head.
    frame: Vec<u8>,
    objects: u64,
    changes: u64,
}

impl<W: Write> Encoder<W> {
    /// A checkpoint that begins with `head`.
    pub(crate) fn new(mut out: W, head: &Head) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        let frame = vec![0; FRAME_HEAD];
        let mut encoder = Self { out, kind: Kind::Head, frame, objects: 0, changes: 0 };
        let Head { floor, revision, store, prefixes, gaps } = head;
        encoder.u64(*floor);
        encoder.u64(*revision);
        encoder.frame.push(u8::from(store.is_some()));
        encoder.bytes(store.as_deref().unwrap_or_default());
        encoder.u32(prefixes.len());
        for prefix in prefixes {
            encoder.bytes(prefix);
        }
        encoder.u32(gaps.len());
        for gap in gaps {
            encoder.u64(gap.after);
            encoder.u64(gap.until);
        }
        Ok(encoder)
    }

    /// The next object.
    pub(crate) fn object(&mut self, object: &Object) -> io::Result<()> {
        self.begin(Kind::Objects)?;
        self.objects += 1;
        self.record(object);
        Ok(())
    }

    /// The next version that the log has.
    pub(crate) fn change(&mut self, revision: u64, version: &Object) -> io::Result<()> {
        self.begin(Kind::Changes)?;
        self.changes += 1;
        self.u64(revision);
        self.frame.push(u8::from(version.is_delete()));
        self.record(version);
        Ok(())
    }

    /// That was all.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.begin(Kind::End)?;
        let (objects, changes) = (self.objects, self.changes);
        self.u64(objects);
        self.u64(changes);
        self.write()?;
        Ok(self.out)
    }

    /// Makes room for something of a kind.
    fn begin(&mut self, kind: Kind) -> io::Result<()> {
        if self.kind != kind || self.frame.len() >= FRAME {
            self.write()?;
            self.kind = kind;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let Some((head, payload)) = self.frame.split_first_chunk_mut::<FRAME_HEAD>() else {
            return Ok(());
        };
        let kind = [self.kind as u8];
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&kind), payload);
        let fields = kind.into_iter().chain(len.to_le_bytes()).chain(crc.to_le_bytes());
        head.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        self.out.write_all(&self.frame)?;
        self.frame.truncate(FRAME_HEAD);
        Ok(())
    }

    fn record(&mut self, object: &Object) {
        self.u32(object.key().len());
        self.u32(object.value().len());
        self.u64(object.create_revision());
        self.u64(object.mod_revision());
        self.frame.extend_from_slice(object.key());
        self.frame.extend_from_slice(object.value());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len());
        self.frame.extend_from_slice(bytes);
    }

    /// Nothing that a cache holds is longer than 4 GiB.
    fn u32(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.frame.extend_from_slice(&len.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.frame.extend_from_slice(&number.to_le_bytes());
    }
}

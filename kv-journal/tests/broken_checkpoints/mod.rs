//! Checkpoints that break one promise each.

use async_trait::async_trait;
use bytes::Bytes;
use kv_journal::{
    CheckpointInfo, CheckpointStore, CheckpointWriter, Error, ErrorKind, MemoryCheckpoints, Result,
};

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    OldestFirst,
    EarlyCommit,
    KeepsDropped,
    LosesTheLastPart,
    KeepsTheOld,
    ShortReads,
    EmptyForNone,
    RemovesAll,
    RemovesNothing,
    SharesWriters,
    MakesWhatIsRead,
}

impl Flaw {
    pub(crate) const ALL: [Self; 11] = [
        Self::OldestFirst,
        Self::EarlyCommit,
        Self::KeepsDropped,
        Self::LosesTheLastPart,
        Self::KeepsTheOld,
        Self::ShortReads,
        Self::EmptyForNone,
        Self::RemovesAll,
        Self::RemovesNothing,
        Self::SharesWriters,
        Self::MakesWhatIsRead,
    ];

    /// The contract item that it breaks.
    pub(crate) fn item(self) -> &'static str {
        match self {
            Self::OldestFirst => "1",
            Self::EarlyCommit | Self::KeepsDropped => "2",
            Self::LosesTheLastPart => "3",
            Self::KeepsTheOld => "4",
            Self::ShortReads | Self::EmptyForNone => "5",
            Self::RemovesAll | Self::RemovesNothing => "6",
            Self::SharesWriters => "7",
            Self::MakesWhatIsRead => "8",
        }
    }
}

/// Checkpoints in memory with one flaw.
#[derive(Clone)]
pub(crate) struct BrokenCheckpoints {
    inner: MemoryCheckpoints,
    /// Parts that writers of one number share.
    shared: MemoryCheckpoints,
    flaw: Flaw,
}

impl BrokenCheckpoints {
    pub(crate) fn new(flaw: Flaw) -> Self {
        let (inner, shared) = (MemoryCheckpoints::new(), MemoryCheckpoints::new());
        Self { inner, shared, flaw }
    }

    async fn put(store: &MemoryCheckpoints, id: u64, content: Bytes) -> Result<()> {
        let mut writer = store.begin(id).await?;
        writer.write(content).await?;
        writer.commit().await
    }

    async fn whole(store: &MemoryCheckpoints, id: u64) -> Bytes {
        store.read(id, 0, usize::MAX).await.unwrap_or_default()
    }
}

#[async_trait]
impl CheckpointStore for BrokenCheckpoints {
    async fn begin(&self, id: u64) -> Result<Box<dyn CheckpointWriter>> {
        Ok(Box::new(Writer { store: self.clone(), id, parts: Vec::new() }))
    }

    async fn list(&self) -> Result<Vec<CheckpointInfo>> {
        let mut listed = self.inner.list().await?;
        if self.flaw == Flaw::OldestFirst {
            listed.reverse();
        }
        Ok(listed)
    }

    async fn read(&self, id: u64, offset: u64, len: usize) -> Result<Bytes> {
        match self.inner.read(id, offset, len).await {
            Ok(bytes) if self.flaw == Flaw::ShortReads => Ok(bytes.slice(..bytes.len().min(512))),
            Err(_) if self.flaw == Flaw::EmptyForNone => Ok(Bytes::new()),
            Err(error) if self.flaw == Flaw::MakesWhatIsRead => {
                Self::put(&self.inner, id, Bytes::new()).await?;
                Err(error)
            }
            read => read,
        }
    }

    async fn remove(&self, id: u64) -> Result<()> {
        if self.flaw == Flaw::RemovesNothing {
            return Ok(());
        }
        if self.flaw == Flaw::RemovesAll {
            for info in self.inner.list().await? {
                self.inner.remove(info.id).await?;
            }
        }
        self.inner.remove(id).await
    }
}

struct Writer {
    store: BrokenCheckpoints,
    id: u64,
    parts: Vec<Bytes>,
}

#[async_trait]
impl CheckpointWriter for Writer {
    async fn write(&mut self, part: Bytes) -> Result<()> {
        self.parts.push(part);
        let BrokenCheckpoints { inner, shared, flaw } = &self.store;
        let so_far = Bytes::from(self.parts.concat());
        match flaw {
            Flaw::EarlyCommit => BrokenCheckpoints::put(inner, self.id, so_far).await,
            Flaw::SharesWriters => {
                let mut all = BrokenCheckpoints::whole(shared, self.id).await.to_vec();
                all.extend_from_slice(self.parts.last().ok_or_else(none)?);
                BrokenCheckpoints::put(shared, self.id, all.into()).await
            }
            _ => Ok(()),
        }
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        let BrokenCheckpoints { inner, shared, flaw } = &self.store;
        let kept = match flaw {
            Flaw::LosesTheLastPart => self.parts.split_last().map_or(&[][..], |(_, kept)| kept),
            _ => &self.parts,
        };
        let content = match flaw {
            Flaw::SharesWriters => BrokenCheckpoints::whole(shared, self.id).await,
            _ => kept.concat().into(),
        };
        if *flaw == Flaw::KeepsTheOld && inner.read(self.id, 0, 1).await.is_ok() {
            return Ok(());
        }
        BrokenCheckpoints::put(inner, self.id, content).await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.store.flaw == Flaw::KeepsDropped {
            let (inner, id) = (self.store.inner.clone(), self.id);
            let content = Bytes::from(self.parts.concat());
            // Nothing of it waits.
            let put = BrokenCheckpoints::put(&inner, id, content);
            futures_util::FutureExt::now_or_never(put);
        }
    }
}

fn none() -> Error {
    Error::new(ErrorKind::Invalid, "no part")
}

//! A compressed layer with its index, and a blob of it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lazy_blob::{Blob, Config, Fault, FaultSource, Index, MemorySource, Source};

use super::{Random, files, gzip, index, small_spans, tar};

pub(crate) struct Layer {
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) archive: Vec<u8>,
    pub(crate) blob: Bytes,
    pub(crate) index: Arc<Index>,
}

pub(crate) fn layer(seed: u64, count: usize) -> Layer {
    let files = files(&mut Random::new(seed), count, 50_000);
    let archive = tar(&files);
    let blob = Bytes::from(gzip(&archive, 6));
    let index = Arc::new(index(&blob, &small_spans()));
    assert!(index.span_count() > 4, "the tests want several spans");
    Layer { files, archive, blob, index }
}

pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

pub(crate) async fn open(source: impl Source + 'static, layer: &Layer, config: Config) -> Blob {
    let (blob, driver) = Blob::open(Arc::new(source), layer.index.clone(), config).await.unwrap();
    tokio::spawn(driver);
    blob
}

impl Layer {
    pub(crate) fn source(&self) -> MemorySource {
        MemorySource::new(self.blob.clone())
    }

    pub(crate) fn faulty(
        &self,
        policy: impl Fn(&lazy_blob::ReadCall) -> Fault + Send + Sync + 'static,
    ) -> FaultSource<MemorySource> {
        FaultSource::new(self.source(), policy)
    }
}

pub(crate) fn part(bytes: &[u8], range: &Range<u64>) -> Bytes {
    Bytes::copy_from_slice(&bytes[range.start as usize..range.end as usize])
}

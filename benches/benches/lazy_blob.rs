//! Benches of `lazy-blob`: building an index and resuming spans beside plain inflate of the same
//! blob by the same library, and reads of 4 KiB, cached and cold.
#![expect(clippy::expect_used, reason = "a bench stops at what it did not expect")]
#![expect(clippy::cast_possible_truncation, reason = "the blob is in memory")]

use std::hint::black_box;
use std::io::Read;
use std::sync::Arc;

use benches::lazy_blob::{Layer, layer, ranges};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flate2::read::MultiGzDecoder;
use lazy_blob::{Blob, Config, Index, IndexConfig, MemorySource};
use tokio::runtime::Runtime;

const LAYER_BYTES: usize = 32 << 20;

fn benches(criterion: &mut Criterion) {
    let layer = layer(LAYER_BYTES);
    let index = Arc::new(build(&layer));
    print_sizes(&layer, &index);
    whole_blob(criterion, &layer, &index);
    reads(criterion, &layer, &index);
}

fn build(layer: &Layer) -> Index {
    Index::build(layer.blob.as_ref(), IndexConfig::default()).expect("an index")
}

fn print_sizes(layer: &Layer, index: &Index) {
    let encoded = index.encode().expect("memory").len();
    let spans = index.span_count();
    let (blob, archive) = (layer.blob.len(), layer.archive.len());
    println!("lazy-blob: blob {blob} B, archive {archive} B, {spans} spans, index {encoded} B");
}

/// Per byte of output, so that the three can be compared.
fn whole_blob(criterion: &mut Criterion, layer: &Layer, index: &Index) {
    let mut group = criterion.benchmark_group("lazy-blob");
    group.throughput(Throughput::Bytes(layer.archive.len() as u64)).sample_size(10);
    group.bench_function("inflate (zlib-rs alone)", |bencher| {
        let mut out = Vec::with_capacity(layer.archive.len());
        bencher.iter(|| {
            out.clear();
            MultiGzDecoder::new(layer.blob.as_ref()).read_to_end(&mut out).expect("a gzip");
            black_box(out.len())
        });
    });
    group.bench_function("index build", |bencher| bencher.iter(|| build(layer)));
    group.bench_function("span resume, verified", |bencher| {
        bencher.iter(|| {
            for number in 0..index.span_count() {
                let span = index.span(number).expect("a span").compressed;
                let bytes = layer.blob.slice(span.start as usize..span.end as usize);
                black_box(index.decode_span(number, &bytes).expect("good bytes"));
            }
        });
    });
    let encoded = index.encode().expect("memory");
    group.bench_function("index decode", |bencher| bencher.iter(|| Index::decode(&encoded)));
    group.finish();
}

fn reads(criterion: &mut Criterion, layer: &Layer, index: &Arc<Index>) {
    let runtime = Runtime::new().expect("a runtime");
    let ranges = ranges(layer, 1_024);
    let open = |cache_bytes| {
        let mut config = Config::default();
        config.cache_bytes = cache_bytes;
        let source = Arc::new(MemorySource::new(layer.blob.clone()));
        runtime.block_on(async {
            let opened = Blob::open(source, Arc::clone(index), config).await;
            let (blob, driver) = opened.expect("the blob of the index");
            tokio::spawn(driver);
            blob
        })
    };
    let mut group = criterion.benchmark_group("lazy-blob");
    group.throughput(Throughput::Elements(1));

    let (warm, mut next) = (open(1 << 30), ranges.iter().cycle());
    for (path, range) in &ranges {
        runtime.block_on(warm.read(path, range.clone())).expect("a read");
    }
    group.bench_function("cached 4 KiB read", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let (path, range) = next.next().expect("a cycle");
            warm.read(path, range.clone())
        });
    });

    let (cold, mut next) = (open(0), ranges.iter().cycle());
    group.bench_function("cold 4 KiB read", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let (path, range) = next.next().expect("a cycle");
            cold.read(path, range.clone())
        });
    });
    let stats = cold.stats();
    println!("lazy-blob: {} B fetched for one cold read", stats.bytes_fetched / stats.requests);

    group.bench_function("open", |bencher| {
        bencher.iter_batched(|| (), |()| open(0), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(lazy_blob, benches);
criterion_main!(lazy_blob);

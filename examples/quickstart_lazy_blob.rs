//! Quickstart of `lazy-blob`: read a few bytes of one file in a `.tar.gz` without unpacking it.

use std::error::Error;
use std::io;
use std::sync::Arc;

use flate2::{Compression, write::GzEncoder};
use lazy_blob::{Blob, Config, Index, IndexConfig, MemorySource};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A layer, and its index: built once, stored beside the layer with `encode`.
    let layer = layer()?;
    let size = layer.len();
    let index = Arc::new(Index::build(layer.as_slice(), IndexConfig::default())?);

    // `HttpSource` or `FileSource` in its place read the same layer from afar.
    let source = Arc::new(MemorySource::new(layer));
    let (blob, driver) = Blob::open(source, index, Config::default()).await?;
    let driver = tokio::spawn(driver);

    let bytes = blob.read("/usr/share/numbers/7", 0..14).await?;
    println!("{:?} of {} files", String::from_utf8_lossy(&bytes), blob.entries().len());
    println!("{} of {size} bytes fetched", blob.stats().bytes_fetched);

    // Without handles the driver ends.
    drop(blob);
    Ok(driver.await??)
}

fn layer() -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for number in 0..20_u64 {
        let lines: Vec<_> = (0..20_000).map(|line| ((line * line) ^ number).to_string()).collect();
        let content = lines.join("\n");
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        let path = format!("usr/share/numbers/{number}");
        tar.append_data(&mut header, path, content.as_bytes())?;
    }
    tar.into_inner()?.finish()
}

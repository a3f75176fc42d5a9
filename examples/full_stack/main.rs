//! The full stack in one process.
#![allow(
    clippy::disallowed_methods,
    reason = "a program spawns its tasks and reads the clock"
)]
#![allow(dead_code)]

mod args;
mod fail;
mod image;
mod latency;
mod registry;
mod report;

fn main() {
    let t = tokio::time::Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let image = image::Image::build(dir.path()).unwrap();
    println!(
        "{} {} {:?}",
        image.layer_bytes,
        image.startup.len(),
        t.elapsed()
    );
}

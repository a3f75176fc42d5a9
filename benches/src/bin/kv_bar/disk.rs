//! What the disk itself takes.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use benches::kv_journal::Outcome;

use super::report;

const SYNCS: usize = 100;

/// The median time of `fdatasync` after 4 KiB appended to a file in `directory`.
pub(crate) fn sync_micros(directory: &Path) -> Outcome<f64> {
    let mut file = tempfile::tempfile_in(directory)?;
    let mut micros = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[7; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(report::median(&micros))
}

//! Every journal of the crate keeps the port's contract, and no broken one passes.
#![allow(clippy::unwrap_used, reason = "tests unwrap")]

mod broken;

use std::sync::Arc;
use std::time::Duration;

use kv_journal::{
    CrashJournal, FaultJournal, FileConfig, FileJournal, Journal, MemoryJournal, Throttle,
    ThrottleJournal, conformance, journal_conformance,
};

async fn file_journal(config: FileConfig) -> (FileJournal, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let journal = FileJournal::open(directory.path(), config).await.unwrap();
    (journal, directory)
}

fn small_segments() -> FileConfig {
    let mut config = FileConfig::default();
    config.segment_bytes = FileConfig::SEGMENT_BYTES.min;
    config
}

journal_conformance!(memory, async { (MemoryJournal::new(), ()) });
fn growing_segments() -> FileConfig {
    let mut config = small_segments();
    config.preallocate = false;
    config
}

fn throttle() -> Throttle {
    let mut throttle = Throttle::default();
    throttle.append_latency = Duration::from_micros(100);
    throttle.append_bytes_per_sec = Some(64 << 20);
    throttle
}

journal_conformance!(file, file_journal(FileConfig::default()));
journal_conformance!(file_of_small_segments, file_journal(small_segments()));
journal_conformance!(file_of_growing_segments, file_journal(growing_segments()));
journal_conformance!(dynamic, async {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    (journal, ())
});
journal_conformance!(late_tails, async { (broken::LateTails(MemoryJournal::new()), ()) });
journal_conformance!(crash, async { (CrashJournal::new(1), ()) });
journal_conformance!(crashed, async { (CrashJournal::new(2).crash(), ()) });
journal_conformance!(fault_free, async { (FaultJournal::new(MemoryJournal::new()), ()) });
journal_conformance!(fault_free_file, async {
    let (journal, directory) = file_journal(small_segments()).await;
    (FaultJournal::new(journal), directory)
});
journal_conformance!(throttled, async {
    (ThrottleJournal::new(MemoryJournal::new(), throttle()), ())
});
journal_conformance!(throttled_file, async {
    let (journal, directory) = file_journal(small_segments()).await;
    (ThrottleJournal::new(journal, throttle()), directory)
});

#[test]
fn every_broken_journal_fails_the_item_that_it_breaks() {
    let mut seen = Vec::new();
    for flaw in broken::Flaw::ALL {
        let violations: Vec<&str> = conformance::CHECKS
            .iter()
            .filter_map(|check| {
                let journal = broken::BrokenJournal::new(flaw);
                conformance::run(async { (check.run)(&journal).await }).err()
            })
            .map(|violation| violation.item)
            .collect();
        assert!(violations.contains(&flaw.item()), "{flaw:?} violates only {violations:?}");
        seen.push(flaw.item());
    }
    // Each item has at least one journal that breaks it.
    for item in 1..=conformance::CHECKS.len() {
        assert!(seen.contains(&item.to_string().as_str()), "nothing breaks item {item}");
    }
}

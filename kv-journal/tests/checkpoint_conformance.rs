//! Every place for checkpoints keeps the port's contract, and no broken one passes.
#![allow(clippy::unwrap_used, reason = "tests unwrap")]

mod broken_checkpoints;

use std::sync::Arc;

use broken_checkpoints::{BrokenCheckpoints, Flaw};
use kv_journal::{
    CheckpointStore, FaultCheckpoints, FileCheckpoints, FileCheckpointsConfig, MemoryCheckpoints,
    checkpoint_conformance, conformance,
};

async fn files() -> (FileCheckpoints, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = FileCheckpointsConfig::default();
    config.sync_bytes = FileCheckpointsConfig::SYNC_BYTES.min;
    (FileCheckpoints::open(directory.path(), config).await.unwrap(), directory)
}

checkpoint_conformance!(memory, async { (MemoryCheckpoints::new(), ()) });
checkpoint_conformance!(file, files());
checkpoint_conformance!(dynamic, async {
    let checkpoints: Arc<dyn CheckpointStore> = Arc::new(MemoryCheckpoints::new());
    (checkpoints, ())
});
checkpoint_conformance!(fault_free, async {
    (FaultCheckpoints::new(MemoryCheckpoints::new()), ())
});
checkpoint_conformance!(fault_free_file, async {
    let (checkpoints, directory) = files().await;
    (FaultCheckpoints::new(checkpoints), directory)
});

#[test]
fn every_broken_place_fails_the_item_that_it_breaks() {
    let mut seen = Vec::new();
    for flaw in Flaw::ALL {
        let violations: Vec<&str> = conformance::checkpoints::CHECKS
            .iter()
            .filter_map(|check| {
                let checkpoints = BrokenCheckpoints::new(flaw);
                conformance::run(async { (check.run)(&checkpoints).await }).err()
            })
            .map(|violation| violation.item)
            .collect();
        assert!(violations.contains(&flaw.item()), "{flaw:?} violates only {violations:?}");
        seen.push(flaw.item());
    }
    // Each item has at least one place that breaks it.
    for item in 1..=conformance::checkpoints::CHECKS.len() {
        assert!(seen.contains(&item.to_string().as_str()), "nothing breaks item {item}");
    }
}

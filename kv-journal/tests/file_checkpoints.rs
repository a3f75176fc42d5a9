//! A store over directories, with checkpoints.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::sync::Arc;

use harness::{everything, put};
use kv_journal::{
    CheckpointStore, Components, Config, ErrorKind, FileCheckpoints, FileCheckpointsConfig,
    FileConfig, FileJournal, Result, Store,
};
use tokio::task::JoinHandle;

fn small_frames() -> Config {
    let mut config = Config::default();
    config.checkpoint_frame_bytes = Config::CHECKPOINT_FRAME_BYTES.min;
    config
}

async fn close(store: Store, driver: JoinHandle<Result<()>>) {
    drop(store);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn files_survive_a_restart_and_what_was_unfinished_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("checkpoints");
    let open = || FileCheckpoints::open(&path, FileCheckpointsConfig::default());
    let first = open().await.unwrap();
    let refused = open().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("open elsewhere"), "{refused}");
    let mut writer = first.begin(7).await.unwrap();
    writer.write("seven".into()).await.unwrap();
    writer.commit().await.unwrap();
    let mut left = first.begin(8).await.unwrap();
    left.write("eight".into()).await.unwrap();
    drop(first);
    assert_eq!(left.write("!".into()).await.unwrap_err().kind(), ErrorKind::Closed);
    // As a crash leaves it.
    std::fs::write(path.join("00000000000000000009-0.tmp"), "nine").unwrap();
    std::fs::write(path.join("notes.txt"), "not a checkpoint").unwrap();
    let again = open().await.unwrap();
    let listed: Vec<_> = again.list().await.unwrap().iter().map(|info| info.id).collect();
    assert_eq!(listed, [7]);
    assert_eq!(again.read(7, 0, 100).await.unwrap(), "seven");
    let mut names: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["00000000000000000007.ckpt", "LOCK", "notes.txt"]);
}

#[tokio::test]
async fn a_directory_of_segments_gets_shorter() {
    let directory = tempfile::tempdir().unwrap();
    let mut segments = FileConfig::default();
    segments.segment_bytes = FileConfig::SEGMENT_BYTES.min;
    let path = directory.path().join("checkpoints");
    let open = async || {
        let journal = FileJournal::open(directory.path().join("journal"), segments.clone());
        let checkpoints = FileCheckpoints::open(&path, FileCheckpointsConfig::default());
        let components = Components::new(Arc::new(journal.await.unwrap()))
            .checkpoints(Arc::new(checkpoints.await.unwrap()));
        let (store, driver) = Store::open_with(components, small_frames()).await.unwrap();
        (store, tokio::spawn(driver))
    };
    let count = || std::fs::read_dir(directory.path().join("journal")).unwrap().count();
    let (store, driver) = open().await;
    for round in 0..2 {
        for number in 0..40 {
            put(&store, &format!("{round}/{number}"), &"v".repeat(500)).await;
        }
        let before = count();
        store.checkpoint().await.unwrap();
        assert_eq!(count() < before, round == 1, "{before} files before, {} after", count());
    }
    let expected = everything(&store);
    close(store, driver).await;
    let (store, driver) = open().await;
    assert_eq!(store.recovery().checkpoint, Some(81));
    assert_eq!(everything(&store), expected);
    close(store, driver).await;
}

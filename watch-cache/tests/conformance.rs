//! The contract of `Source`: kept by every adapter and decorator, broken item by item by a source
//! made for it.

mod broken;

use std::sync::Arc;

use broken::{Break, BrokenSource};
use watch_cache::conformance::{CHECKS, Subject};
use watch_cache::{FaultSource, MemorySource, ProgressMode, Source, source_conformance};

fn memory(mode: ProgressMode) -> (Subject, ()) {
    let store = Arc::new(MemorySource::with_progress(mode));
    (Subject { source: store.clone(), writer: store }, ())
}

source_conformance!(memory_pushed, async { memory(ProgressMode::Pushed) });
source_conformance!(memory_on_request, async { memory(ProgressMode::OnRequest) });
source_conformance!(memory_list_only, async { memory(ProgressMode::ListOnly) });

source_conformance!(boxed_twice, async {
    let store = Arc::new(MemorySource::new());
    let boxed: Arc<dyn Source> = store.clone();
    (Subject { source: Arc::new(boxed), writer: store }, ())
});

source_conformance!(faults_without_a_fault, async {
    let store = Arc::new(MemorySource::with_progress(ProgressMode::OnRequest));
    (Subject { source: Arc::new(FaultSource::new(store.clone())), writer: store }, ())
});

/// Each break fails the check of its own item, and says so with the item's number. A check may also
/// stumble over what another item forbids, but then names its own item.
#[tokio::test(start_paused = true)]
async fn each_break_fails_its_item() {
    for (kind, item) in Break::ALL {
        let mut failed = Vec::new();
        for (position, check) in CHECKS.iter().enumerate() {
            let store = Arc::new(MemorySource::with_progress(kind.mode()));
            let source = Arc::new(BrokenSource::new(Arc::clone(&store), *kind));
            let checked = (check.run)(&Subject { source, writer: store }).await;
            if let Err(violation) = checked {
                assert_eq!(violation.item, (position + 1).to_string(), "{violation}");
                failed.push(position + 1);
            }
        }
        assert!(failed.contains(item), "{kind:?} passes the check of item {item}");
    }
}

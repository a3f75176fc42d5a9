//! Quickstart of `watch-cache`: list and watch pods by node, at exact revisions.

use std::sync::Arc;

use futures_util::StreamExt;
use watch_cache::{At, Cache, Config, Index, ListRequest, MemorySource, Start, WatchRequest};

#[tokio::main(flavor = "current_thread")]
async fn main() -> watch_cache::Result<()> {
    let source = Arc::new(MemorySource::new());
    source.put("/pods/a", "n1");

    // The index reads what it needs from the bytes; here they are the node's name.
    let by_node = Index::new("spec.nodeName", |pod| Some((&pod.value[..]).into()));
    let (cache, driver) = Cache::open(source.clone(), vec![by_node], Config::default())?;
    tokio::spawn(driver);
    cache.ready().await?;

    // A node's agent: what is there, then what changes, and nothing of other nodes.
    let request = WatchRequest::new("/pods/").index("spec.nodeName", "n1");
    let mut watcher = cache.watch(request.from(Start::Initial))?;

    let before = source.put("/pods/b", "n1");
    source.put("/pods/c", "n2");
    source.put("/pods/a", "n2"); // leaves the node

    for _ in 0..4 {
        println!("{:?}", watcher.next().await.transpose()?);
    }

    // Consistent: holds every write acknowledged before. Exact: the past as it was.
    let n2 = ListRequest::new("/pods/").index("spec.nodeName", "n2");
    let now = cache.list(n2.clone()).await?;
    let then = cache.list(n2.at(At::Exactly(before))).await?;
    println!(
        "n2: {} pods at {}, {} at {before}",
        now.objects.len(),
        now.revision,
        then.objects.len()
    );
    Ok(())
}

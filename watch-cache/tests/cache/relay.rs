//! A cache as the source of others, in virtual time.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;
use watch_cache::{
    At, Cache, Config, ErrorKind, ListRequest, ProgressMode, Result, RevisionDigest, Source,
    SourceEvent, Start, WatchRequest, Write,
};

use super::{World, brief, drain, keys, schema, spawn, text, world_of};

async fn over(cache: &Cache, config: Config) -> (Cache, JoinHandle<Result<()>>) {
    let (relayed, driver) = Cache::open(Arc::new(cache.clone()), schema(vec![]), config).unwrap();
    let driver = spawn(driver);
    relayed.ready().await.unwrap();
    (relayed, driver)
}

trait DigestOf {
    async fn digest_of(&self, prefixes: &[Bytes]) -> RevisionDigest;
}

impl<S: Source> DigestOf for S {
    async fn digest_of(&self, prefixes: &[Bytes]) -> RevisionDigest {
        Source::digest(self, prefixes).await.unwrap().unwrap()
    }
}

async fn shown(cache: &Cache, revision: u64) -> Vec<String> {
    let list = ListRequest::new("/k/").at(At::Exactly(revision));
    let list = cache.list(list).await.unwrap();
    list.objects
        .iter()
        .map(|object| {
            let (key, value) = (text(object.key()), text(object.value()));
            format!("{key}={value} {} {}", object.create_revision(), object.mod_revision())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_caches_has_the_same_revisions_and_tells_the_same() {
    for mode in [ProgressMode::Pushed, ProgressMode::OnRequest, ProgressMode::ListOnly] {
        let World { store, cache: first, .. } = world_of(mode, Config::default()).await;
        let (second, _driver) = over(&first, Config::default()).await;
        let mut config = Config::default();
        config.prefixes = vec!["/k/".into(), "/other/".into()];
        let (third, _driver) = over(&second, config).await;
        let begun = third.revision();
        let watch = |cache: &Cache| cache.watch(WatchRequest::new("/k/").from(Start::After(begun)));
        let (mut near, mut far) = (watch(&first).unwrap(), watch(&third).unwrap());
        for round in 0..200_u64 {
            let key = format!("/k/{}", round * 7 % 20);
            match round % 6 {
                4 => store.delete(key),
                5 => {
                    store.txn((0..4).map(|at| {
                        Write::Put(format!("/k/{at}").into(), format!("n{round}").into())
                    }))
                }
                3 => store.put("/elsewhere", "x"),
                _ => store.put(key, format!("n{}", round % 3)),
            };
            if round % 10 == 0 {
                // What was acknowledged is there, through all of them.
                let list = third.list(ListRequest::new("/k/")).await.unwrap();
                let own = first.list(ListRequest::new("/k/").at(At::Any)).await.unwrap();
                assert_eq!(list.objects, own.objects);
                assert!(list.objects.iter().all(|object| object.mod_revision() <= list.revision));
            }
        }
        let last = third.list(ListRequest::new("/other/")).await.unwrap().revision;
        assert!(mode == ProgressMode::ListOnly || last == store.revision(), "{mode:?}: {last}");
        for prefixes in [&["/k/".into(), "/other/".into()][..], &["/k/1".into()]] {
            let told = third.digest_of(prefixes).await;
            assert_eq!(told, first.digest_of(prefixes).await, "{mode:?} {prefixes:?}");
            assert!(mode == ProgressMode::ListOnly || told == store.digest_of(prefixes).await);
        }
        for revision in begun..=last {
            assert_eq!(shown(&third, revision).await, shown(&first, revision).await);
        }
        let told = brief(&drain(&mut near).await);
        assert!(told.len() > 100);
        assert_eq!(brief(&drain(&mut far).await), told);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_relay_never_saw_is_a_gap_behind_it() {
    let world = world_of(ProgressMode::Pushed, Config::default()).await;
    world.put("/k/a", "n1").await;
    let (below, _driver) = over(&world.cache, Config::default()).await;
    world.faults.cut_watches();
    world.faults.fail_watches(1);
    world.store.put("/k/a", "n2");
    world.store.put("/k/b", "n2");
    let last = world.store.delete("/k/a");
    world.store.compact(last).unwrap();
    let mut watcher = below.watch(WatchRequest::new("/k/").from(Start::After(2))).unwrap();
    below.wait_for(last).await.unwrap();
    assert_eq!((world.cache.stats().lists, below.stats().lists), (2, 2));
    assert_eq!(below.stats().malformed, 0);
    assert_eq!(shown(&below, last).await, shown(&world.cache, last).await);
    assert_eq!(
        brief(&drain(&mut watcher).await),
        [format!("-/k/a@{last}"), format!("+/k/b@{last}")]
    );
    let within = below.list(ListRequest::new("").at(At::Exactly(last - 1))).await.unwrap_err();
    assert!(matches!(within.kind(), ErrorKind::Expired { .. }), "{within}");
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_had_to_begin_anew_is_listed_anew() {
    let world = world_of(ProgressMode::Pushed, Config::default()).await;
    world.put("/k/a", "n1").await;
    let (below, _driver) = over(&world.cache, Config::default()).await;
    // A lie, which the next revision shows.
    world.faults.inject(Ok(SourceEvent::Progress(3)));
    below.wait_for(3).await.unwrap();
    world.store.put("/k/b", "n2");
    let newest = world.store.put("/k/a", "n3");
    below.wait_for(newest).await.unwrap();
    let list = below.list(ListRequest::new("/k/")).await.unwrap();
    assert_eq!((keys(&list.objects), list.revision), (vec!["/k/a".into(), "/k/b".into()], newest));
    assert_eq!(world.cache.stats().early_progress, 1);
    assert_eq!(below.stats().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_relay_ends_what_is_behind_it() {
    let World { cache, driver, .. } = world_of(ProgressMode::Pushed, Config::default()).await;
    let (below, ends) = over(&cache, Config::default()).await;
    driver.abort();
    assert_eq!(ends.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    let error = below.list(ListRequest::new("")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_relay_asks_one_question_for_all_behind_it() {
    let world = world_of(ProgressMode::Pushed, Config::default()).await;
    let mut behind = Vec::new();
    for _ in 0..20 {
        behind.push(over(&world.cache, Config::default()).await.0);
    }
    let asked = world.faults.questions_asked();
    let revision = world.store.put("/k/a", "n1");
    let lists = behind.iter().map(|cache| cache.list(ListRequest::new("/k/")));
    for list in futures_util::future::join_all(lists).await {
        let list = list.unwrap();
        assert_eq!((list.revision, list.objects.len()), (revision, 1));
    }
    let asked = world.faults.questions_asked() - asked;
    assert!((1..=2).contains(&asked), "{asked} questions");
}

#[tokio::test(start_paused = true)]
async fn a_relay_reads_within_its_prefixes_alone() {
    let mut config = Config::default();
    config.prefixes = vec!["/k/".into()];
    let world = world_of(ProgressMode::Pushed, config).await;
    let (outside, driver) =
        Cache::open(Arc::new(world.cache.clone()), schema(vec![]), Config::default()).unwrap();
    let error = spawn(driver).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(outside.ready().await.unwrap_err().kind(), ErrorKind::Closed);
}

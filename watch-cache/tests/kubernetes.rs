//! The Kubernetes source over a client that says what the test tells it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use proptest::prelude::*;
use watch_cache::{
    Change, Error, ErrorKind, Events, KubernetesAnswer, KubernetesClient, KubernetesConfig,
    KubernetesSource, Result, Source, SourceEvent, SourceObject,
};

/// What is to be answered next.
struct Answer {
    status: u16,
    pieces: Vec<Bytes>,
    /// How the body ends.
    end: End,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Whole,
    Cut,
    Silent,
}

/// Answers as it was told, and keeps what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn answer(&self, status: u16, body: &str, piece: usize, end: End) {
        self.bytes(status, body.as_bytes(), piece, end);
    }

    fn bytes(&self, status: u16, body: &[u8], piece: usize, end: End) {
        let pieces = body.chunks(piece).map(Bytes::copy_from_slice).collect();
        self.answers.lock().unwrap().push_back(Answer { status, pieces, end });
    }

    fn says(&self, body: &str) {
        self.answer(200, body, usize::MAX, End::Whole);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn source(&self, config: KubernetesConfig) -> KubernetesSource {
        KubernetesSource::new(self.clone(), "/api/v1/pods", config).unwrap()
    }
}

#[async_trait]
impl KubernetesClient for Script {
    async fn get(&self, path_and_query: &str) -> Result<KubernetesAnswer> {
        self.asked.lock().unwrap().push(path_and_query.to_owned());
        let next = self.answers.lock().unwrap().pop_front();
        let Some(Answer { status, pieces, end }) = next else {
            return std::future::pending().await;
        };
        let pieces = stream::iter(pieces.into_iter().map(Ok));
        let body: BoxStream<'static, Result<Bytes>> = match end {
            End::Whole => pieces.boxed(),
            End::Cut => {
                let cut = Error::new(ErrorKind::Unavailable, "cut");
                pieces.chain(stream::iter([Err(cut)])).boxed()
            }
            End::Silent => pieces.chain(stream::pending()).boxed(),
        };
        Ok(KubernetesAnswer { status, body })
    }
}

fn config() -> KubernetesConfig {
    let mut config = KubernetesConfig::default();
    config.page_objects = 2;
    config
}

fn item(name: &str, version: u64) -> String {
    format!(r#"{{"metadata":{{"namespace":"d","name":"{name}","resourceVersion":"{version}"}}}}"#)
}

fn list(version: &str, token: &str, items: &[String]) -> String {
    let items = items.join(",");
    format!(
        r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{items}]}}"#
    )
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

const EXPIRED: &str = r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#;

async fn listed(source: &KubernetesSource, at: Option<u64>) -> Result<(u64, Vec<SourceObject>)> {
    let listing = source.list(&Bytes::from("/"), at).await?;
    let batches: Vec<_> = listing.objects.try_collect().await?;
    Ok((listing.revision, batches.concat()))
}

async fn kind(source: &KubernetesSource, at: Option<u64>) -> ErrorKind {
    listed(source, at).await.unwrap_err().kind()
}

async fn follow(script: &Script, body: &str, piece: usize, end: End) -> Events {
    script.answer(200, body, piece, end);
    script.source(config()).watch(&Bytes::from("/d/"), 5).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn pages_are_put_together_in_the_order_of_their_keys() {
    let script = Script::default();
    script.says(&list("9", "a+b/=", &[item("b", 7), item("a", 3)]));
    script.says(&list(
        "9",
        "",
        &[r#"{"kind":"X","metadata":{"name":"n","resourceVersion":"4"}}"#.into()],
    ));
    let (revision, objects) = listed(&script.source(config()), None).await.unwrap();
    let keys: Vec<_> =
        objects.iter().map(|object| (&object.key[..], object.mod_revision)).collect();
    assert_eq!((revision, keys), (9, vec![(&b"/d/a"[..], 3), (b"/d/b", 7), (b"/n", 4)]));
    // What a list leaves out is as a watch has it.
    let head = br#"{"kind":"Pod","apiVersion":"v1","metadata":"#;
    assert!(objects[0].value.starts_with(head), "{:?}", objects[0].value);
    assert!(objects[2].value.starts_with(br#"{"kind":"X","metadata""#));
    let asked = script.asked();
    assert_eq!(asked, ["/api/v1/pods?limit=2", "/api/v1/pods?limit=2&continue=a%2Bb%2F%3D"]);
    script.says(r#"{"metadata":{"resourceVersion":"4"},"items":null}"#);
    assert_eq!(listed(&script.source(config()), Some(4)).await.unwrap(), (4, vec![]));
    assert_eq!(
        script.asked(),
        ["/api/v1/pods?limit=2&resourceVersion=4&resourceVersionMatch=Exact"]
    );
}

const WATCH_LIST: &str = "/api/v1/pods?watch=1&allowWatchBookmarks=true&sendInitialEvents=true\
    &resourceVersionMatch=NotOlderThan";

#[tokio::test(start_paused = true)]
async fn a_list_is_a_watch_up_to_the_end_of_its_initial_events() {
    let mark = |annotations: &str| {
        let mark = r#"{"metadata":{"resourceVersion":"9""#;
        event("BOOKMARK", &format!("{mark}{annotations}}}}}"))
    };
    let end = mark(r#","annotations":{"k8s.io/initial-events-end":"true"}"#);
    let body = [
        event("ADDED", &item("b", 7)),
        event("ADDED", &item("a", 3)),
        event("ADDED", &item("c", 4)),
        mark(""),
        event("DELETED", &item("c", 8)),
        event("MODIFIED", &item("a", 9)),
        end,
        event("ADDED", &item("later", 10)),
    ]
    .concat();
    let script = Script::default();
    let mut config = config();
    config.watch_list = true;
    script.answer(200, &body, 50, End::Silent);
    let source = script.source(config);
    let (revision, objects) = listed(&source, None).await.unwrap();
    let keys: Vec<_> =
        objects.iter().map(|object| (&object.key[..], object.mod_revision)).collect();
    assert_eq!((revision, keys), (9, vec![(&b"/d/a"[..], 9), (b"/d/b", 7)]));
    assert_eq!(script.asked(), [WATCH_LIST]);
    // What is wrong is told, and is asked for again in the same way.
    for (body, end, expected) in [
        (event("ADDED", &item("a", 3)), End::Cut, ErrorKind::Unavailable),
        ("{\"type\"".to_owned(), End::Whole, ErrorKind::Unavailable),
        (event("ADDED", "{}"), End::Silent, ErrorKind::Corrupt),
        (event("ERROR", EXPIRED), End::Silent, ErrorKind::Expired { oldest_revision: 0 }),
    ] {
        script.answer(200, &body, 50, end);
        assert_eq!(kind(&source, None).await, expected, "{body}");
    }
    assert!(script.asked().iter().all(|asked| asked == WATCH_LIST));
    // A list of another revision is one of pages.
    script.says(&list("4", "", &[]));
    assert_eq!(listed(&source, Some(4)).await.unwrap(), (4, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_lists_as_watches_is_asked_for_pages() {
    let pages = "/api/v1/pods?limit=2";
    let added = event("ADDED", &item("a", 3));
    let refused = event("ERROR", r#"{"code":422}"#);
    // It refuses, which is remembered, or does not know what it is asked.
    for (status, body, end, known) in [
        (422, &added, End::Whole, true),
        (400, &added, End::Whole, true),
        (200, &refused, End::Silent, true),
        (200, &added, End::Silent, false),
        (200, &added, End::Whole, false),
    ] {
        let script = Script::default();
        let mut config = config();
        config.watch_list = true;
        let source = script.source(config);
        script.answer(status, body, 50, end);
        script.says(&list("9", "", &[item("a", 3)]));
        assert_eq!(listed(&source, None).await.unwrap().0, 9);
        assert_eq!(script.asked(), [WATCH_LIST, pages], "{status}");
        script.says(&list("9", "", &[item("a", 3)]));
        if known {
            assert_eq!(listed(&source, None).await.unwrap().0, 9);
            assert_eq!(script.asked(), [pages], "{status}");
        } else {
            assert_eq!(kind(&source, None).await, ErrorKind::Unavailable);
            assert_eq!(script.asked(), [WATCH_LIST], "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_token_expires_is_read_again_without_pages() {
    let script = Script::default();
    script.says(&list("9", "t", &[item("a", 3)]));
    script.answer(410, EXPIRED, 4, End::Whole);
    script.says(&list("12", "", &[item("a", 11)]));
    let (revision, objects) = listed(&script.source(config()), None).await.unwrap();
    assert_eq!((revision, objects.len()), (12, 1));
    assert_eq!(script.asked()[2], "/api/v1/pods?limit=0");
    // One that cannot begin is expired.
    script.answer(410, EXPIRED, usize::MAX, End::Whole);
    assert!(matches!(kind(&script.source(config()), Some(2)).await, ErrorKind::Expired { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_an_answer_has_its_kind() {
    let script = Script::default();
    let too_large = r#"{"code":504,"details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;
    let unavailable = ErrorKind::Unavailable;
    for (status, body, end, expected) in [
        (504, too_large, End::Whole, ErrorKind::TooLarge { current_revision: 0 }),
        (504, "", End::Whole, unavailable),
        (500, "no json", End::Whole, unavailable),
        (429, "{}", End::Silent, unavailable),
        (403, "{}", End::Whole, unavailable),
        (404, "{}", End::Whole, ErrorKind::Invalid),
        (400, "{}", End::Whole, ErrorKind::Invalid),
        (200, "{", End::Whole, ErrorKind::Corrupt),
        (200, "{", End::Cut, unavailable),
        (200, "{", End::Silent, unavailable),
        (200, r#"{"metadata":{"resourceVersion":"abc"}}"#, End::Whole, ErrorKind::Invalid),
        (200, r#"{"metadata":{"resourceVersion":"0"}}"#, End::Whole, ErrorKind::Invalid),
        (200, r#"{"metadata":{"resourceVersion":"7"}}"#, End::Whole, ErrorKind::Corrupt),
    ] {
        script.answer(status, body, usize::MAX, end);
        assert_eq!(kind(&script.source(config()), Some(5)).await, expected, "{status} {body}");
    }
    // Pages of different versions, one that is too large, and no answer at all.
    script.says(&list("9", "t", &[item("a", 3)]));
    script.says(&list("10", "", &[]));
    assert_eq!(kind(&script.source(config()), None).await, ErrorKind::Corrupt);
    let mut small = config();
    small.page_bytes = 1 << 10;
    script.answer(200, &" ".repeat(3000), 100, End::Silent);
    assert_eq!(kind(&script.source(small), None).await, ErrorKind::Invalid);
    assert_eq!(kind(&script.source(config()), None).await, unavailable);
    for (path, change) in [("api", 1), ("/a?b", 1), ("/a", 0)] {
        let mut config = config();
        config.page_objects = change;
        assert!(KubernetesSource::new(script.clone(), path, config).is_err(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_each_version_however_it_is_cut_into_pieces() {
    let body = [
        event("ADDED", &item("a", 6)),
        "\n".to_owned(),
        event("BOOKMARK", r#"{"metadata":{"resourceVersion":"8"}}"#),
        event("MODIFIED", &item("a", 9)),
        event("ADDED", r#"{"metadata":{"name":"n","resourceVersion":"10"}}"#),
        event("DELETED", &item("a", 11)),
    ]
    .concat();
    for piece in [1, 2, 7, 64, usize::MAX] {
        let script = Script::default();
        let mut events = follow(&script, &body, piece, End::Silent).await;
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(match events.next().await.unwrap().unwrap() {
                SourceEvent::Progress(revision) => ("progress", revision),
                SourceEvent::Revision(revision) => match &revision.changes[..] {
                    [Change::Put(object)] => {
                        assert_eq!(object.value, item("a", revision.revision));
                        ("put", object.mod_revision)
                    }
                    [Change::Delete(key)] => {
                        assert_eq!(key, "/d/a");
                        ("delete", revision.revision)
                    }
                    other => panic!("{other:?}"),
                },
            });
        }
        // What is beside the prefix is not told.
        assert_eq!(told, [("put", 6), ("progress", 8), ("put", 9), ("delete", 11)]);
        let query = "watch=1&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=300";
        assert_eq!(script.asked(), [format!("/api/v1/pods?{query}")]);
        // Silence for longer than the server keeps a watch means that it is gone.
        let error = events.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(events.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_the_server_ended_it() {
    let script = Script::default();
    let mut events = follow(&script, &event("ADDED", &item("a", 6)), 9, End::Whole).await;
    script.says(&event("BOOKMARK", r#"{"metadata":{"resourceVersion":"20"}}"#));
    script.answer(200, &event("ERROR", EXPIRED), 5, End::Silent);
    let first = events.next().await.unwrap().unwrap();
    assert!(matches!(first, SourceEvent::Revision(revision) if revision.revision == 6));
    assert_eq!(events.next().await.unwrap().unwrap(), SourceEvent::Progress(20));
    let error = events.next().await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Expired { .. }), "{error}");
    assert!(events.next().await.is_none(), "an error is the last item");
    let from = |after: u64| format!("resourceVersion={after}&");
    let asked = script.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].contains(&from(6)) && asked[2].contains(&from(20)), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_cannot_be_believed_ends() {
    let bookmark = |version: u64| {
        event("BOOKMARK", &format!(r#"{{"metadata":{{"resourceVersion":"{version}"}}}}"#))
    };
    for (body, end, expected) in [
        (event("ADDED", &item("a", 5)), End::Silent, ErrorKind::Corrupt),
        (bookmark(4), End::Silent, ErrorKind::Corrupt),
        (event("OTHER", &item("a", 6)), End::Silent, ErrorKind::Corrupt),
        (event("ADDED", "{}"), End::Silent, ErrorKind::Corrupt),
        (
            event("ADDED", r#"{"metadata":{"resourceVersion":"x"}}"#),
            End::Silent,
            ErrorKind::Invalid,
        ),
        ("nonsense\n".to_owned(), End::Silent, ErrorKind::Corrupt),
        ("{\"type\":".to_owned(), End::Whole, ErrorKind::Unavailable),
        (String::new(), End::Whole, ErrorKind::Unavailable),
        (String::new(), End::Cut, ErrorKind::Unavailable),
        ("x".repeat(9 << 20), End::Silent, ErrorKind::Invalid),
    ] {
        let script = Script::default();
        let mut events = follow(&script, &body, 1 << 16, end).await;
        let error = events.next().await.unwrap().unwrap_err();
        let begins: String = body.chars().take(60).collect();
        assert_eq!(error.kind(), expected, "{begins}");
        assert!(events.next().await.is_none());
    }
    let script = Script::default();
    let early = script.source(config()).watch(&Bytes::new(), 0).await.map(|_| ());
    assert!(matches!(early.unwrap_err().kind(), ErrorKind::Expired { .. }));
    script.answer(410, EXPIRED, usize::MAX, End::Whole);
    let old = script.source(config()).watch(&Bytes::new(), 3).await.map(|_| ());
    assert!(matches!(old.unwrap_err().kind(), ErrorKind::Expired { .. }));
    let mut quick = config();
    quick.answer_timeout = Duration::from_millis(1);
    let none = script.source(quick).watch(&Bytes::new(), 3).await.map(|_| ());
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// What a body is changed into: a byte is another, or the rest is gone.
fn spoil(text: &str, at: usize, byte: u8, cut: bool) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    if cut {
        bytes.truncate(at);
    } else if let Some(spoilt) = bytes.get_mut(at) {
        *spoilt = byte;
    }
    bytes
}

proptest! {
    #[test]
    fn spoilt_bodies_never_panic(at: usize, byte: u8, cut: bool, piece in 1_usize..64) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let script = Script::default();
            let body = spoil(&list("9", "", &[item("b", 7), item("a", 3)]), at, byte, cut);
            script.bytes(200, &body, piece, End::Whole);
            if let Ok((revision, objects)) = listed(&script.source(config()), None).await {
                assert!(revision > 0 && objects.len() <= 2);
            }
            let script = Script::default();
            let body = [event("ADDED", &item("a", 6)), event("DELETED", &item("a", 7))].concat();
            script.bytes(200, &spoil(&body, at, byte, cut), piece, End::Cut);
            let source = script.source(config());
            let mut events = source.watch(&Bytes::new(), 5).await.unwrap();
            let mut last = 5;
            while let Some(Ok(SourceEvent::Revision(revision))) = events.next().await {
                assert!(revision.revision > last);
                last = revision.revision;
            }
        });
    }
}

//! Every adapter keeps the contract of `Source`, and broken ones are caught.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and spawns what a caller would"
)]

#[path = "support/server.rs"]
mod server;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use lazy_blob::conformance::{self, CHECKS, Subject};
use lazy_blob::{
    Error, ErrorKind, Fault, FaultSource, FileSource, HttpClient, HttpConfig, HttpSource,
    MemorySource, Result, Source, source_conformance,
};
use server::Server;

struct Memory;

#[async_trait]
impl Subject for Memory {
    async fn create(&self, bytes: Bytes) -> Arc<dyn Source> {
        Arc::new(MemorySource::new(bytes))
    }
}

/// `Arc<dyn Source>` is itself a source, and so is a decorator without faults.
struct Decorated;

#[async_trait]
impl Subject for Decorated {
    async fn create(&self, bytes: Bytes) -> Arc<dyn Source> {
        let inner: Arc<dyn Source> = Arc::new(MemorySource::new(bytes));
        Arc::new(FaultSource::new(inner, |_| Fault::None))
    }
}

struct Dynamic;

#[async_trait]
impl Subject for Dynamic {
    async fn create(&self, bytes: Bytes) -> Arc<dyn Source> {
        let inner: Arc<dyn Source> = Arc::new(MemorySource::new(bytes));
        Arc::new(inner)
    }
}

struct File(tempfile::TempDir);

#[async_trait]
impl Subject for File {
    async fn create(&self, bytes: Bytes) -> Arc<dyn Source> {
        let path = self.0.path().join("blob");
        std::fs::write(&path, bytes).unwrap();
        Arc::new(FileSource::open(path).unwrap())
    }

    async fn replace(&self, bytes: Bytes) -> bool {
        let path = self.0.path().join("blob");
        std::fs::write(&path, bytes).unwrap();
        // The clock of a file system may be coarse: make the modification visible.
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified + std::time::Duration::from_secs(1)).unwrap();
        true
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Source>>> {
        let open = FileSource::open(self.0.path().join("missing"));
        Some(open.map(|source| Arc::new(source) as Arc<dyn Source>))
    }
}

#[derive(Default)]
struct Http(Mutex<Option<Server>>);

#[async_trait]
impl Subject for Http {
    async fn create(&self, bytes: Bytes) -> Arc<dyn Source> {
        let server = Server::start(bytes).await;
        let client = HttpClient::new(HttpConfig::default()).unwrap();
        let source = HttpSource::new(client, &server.url()).unwrap();
        *self.0.lock().unwrap() = Some(server);
        Arc::new(source)
    }

    async fn replace(&self, bytes: Bytes) -> bool {
        let server = self.0.lock().unwrap();
        server.as_ref().unwrap().replace(bytes, Some("\"v1\""));
        true
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Source>>> {
        let server = Server::start(Bytes::new()).await;
        server.set(server::Manner::Status(404));
        let client = HttpClient::new(HttpConfig::default()).unwrap();
        let source = HttpSource::new(client, &server.url()).unwrap();
        *self.0.lock().unwrap() = Some(server);
        Some(Ok(Arc::new(source)))
    }
}

source_conformance!(memory, async { (Memory, ()) });
source_conformance!(dynamic, async { (Dynamic, ()) });
source_conformance!(decorated, async { (Decorated, ()) });
source_conformance!(file, async { (File(tempfile::tempdir().unwrap()), ()) });
source_conformance!(http, async { (Http::default(), ()) });

/// A source that breaks one promise.
#[derive(Debug)]
struct Broken {
    bytes: Arc<Mutex<Bytes>>,
    item: &'static str,
    sizes: Mutex<u64>,
    reads: Mutex<u64>,
}

#[async_trait]
impl Source for Broken {
    async fn size(&self) -> Result<u64> {
        let mut sizes = self.sizes.lock().unwrap();
        *sizes += 1;
        let grown = u64::from(self.item == "1" && *sizes > 2);
        Ok(self.bytes.lock().unwrap().len() as u64 + grown)
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let concurrent = {
            let mut reads = self.reads.lock().unwrap();
            *reads += 1;
            *reads > 1
        };
        if self.item == "5" && concurrent {
            return Err(Error::new(ErrorKind::Unavailable, "one call at a time"));
        }
        tokio::task::yield_now().await;
        // Without the guard that a correct adapter would have, item 6 never gets here.
        *self.reads.lock().unwrap() -= 1;
        self.slice(range)
    }
}

impl Broken {
    fn slice(&self, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.bytes.lock().unwrap();
        let (start, end, size) = (range.start as usize, range.end as usize, bytes.len());
        if start > end || end > size {
            if self.item == "3" && start < size && start < end {
                return Ok(bytes.slice(start..));
            }
            return Err(Error::new(ErrorKind::Invalid, "outside"));
        }
        if self.item == "4" && start == end {
            return Err(Error::new(ErrorKind::Invalid, "empty"));
        }
        let short = usize::from(self.item == "2" && end - start > 1000);
        Ok(bytes.slice(start..end - short))
    }
}

struct Breaks {
    item: &'static str,
    bytes: Arc<Mutex<Bytes>>,
}

#[async_trait]
impl Subject for Breaks {
    async fn create(&self, bytes: Bytes) -> Arc<dyn Source> {
        *self.bytes.lock().unwrap() = bytes;
        let bytes = Arc::clone(&self.bytes);
        let broken = Broken { bytes, item: self.item, sizes: Mutex::new(0), reads: Mutex::new(0) };
        if self.item == "6" { Arc::new(Wedged::new(broken)) } else { Arc::new(broken) }
    }

    async fn replace(&self, bytes: Bytes) -> bool {
        if self.item == "7" {
            *self.bytes.lock().unwrap() = bytes;
        }
        self.item == "7"
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Source>>> {
        (self.item == "8").then(|| Err(Error::new(ErrorKind::Unavailable, "who knows")))
    }
}

/// Fails for good once a read was dropped in its middle.
#[derive(Debug)]
struct Wedged {
    inner: Broken,
    busy: Mutex<bool>,
}

impl Wedged {
    fn new(inner: Broken) -> Self {
        Self { inner, busy: Mutex::new(false) }
    }
}

#[async_trait]
impl Source for Wedged {
    async fn size(&self) -> Result<u64> {
        self.inner.size().await
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if std::mem::replace(&mut *self.busy.lock().unwrap(), true) {
            return Err(Error::new(ErrorKind::Unavailable, "wedged"));
        }
        let answer = self.inner.read(range).await;
        *self.busy.lock().unwrap() = false;
        answer
    }
}

/// Each break is found by the check of its own item, and by that item's name. A break may show
/// in other checks too, where they read in the way that is broken.
#[test]
fn broken_sources_fail_their_item() {
    for (number, check) in CHECKS.iter().enumerate() {
        let item = ["1", "2", "3", "4", "5", "6", "7", "8"][number];
        let subject = |item| Breaks { item, bytes: Arc::default() };
        let found = conformance::run((check.run)(&subject(item))).unwrap_err();
        assert_eq!(found.item, item, "{}: {found}", check.name);
        assert_eq!(conformance::run((check.run)(&subject("none"))), Ok(()), "{}", check.name);
    }
}

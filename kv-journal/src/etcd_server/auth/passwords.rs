//! Passwords, hashed with bcrypt on threads of their own: one takes tens of milliseconds, as it
//! should.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;
use tonic::Status;

use crate::etcd_server::status::TOO_MANY_REQUESTS;

/// Passwords that wait for a thread. Who comes beyond that is told to come later.
const QUEUE: usize = 256;

type Work = Box<dyn FnOnce() + Send>;

/// Where passwords are hashed and compared. The threads end with it.
pub(super) struct Passwords {
    work: SyncSender<Work>,
    cost: u32,
}

impl Passwords {
    /// # Errors
    /// If the system has no thread.
    pub(super) fn new(threads: usize, cost: u32) -> io::Result<Self> {
        let (work, queue) = sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let thread = thread::Builder::new().name("kv-passwords".to_owned());
            thread.spawn(move || {
                while let Some(work) = next(&queue) {
                    work();
                }
            })?;
        }
        Ok(Self { work, cost })
    }

    /// The hash to keep of a password.
    pub(super) async fn hash(&self, password: String) -> Result<String, Status> {
        let mut salt = [0; 16];
        let failed = |_| Status::internal("the system has no randomness for a password");
        SystemRandom::new().fill(&mut salt).map_err(failed)?;
        let cost = self.cost;
        let hashed = self.run(move || {
            bcrypt::non_truncating_hash_with_salt(password.as_bytes(), cost, salt)
                .map(|hash| hash.format_for_version(bcrypt::Version::TwoA))
        });
        hashed.await?.map_err(|_| {
            Status::invalid_argument("etcdserver: password is longer than 72 bytes: choose another")
        })
    }

    /// Whether a password has this hash. What is no hash is that of no password.
    pub(super) async fn verify(&self, password: String, hash: String) -> Result<bool, Status> {
        self.run(move || bcrypt::non_truncating_verify(password.as_bytes(), &hash).unwrap_or(false))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let (done, result) = oneshot::channel();
        let work = Box::new(move || drop(done.send(work())));
        self.work.try_send(work).map_err(|_| TOO_MANY_REQUESTS)?;
        result.await.map_err(|_| Status::internal("a password was not compared: try again"))
    }
}

fn next(queue: &Mutex<Receiver<Work>>) -> Option<Work> {
    queue.lock().recv().ok()
}

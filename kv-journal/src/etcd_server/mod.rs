//! The etcd v3 API over any [`KvStore`]: etcd's own clients cannot tell it from etcd (feature
//! `etcd-server`).

mod api;
mod audience;
mod auth;
mod calls;
mod cluster;
mod compactor;
mod config;
mod connection;
mod copies;
mod counted;
mod definitions;
mod ending;
mod fuzz;
mod gateway;
mod gather;
mod identity;
mod in_line;
mod kv;
mod lease;
mod maintenance;
mod metrics;
mod pings;
mod plain;
mod recipes;
mod router;
mod serve;
mod snapshot;
mod status;
mod tls;
mod watch;

use std::fmt;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::time::Instant;

pub use auth::{AuthToken, JwtConfig};
pub use compactor::AutoCompaction;
pub use config::ServerConfig;
#[doc(hidden)]
pub use fuzz::fuzz_call;
#[doc(hidden)]
pub use gateway::fuzz_gateway;
pub use snapshot::{SnapshotFile, open_snapshot};
pub use tls::Tls;

use crate::error::{ErrorKind, Result};
use crate::etcd_api::Spawn;
use crate::kv_store::KvStore;
use api::Api;
use auth::Auth;
use compactor::Compactor;
use router::Router;
use serve::{Connections, stopped};

/// A server of the etcd v3 API. Clones are handles of the same one.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use kv_journal::etcd_server::{EtcdServer, ServerConfig};
/// use kv_journal::{Config, MemoryJournal, Store};
///
/// let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), Config::default()).await?;
/// tokio::spawn(driver);
/// let server = EtcdServer::open(Arc::new(store), ServerConfig::default(), |task| {
///     tokio::spawn(task);
/// })
/// .await?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:2379").await?;
/// server.serve(listener).await; // until `server.shut_down()` is called
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct EtcdServer {
    router: Router,
    api: Arc<Api>,
    connections: Arc<Connections>,
}

impl EtcdServer {
    /// A server of `store` whose connections and calls are run by `spawn`.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of its range, `Corrupt` if the store's users and roles cannot be
    /// read, and what the store fails with when it is asked
    /// how it is.
    pub async fn open(
        store: Arc<dyn KvStore>,
        mut config: ServerConfig,
        spawn: impl Spawn,
    ) -> Result<Self> {
        config.check()?;
        identity::fill_in(&*store, &mut config).await?;
        let status = store.status().await?;
        let spawn: Arc<dyn Spawn> = Arc::new(spawn);
        let connections = Arc::new(Connections::new(&config, Arc::clone(&spawn)));
        let auth = Auth::open(&*store, &config).await?;
        let stop = connections.stop();
        let api = Arc::new(Api::new(store, auth, (spawn, stop), config, &status));
        Ok(Self { router: Router::new(&api), api, connections })
    }

    /// Takes connections until the server is shut down; then waits until they have ended, or their
    /// time is over. Several listeners may be served at a time.
    ///
    /// # Cancel safety
    /// Dropping the future stops taking connections. Those that there are go on.
    pub async fn serve(&self, listener: TcpListener) {
        self.connections.serve(&listener, None, &self.router, &self.api).await;
    }

    /// As [`serve`](Self::serve), over TLS. A client that shows a certificate is known by its
    /// common name.
    ///
    /// # Cancel safety
    /// The same.
    pub async fn serve_tls(&self, listener: TcpListener, tls: &Tls) {
        self.connections.serve(&listener, Some(tls), &self.router, &self.api).await;
    }

    /// Compacts by `policy` until the server is shut down. What fails is tried again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a compaction undone or done whole.
    pub async fn auto_compact(&self, policy: AutoCompaction) {
        let began = Instant::now();
        let Ok(status) = self.api.store.status().await else { return };
        let mut compactor = Compactor::new(policy, status.revision);
        let Some(interval) = compactor.interval() else { return };
        let mut stop = self.connections.stop();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(interval) => {}
            }
            let Ok(status) = self.api.store.status().await else { continue };
            let Some(due) = compactor.look(began.elapsed(), status.revision) else { continue };
            match self.api.store.compact(due).await.map_err(|error| error.kind()) {
                Ok(_) | Err(ErrorKind::Compacted { .. }) => compactor.done(began.elapsed(), due),
                Err(_) => {}
            }
        }
    }

    /// Stops taking connections and calls, lets the calls that run end, and after
    /// [`ServerConfig::shutdown_grace`] ends them. [`serve`](Self::serve) returns then.
    pub fn shut_down(&self) {
        self.connections.shut_down();
    }
}

impl fmt::Debug for EtcdServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdServer").field("store", &self.api.store).finish_non_exhaustive()
    }
}

//! Calls: tried again where that is safe, by whoever has logged in.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status};

use super::config::EtcdStoreConfig;
use super::failure::{Effect, Failure, Next};
use super::login::{Login, Shown};
use crate::error::Result;
use crate::etcd_api::Channel;

/// The way to the cluster.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    channel: Channel,
    login: Login,
    config: EtcdStoreConfig,
    newest: AtomicU64,
}

impl Calls {
    pub(super) fn new(channel: Channel, config: EtcdStoreConfig) -> Self {
        let login = Login::new(config.login.clone());
        Self { inner: Arc::new(Inner { channel, login, config, newest: AtomicU64::new(0) }) }
    }

    pub(super) fn config(&self) -> &EtcdStoreConfig {
        &self.inner.config
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.inner.channel
    }

    pub(super) fn login(&self) -> &Login {
        &self.inner.login
    }

    /// The newest revision of which any answer told.
    pub(super) fn newest(&self) -> u64 {
        self.inner.newest.load(Ordering::Relaxed)
    }

    /// Keeps in mind that there is this revision, and returns it.
    pub(super) fn saw(&self, revision: u64) -> u64 {
        self.inner.newest.fetch_max(revision, Ordering::Relaxed);
        revision
    }

    /// Makes a call until it is answered, cannot be, or was tried often enough.
    pub(super) async fn call<Q, A, F>(
        &self,
        effect: Effect,
        message: Q,
        method: impl Fn(Channel, Request<Q>) -> F + Send + Sync,
    ) -> Result<A>
    where
        Q: Clone + Send + Sync,
        A: Send,
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let mut failed = 0;
        loop {
            let turn = self.channel().turn().await;
            let failure = match self.attempt(effect, message.clone(), &method).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            failed += 1;
            if failure.next == Next::Tell || failed >= self.config().attempts {
                return Err(failure.error);
            }
            if failure.next == Next::Elsewhere {
                self.channel().turn_away(turn).await;
            }
            sleep(self.config().delay_after(failed)).await;
        }
    }

    async fn attempt<Q, A, F>(
        &self,
        effect: Effect,
        message: Q,
        method: impl Fn(Channel, Request<Q>) -> F + Send + Sync,
    ) -> Result<A, Failure>
    where
        Q: Send,
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let login = self.in_time(self.login().shown(self.channel()), Effect::Reads);
        let shown = login.await?;
        let request = shown.with(message);
        let answered = self.in_time(method(self.channel().clone(), request), effect).await;
        match answered {
            Err(failure) if failure.next == Next::LogIn => Err(self.log_in(&shown, failure).await),
            answered => Ok(answered?.into_inner()),
        }
    }

    /// Renews the token, so that another attempt may succeed.
    async fn log_in(&self, refused: &Shown, failure: Failure) -> Failure {
        if !self.login().can_log_in() {
            return Failure { next: Next::Tell, ..failure };
        }
        let login = self.in_time(self.login().renew(refused, self.channel()), Effect::Reads);
        login.await.err().unwrap_or(failure)
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
        effect: Effect,
    ) -> Result<T, Failure> {
        match timeout(self.config().call_timeout, call).await {
            Ok(answered) => answered.map_err(|status| Failure::of(status, effect)),
            Err(_) => Err(Failure::silence(effect)),
        }
    }
}

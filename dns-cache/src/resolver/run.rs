//! The driver's work: one exchange for each question, whoever asks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::local::Shared;
use super::sync::Sync;
use crate::core::cache::{Answer, Key};
use crate::core::hash::KeyedHash;
use crate::error::Result;
use crate::upstream::Upstream;

/// A miss that waits.
pub(super) struct Ask {
    pub(super) key: Key,
    pub(super) reply: oneshot::Sender<Arc<Answer>>,
}

type Landed = (Key, Result<Bytes>);

pub(super) struct Run {
    shared: Arc<Shared>,
    upstream: Arc<dyn Upstream>,
    asks: mpsc::Receiver<Ask>,
    /// Who waits for each question that is on its way.
    waiters: HashMap<Key, Vec<oneshot::Sender<Arc<Answer>>>, KeyedHash>,
    exchanges: FuturesUnordered<BoxFuture<'static, Landed>>,
    sync: Option<Sync>,
}

impl Run {
    pub(super) fn new(
        shared: Arc<Shared>,
        upstream: Arc<dyn Upstream>,
        asks: mpsc::Receiver<Ask>,
        sync: Option<Sync>,
        seed: u128,
    ) -> Self {
        let waiters = HashMap::with_hasher(KeyedHash::new(seed));
        Self { shared, upstream, asks, waiters, exchanges: FuturesUnordered::new(), sync }
    }

    /// Works until every handle is gone and every question is answered.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut open = true;
        while open || !self.exchanges.is_empty() {
            tokio::select! {
                ask = self.asks.recv(), if open => match ask {
                    Some(ask) => self.take(ask),
                    None => open = false,
                },
                Some((key, result)) = self.exchanges.next() => self.land(&key, result),
                () = step(self.sync.as_mut()), if open => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, ask: Ask) {
        // The answer may have landed since the caller missed it.
        if let Some(answer) = self.shared.cache.peek(ask.key.as_ref(), self.shared.now()) {
            _ = ask.reply.send(Arc::new(answer));
            return;
        }
        let crowded = self.waiters.len() >= self.shared.config.max_in_flight;
        match self.waiters.entry(ask.key) {
            Entry::Occupied(mut flight) => {
                if flight.get().len() >= self.shared.config.max_waiters {
                    _ = ask.reply.send(self.shared.overloaded(flight.key()));
                    return;
                }
                self.shared.counters.coalesced();
                flight.get_mut().push(ask.reply);
            }
            Entry::Vacant(flight) if crowded => {
                _ = ask.reply.send(self.shared.overloaded(flight.key()));
            }
            Entry::Vacant(flight) => {
                self.shared.counters.upstream_queries();
                let exchange = exchange(&self.upstream, flight.key(), &self.shared);
                self.exchanges.push(exchange);
                flight.insert(vec![ask.reply]);
            }
        }
    }

    fn land(&mut self, key: &Key, result: Result<Bytes>) {
        let limits = self.shared.limits;
        let answer = result.and_then(|response| Answer::prepare(key, &response, limits));
        let answer = answer.unwrap_or_else(|_| {
            self.shared.counters.upstream_failures();
            Answer::failure(key, limits)
        });
        self.shared.cache.insert(key.as_ref(), &answer, self.shared.now());
        let answer = Arc::new(answer);
        for waiter in self.waiters.remove(key).unwrap_or_default() {
            // A caller that gave up does not matter.
            _ = waiter.send(Arc::clone(&answer));
        }
    }
}

fn exchange(
    upstream: &Arc<dyn Upstream>,
    key: &Key,
    shared: &Shared,
) -> BoxFuture<'static, Landed> {
    let (upstream, key) = (Arc::clone(upstream), key.clone());
    let query = key.query(shared.config.udp_payload_bytes);
    Box::pin(async move {
        let result = upstream.exchange(query).await;
        (key, result)
    })
}

/// Takes what the records have, or waits for ever where there are none.
async fn step(sync: Option<&mut Sync>) {
    match sync {
        Some(sync) => poll_fn(|cx| sync.poll(cx)).await,
        None => std::future::pending().await,
    }
}

//! Clients and clusters that something goes wrong with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use binpack::{
    Cluster, ClusterState, Error, ErrorKind, KubernetesAnswer, KubernetesClient, KubernetesRequest,
    Plan, Result,
};
use serde_json::Value;

use super::server::{Server, refusal};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server has too much to do, and does nothing.
    Busy,
    /// It does not get there.
    Lost,
    /// It is carried out, and the answer is lost.
    Unanswered,
    /// It is carried out, and half of the answer comes.
    Cut,
    /// Nothing: the one after is next.
    None,
}

/// A client of which some requests go wrong, by a sequence that follows from the seed.
pub(crate) struct Faulty {
    pub(crate) server: Server,
    random: AtomicU64,
    /// One of so many goes wrong.
    one_of: u64,
}

impl Faulty {
    pub(crate) fn new(server: Server, seed: u64, one_of: u64) -> Self {
        Self { server, random: AtomicU64::new(seed), one_of }
    }

    fn next(&self) -> Fault {
        let step = |state: u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let before = self
            .random
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| Some(step(state)));
        let random = step(before.unwrap()) >> 33;
        if !random.is_multiple_of(self.one_of) {
            return Fault::None;
        }
        let faults = [Fault::Busy, Fault::Lost, Fault::Unanswered, Fault::Cut];
        faults[usize::try_from(random / self.one_of % 4).unwrap()]
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection is gone")
}

#[async_trait]
impl KubernetesClient for Faulty {
    async fn send(&self, request: KubernetesRequest) -> Result<KubernetesAnswer> {
        let fault = self.next();
        if fault == Fault::Busy {
            let (status, body) = refusal(429, "too many requests");
            return Ok(KubernetesAnswer { status, body: body.to_string().into() });
        }
        if fault == Fault::Lost {
            return Err(lost());
        }
        let mut answer = self.server.answer(&request);
        match fault {
            Fault::Unanswered => Err(lost()),
            Fault::Cut => {
                answer.body.truncate(answer.body.len() / 2);
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }
}

/// A client whose requests pass through a function first.
pub(crate) struct Bent<F> {
    pub(crate) server: Server,
    pub(crate) bend: F,
}

#[async_trait]
impl<F> KubernetesClient for Bent<F>
where
    F: Fn(&Server, &KubernetesRequest) -> Option<(u16, Value)> + Send + Sync + 'static,
{
    async fn send(&self, request: KubernetesRequest) -> Result<KubernetesAnswer> {
        match (self.bend)(&self.server, &request) {
            Some((status, body)) => {
                Ok(KubernetesAnswer { status, body: body.to_string().into_bytes() })
            }
            None => Ok(self.server.answer(&request)),
        }
    }
}

/// A cluster that is asked again as long as it is unavailable, as a provisioner does.
pub(crate) struct Patient<C>(pub(crate) C);

#[async_trait]
impl<C: Cluster> Cluster for Patient<C> {
    async fn state(&self) -> Result<ClusterState> {
        loop {
            match self.0.state().await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tokio::time::sleep(Duration::from_micros(10)).await;
                }
                done => return done,
            }
        }
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        loop {
            match self.0.apply(plan).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tokio::time::sleep(Duration::from_micros(10)).await;
                }
                done => return done,
            }
        }
    }
}

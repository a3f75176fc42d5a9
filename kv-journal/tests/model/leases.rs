//! Leases in the model: who lives until when. All time is paused and passes in tenths of a second.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_journal::{ErrorKind, KeyRange, LeaseGrantRequest, RangeRequest};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::{Model, World};

#[derive(Debug, Clone)]
pub(super) enum LeaseStep {
    Grant { id: i64, ttl_secs: u64 },
    Revoke(i64),
    KeepAlive(i64),
    Wait { tenths: u64 },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    ttl: Duration,
    deadline: Instant,
}

impl Lease {
    fn new(ttl: Duration) -> Self {
        Self { ttl, deadline: Instant::now() + ttl }
    }

    fn is_over(&self) -> bool {
        self.deadline <= Instant::now()
    }
}

/// The leases that transactions and steps name; some exist.
pub(super) fn lease() -> impl Strategy<Value = i64> {
    1..4i64
}

pub(super) fn step() -> impl Strategy<Value = LeaseStep> {
    prop_oneof![
        3 => (lease(), 2..6u64).prop_map(|(id, ttl_secs)| LeaseStep::Grant { id, ttl_secs }),
        1 => lease().prop_map(LeaseStep::Revoke),
        2 => lease().prop_map(LeaseStep::KeepAlive),
        3 => (1..40u64).prop_map(|tenths| LeaseStep::Wait { tenths }),
    ]
}

impl Model {
    pub(super) fn check_lease(&self, id: i64) -> Result<(), ErrorKind> {
        if id == 0 || self.leases.contains_key(&id) {
            Ok(())
        } else {
            Err(ErrorKind::LeaseNotFound)
        }
    }

    /// A store that opens gives every lease its full time.
    pub(super) fn extend_leases(&mut self) {
        self.leases.values_mut().for_each(|lease| *lease = Lease::new(lease.ttl));
    }

    /// What is attached to a lease goes, in one revision.
    fn drop_attached(&mut self, id: i64) {
        let mut state = self.now().clone();
        state.retain(|_, kv| kv.lease() != id);
        if state.len() < self.now().len() {
            self.states.push(state);
        }
    }
}

impl World {
    pub(super) async fn lease_step(&mut self, step: LeaseStep) {
        match step {
            LeaseStep::Grant { id, ttl_secs } => self.grant(id, ttl_secs).await,
            LeaseStep::Revoke(id) => self.revoke(id).await,
            LeaseStep::KeepAlive(id) => self.keep_alive(id),
            // The time has passed already.
            LeaseStep::Wait { .. } => self.expire(),
        }
    }

    async fn grant(&mut self, id: i64, ttl_secs: u64) {
        let request = LeaseGrantRequest::new(ttl_secs.cast_signed()).id(id);
        let answer = self.store.lease_grant(request).await;
        if self.model.leases.contains_key(&id) {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::LeaseExists);
            return;
        }
        assert_eq!(answer.unwrap().revision, self.model.revision());
        self.model.leases.insert(id, Lease::new(Duration::from_secs(ttl_secs)));
    }

    async fn revoke(&mut self, id: i64) {
        let answer = self.store.lease_revoke(id).await;
        if self.model.leases.remove(&id).is_none() {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::LeaseNotFound);
            return;
        }
        self.model.drop_attached(id);
        assert_eq!(answer.unwrap(), self.model.revision());
    }

    fn keep_alive(&mut self, id: i64) {
        let answer = self.store.lease_keep_alive(id).unwrap();
        let lease = self.model.leases.get_mut(&id);
        let renewed = lease.map_or(0, |lease| {
            *lease = Lease::new(lease.ttl);
            lease.ttl.as_secs()
        });
        assert_eq!((answer.ttl_secs, answer.revision), (renewed, self.model.revision()));
    }

    /// Lets time pass, which it does nowhere else.
    pub(super) async fn wait(&mut self, tenths: u64) {
        sleep(Duration::from_millis(100) * u32::try_from(tenths).unwrap()).await;
        // A lease that ends right now goes within a tick, which is less than a tenth.
        while self.model.leases.values().any(|lease| lease.deadline == Instant::now()) {
            sleep(Duration::from_millis(100)).await;
        }
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    /// Which of several leases goes first is the store's affair; each is one revision.
    fn expire(&mut self) {
        for revision in self.model.revision() + 1..=self.store.revision() {
            let left = self.store.range(RangeRequest::new(KeyRange::all()).at(revision)).unwrap();
            let gone =
                self.model.now().values().find(|kv| !left.kvs.iter().any(|l| l.key() == kv.key()));
            let id = gone.expect("a key is gone").lease();
            assert!(self.model.leases[&id].is_over(), "lease {id} is not over");
            self.model.drop_attached(id);
            assert_eq!(self.model.revision(), revision);
        }
        self.model.leases.retain(|_, lease| !lease.is_over());
        let leases = &self.model.leases;
        let held =
            |kv: &&kv_journal::KeyValue| kv.lease() != 0 && !leases.contains_key(&kv.lease());
        assert_eq!(self.model.now().values().find(held), None, "its lease is over");
    }

    pub(super) fn compare_leases(&self) {
        let ids = self.store.leases().unwrap().ids;
        let by_deadline: BTreeMap<_, _> =
            self.model.leases.iter().map(|(id, lease)| ((lease.deadline, *id), *id)).collect();
        assert_eq!(ids, by_deadline.into_values().collect::<Vec<_>>());
        assert_eq!(self.store.stats().leases, ids.len() as u64);
        for (id, lease) in &self.model.leases {
            let known = self.store.lease_time_to_live(*id, true).unwrap();
            let left = lease.deadline - Instant::now();
            assert_eq!(known.ttl_secs, i64::try_from(left.as_secs()).unwrap());
            assert_eq!(known.granted_ttl_secs, lease.ttl.as_secs());
            let attached = self.model.now().values().filter(|kv| kv.lease() == *id);
            assert_eq!(
                known.keys,
                attached.map(kv_journal::KeyValue::key_bytes).collect::<Vec<_>>()
            );
        }
    }
}

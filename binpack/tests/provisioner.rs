//! The shell: batching, retries, failures and shutdown, in paused time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::similar_names,
    reason = "tests spawn drivers, and helpers of tests fail by panic"
)]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use binpack::{
    BuiltinCatalogue, Catalogue, Cluster, ClusterState, Config, Driver, Error, ErrorKind,
    InstanceType, MemoryCluster, NodePool, Plan, Pod, Provisioner, ReasonKind, Requirement,
    Resources, Result, Target, Unplaced,
};
use proptest::prelude::*;
use tokio::time::{Instant, sleep, timeout};

/// A cluster that fails when it is told to, and counts.
struct Flaky {
    inner: MemoryCluster,
    failures: AtomicU32,
    kind: ErrorKind,
    applied: AtomicU64,
}

impl Flaky {
    fn new(failures: u32, kind: ErrorKind) -> Arc<Self> {
        let pools = vec![NodePool::linux_amd64_on_demand("default")];
        let inner = MemoryCluster::new(ClusterState { pools, ..ClusterState::default() });
        Arc::new(Self { inner, failures: failures.into(), kind, applied: AtomicU64::new(0) })
    }

    fn fail(&self) -> Result<()> {
        let left =
            self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        left.map_or(Ok(()), |_| Err(Error::new(self.kind, "the cluster is on fire")))
    }
}

#[async_trait]
impl Cluster for Flaky {
    async fn state(&self) -> Result<ClusterState> {
        self.fail()?;
        self.inner.state().await
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        self.fail()?;
        self.applied.fetch_add(1, Ordering::Relaxed);
        self.inner.apply(plan).await
    }
}

fn open(cluster: Arc<Flaky>) -> (Provisioner, Driver) {
    Provisioner::open(Arc::new(BuiltinCatalogue::new()), cluster, Config::default())
        .expect("the config is valid")
}

fn pod(name: impl Into<Arc<str>>) -> Pod {
    Pod::new(name, Resources::new(500, 1 << 30))
}

fn paused<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

#[tokio::test(start_paused = true)]
async fn triggers_within_the_idle_window_make_one_plan() {
    let cluster = Flaky::new(0, ErrorKind::Unavailable);
    let (provisioner, driver) = open(cluster.clone());
    tokio::spawn(driver);
    for i in 0..5 {
        cluster.inner.add_pod(pod(format!("p{i}")));
        provisioner.trigger();
        sleep(Duration::from_millis(900)).await;
    }
    assert_eq!(provisioner.stats().plans, 0, "each trigger began the idle second anew");
    sleep(Duration::from_millis(200)).await;
    let stats = provisioner.stats();
    assert_eq!((stats.plans, stats.pods_on_launches), (1, 5));
    let nodes = cluster.inner.state().await.expect("memory").nodes;
    assert_eq!(nodes.len() as u64, stats.launches);
    assert_eq!((stats.unplaced, stats.retries, stats.last_error), (0, 0, None));
    assert!(stats.cost_per_hour_micros > 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_ends_after_its_longest_time_whatever_comes() {
    let cluster = Flaky::new(0, ErrorKind::Unavailable);
    let (provisioner, driver) = open(cluster.clone());
    tokio::spawn(driver);
    let began = Instant::now();
    while provisioner.stats().plans == 0 {
        provisioner.trigger();
        sleep(Duration::from_millis(500)).await;
    }
    let took = began.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn plan_now_does_not_wait_for_the_window_and_sees_what_was_there() {
    let cluster = Flaky::new(0, ErrorKind::Unavailable);
    let (provisioner, driver) = open(cluster.clone());
    tokio::spawn(driver);
    let began = Instant::now();
    cluster.inner.add_pod(pod("a"));
    let plan = provisioner.plan_now().await.expect("planned");
    assert_eq!((plan.bindings.len(), cluster.inner.bound().len()), (1, 1));
    let again = provisioner.plan_now().await.expect("planned");
    assert!(again.bindings.is_empty() && began.elapsed() < Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn ports_that_are_unavailable_are_asked_again_with_a_growing_pause() {
    let cluster = Flaky::new(10, ErrorKind::Unavailable);
    let (provisioner, driver) = open(cluster.clone());
    tokio::spawn(driver);
    cluster.inner.add_pod(pod("a"));
    let began = Instant::now();
    let plan = provisioner.plan_now().await.expect("it waits until the cluster answers");
    assert_eq!(plan.bindings.len(), 1);
    // 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 6.4, then three times 10.
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(42_700)..Duration::from_millis(42_800)).contains(&took),
        "{took:?}"
    );
    let stats = provisioner.stats();
    assert_eq!((stats.retries, stats.failed_rounds), (10, 0));
    assert_eq!(stats.last_error.as_deref(), Some("the cluster is on fire"));
}

fn malformed(name: &str) -> Pod {
    pod(name).require(Requirement { key: "".into(), ..Requirement::exists("k") })
}

#[tokio::test(start_paused = true)]
async fn a_malformed_pod_is_reported_and_blocks_no_other() {
    let cluster = Flaky::new(0, ErrorKind::Unavailable);
    let (provisioner, driver) = open(cluster.clone());
    tokio::spawn(driver);
    let huge = |name: &str| Pod::new(name, Resources::new(1 << 40, 0));
    for pod in [huge("u0"), malformed("m1"), pod("p2"), malformed("m3"), malformed("m4")] {
        cluster.inner.add_pod(pod);
    }
    for pod in [pod("p5"), huge("u6"), malformed("m7"), huge("u8"), malformed("")] {
        cluster.inner.add_pod(pod);
    }
    let plan = provisioner.plan_now().await.expect("the others are planned for");
    let bound: Vec<&str> = plan.bindings.iter().map(|b| &*b.pod).collect();
    assert_eq!(bound, ["p2", "p5"]);
    let unplaced: Vec<&str> = plan.unplaced.iter().map(|u| &*u.pod).collect();
    assert_eq!(unplaced, ["u0", "m1", "m3", "m4", "u6", "m7", "u8", ""], "in the state's order");
    for Unplaced { pod, reason, .. } in &plan.unplaced {
        assert_eq!(reason.kind == ReasonKind::Malformed, !pod.starts_with('u'), "{pod}: {reason}");
    }
    let said = plan.unplaced[1].reason.to_string();
    assert_eq!(said, "pod m1: requirements has ` Exists`: name the key");
    let stats = provisioner.stats();
    assert_eq!((stats.plans, stats.unplaced, stats.failed_rounds), (1, 8, 0));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_state_fails_the_round_and_not_the_driver() {
    let cluster = Flaky::new(0, ErrorKind::Unavailable);
    let (provisioner, driver) = open(cluster.clone());
    tokio::spawn(driver);
    cluster.inner.add_pod(pod("twice"));
    cluster.inner.add_pod(pod("twice"));
    let error = provisioner.plan_now().await.expect_err("names must be unique");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "pod twice: name is given twice: rename one");
    assert_eq!(provisioner.stats().failed_rounds, 1);
    assert_eq!(
        provisioner.plan_now().await.unwrap_err().kind(),
        ErrorKind::Invalid,
        "the driver still answers"
    );
}

/// A cluster in which a pod appears, and says so, while a plan is being applied.
struct Late {
    inner: MemoryCluster,
    provisioner: parking_lot::Mutex<Option<Provisioner>>,
}

#[async_trait]
impl Cluster for Late {
    async fn state(&self) -> Result<ClusterState> {
        self.inner.state().await
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        self.inner.apply(plan).await?;
        if let Some(provisioner) = self.provisioner.lock().take() {
            self.inner.add_pod(pod("late"));
            provisioner.trigger();
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_trigger_during_a_round_leads_to_another() {
    let pools = vec![NodePool::linux_amd64_on_demand("default")];
    let inner = MemoryCluster::new(ClusterState { pools, ..ClusterState::default() });
    let cluster = Arc::new(Late { inner, provisioner: parking_lot::Mutex::default() });
    let catalogue = Arc::new(BuiltinCatalogue::new());
    let (provisioner, driver) =
        Provisioner::open(catalogue, cluster.clone(), Config::default()).expect("valid");
    *cluster.provisioner.lock() = Some(provisioner.clone());
    tokio::spawn(driver);
    cluster.inner.add_pod(pod("early"));
    provisioner.trigger();
    sleep(Duration::from_secs(3)).await;
    assert_eq!((provisioner.stats().plans, cluster.inner.bound().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_closed_port_ends_the_driver_with_its_error() {
    let cluster = Flaky::new(1, ErrorKind::Closed);
    let (provisioner, driver) = open(cluster);
    let driver = tokio::spawn(driver);
    let error = provisioner.plan_now().await.expect_err("the cluster is closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    let cause = std::error::Error::source(&error).expect("the cause is kept").to_string();
    assert_eq!(cause, "the cluster is on fire");
    assert_eq!(driver.await.expect("no panic").unwrap_err().to_string(), cause);
    let later = provisioner.plan_now().await.unwrap_err();
    assert!(later.kind() == ErrorKind::Closed && std::error::Error::source(&later).is_some());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_driver_closes_every_call() {
    let (provisioner, driver) = open(Flaky::new(u32::MAX, ErrorKind::Unavailable));
    let driver = tokio::spawn(driver);
    let waiting = tokio::spawn({
        let provisioner = provisioner.clone();
        async move { provisioner.plan_now().await }
    });
    sleep(Duration::from_secs(1)).await;
    driver.abort();
    let waited =
        timeout(Duration::from_secs(60), waiting).await.expect("no call hangs").expect("no panic");
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(provisioner.plan_now().await.unwrap_err().kind(), ErrorKind::Closed);
    provisioner.trigger();

    let (provisioner, never_polled) = open(Flaky::new(0, ErrorKind::Unavailable));
    drop(never_polled);
    assert_eq!(provisioner.plan_now().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handles_finishes_what_was_asked() {
    let cluster = Flaky::new(0, ErrorKind::Unavailable);
    let (provisioner, driver) = open(cluster.clone());
    let driver = tokio::spawn(driver);
    cluster.inner.add_pod(pod("a"));
    provisioner.clone().trigger();
    drop(provisioner);
    timeout(Duration::from_secs(60), driver)
        .await
        .expect("it ends")
        .expect("no panic")
        .expect("no failure");
    assert_eq!(cluster.inner.bound().len(), 1);

    let (provisioner, driver) = open(Flaky::new(u32::MAX, ErrorKind::Unavailable));
    provisioner.trigger();
    drop(provisioner);
    let ended =
        timeout(Duration::from_secs(60), driver).await.expect("it does not retry for nobody");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_config_out_of_range_is_refused() {
    let mut config = Config::default();
    config.packing_rounds = 0;
    let cluster = Flaky::new(0, ErrorKind::Unavailable);
    let refused =
        Provisioner::open(Arc::new(BuiltinCatalogue::new()), cluster, config).expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

/// A catalogue that is unavailable every other time.
struct EveryOther(AtomicU32);

#[async_trait]
impl Catalogue for EveryOther {
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>> {
        if self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(Error::new(ErrorKind::Unavailable, "no prices now"));
        }
        Ok(BuiltinCatalogue::new().types())
    }
}

#[derive(Debug, Clone)]
enum Op {
    AddPods(u8),
    Trigger,
    PlanNow,
    Fail(u8),
    Pass(u16),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1..20u8).prop_map(Op::AddPods),
        3 => Just(Op::Trigger),
        1 => Just(Op::PlanNow),
        1 => (1..4u8).prop_map(Op::Fail),
        3 => (0..3_000u16).prop_map(Op::Pass),
    ]
}

/// The model: pods that were added, and where each was bound by the plans that were applied.
async fn replay(ops: Vec<Op>) {
    let cluster = Flaky::new(0, ErrorKind::Unavailable);
    let catalogue = Arc::new(EveryOther(AtomicU32::new(0)));
    let (provisioner, driver) = Provisioner::open(catalogue, cluster.clone(), Config::default())
        .expect("the config is valid");
    let driver = tokio::spawn(driver);
    let mut added = BTreeMap::new();
    for op in ops {
        match op {
            Op::AddPods(n) => {
                for _ in 0..n {
                    let new = Pod::new(
                        format!("p{}", added.len()),
                        Resources::new(300 + 100 * u64::from(n), 1 << 30),
                    );
                    added.insert(new.name.clone(), new.requests.clone());
                    cluster.inner.add_pod(new);
                }
            }
            Op::Trigger => provisioner.trigger(),
            Op::PlanNow => {
                let plan = provisioner.plan_now().await.expect("a flaky port only delays");
                assert!(plan.unplaced.is_empty());
                assert_eq!(cluster.inner.bound().len(), added.len(), "it saw all that was there");
            }
            Op::Fail(n) => cluster.failures.store(n.into(), Ordering::Relaxed),
            Op::Pass(ms) => sleep(Duration::from_millis(ms.into())).await,
        }
    }
    let last = provisioner.plan_now().await.expect("a flaky port only delays");
    assert!(
        last.bindings.iter().all(|b| matches!(b.target, Target::Existing(_) | Target::Launch(_)))
    );
    let stats = provisioner.stats();
    drop(provisioner);
    driver.await.expect("no panic").expect("no failure");

    let bound = cluster.inner.bound();
    assert!(bound.keys().eq(added.keys()), "every pod is bound, and once");
    assert_eq!(stats.plans, cluster.applied.load(Ordering::Relaxed));
    assert_eq!(stats.pods_on_existing + stats.pods_on_launches, added.len() as u64);
    let state = cluster.inner.state().await.expect("memory");
    assert_eq!(state.nodes.len() as u64, stats.launches);
    for node in &state.nodes {
        let here =
            bound.iter().filter(|(_, on)| **on == node.name).map(|(pod, _)| added[pod].cpu_milli);
        assert_eq!(here.sum::<u64>(), node.used.cpu_milli);
        assert!(node.used.fits_within(&node.allocatable));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_pod_is_bound_once(ops in prop::collection::vec(any_op(), 0..16)) {
        paused(replay(ops));
    }
}

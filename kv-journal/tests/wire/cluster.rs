//! A client of a cluster of three members, one of which dies.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kv_journal::{
    Consistency, ErrorKind, EtcdStore, EtcdStoreConfig, KeyRange, KvStore, PutRequest,
    WatchMessage, WatchRequest,
};
use tempfile::TempDir;

/// Three processes of etcd, which end with this.
struct Cluster {
    members: Vec<Child>,
    clients: Vec<String>,
    _data: TempDir,
}

impl Cluster {
    /// `None`, said loudly, where etcd is not installed, unless servers are required.
    async fn start() -> Option<Self> {
        for _ in 0..5 {
            match Self::spawn() {
                Ok(mut cluster) => {
                    if cluster.is_ready().await {
                        return Some(cluster);
                    }
                }
                Err(error) if std::env::var_os("TRESTLE_REQUIRE_SERVERS").is_some() => {
                    panic!("etcd is required and cannot be started: {error}")
                }
                Err(error) => {
                    eprintln!("SKIPPED: etcd cannot be started: {error}");
                    return None;
                }
            }
        }
        panic!("a cluster of etcd ended five times before it was ready");
    }

    fn spawn() -> std::io::Result<Self> {
        let data = TempDir::new()?;
        let listeners: Vec<TcpListener> =
            (0..6).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let urls = listeners
            .iter()
            .map(|listener| listener.local_addr().map(|address| format!("http://{address}")));
        let urls: Vec<String> = urls.collect::<Result<_, _>>()?;
        drop(listeners);
        let (clients, peers) = urls.split_at(3);
        let cluster: Vec<String> =
            peers.iter().enumerate().map(|(at, peer)| format!("m{at}={peer}")).collect();
        let mut members = Vec::new();
        for (at, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let member = Command::new("etcd")
                .args(["--name", &format!("m{at}"), "--initial-cluster", &cluster.join(",")])
                .arg("--data-dir")
                .arg(data.path().join(format!("m{at}")))
                .args(["--listen-client-urls", client, "--advertise-client-urls", client])
                .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            members.push(member);
        }
        Ok(Self { members, clients: clients.to_vec(), _data: data })
    }

    async fn is_ready(&mut self) -> bool {
        for at in 0..self.members.len() {
            while client_of(&self.clients[at..=at]).status().await.is_err() {
                if self.members.iter_mut().any(|member| member.try_wait().unwrap().is_some()) {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let write = PutRequest::new("ready", "");
        let written = client_of(&self.clients).put(write).await.is_ok();
        written && client_of(&self.clients).delete_range(KeyRange::all().into()).await.is_ok()
    }

    /// Kills a member.
    fn kill(&mut self, at: usize) {
        self.members[at].kill().unwrap();
        self.members[at].wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ended_already = member.kill();
            let _reaped = member.wait();
        }
    }
}

fn client_of(endpoints: &[String]) -> EtcdStore {
    let mut config = EtcdStoreConfig::new(endpoints);
    // An election may take its time on a busy machine.
    config.attempts = 60;
    EtcdStore::new(config, |task| drop(tokio::spawn(task))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_with_the_members_that_are_left() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let store = Arc::new(client_of(&cluster.clients));
    let first = store.put(PutRequest::new("k", "begin")).await.unwrap().revision;
    let mut watching = store.watch_stream().await.unwrap();
    let request = WatchRequest::new(KeyRange::key("k")).from_revision(first);
    watching.desk.create(request).unwrap();

    let mut acknowledged = vec![(first, "begin".to_owned())];
    for number in 0..60 {
        if number == 20 {
            // The client is connected to the first that it names.
            cluster.kill(0);
        }
        let value = format!("{number}");
        match store.put(PutRequest::new("k", value.clone())).await {
            Ok(put) => acknowledged.push((put.revision, value)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unknown, "{error}"),
        }
        let read = store.range(KeyRange::key("k").into(), Consistency::Linearizable).await.unwrap();
        assert!(read.kvs[0].mod_revision() >= acknowledged.last().unwrap().0);
    }
    assert!(acknowledged.len() > 50, "{} of 61 writes", acknowledged.len());

    let last = store.range(KeyRange::key("k").into(), Consistency::Linearizable).await.unwrap();
    let mut seen: Vec<(u64, String)> = Vec::new();
    while seen.last().is_none_or(|(revision, _)| *revision < last.kvs[0].mod_revision()) {
        match watching.messages.next().await.unwrap().unwrap() {
            WatchMessage::Events { batch, .. } => {
                let value = String::from_utf8(batch.events[0].kv.value().to_vec()).unwrap();
                seen.push((batch.revision, value));
            }
            WatchMessage::Canceled { reason, .. } => panic!("{reason:?}"),
            _ => {}
        }
    }
    // Every revision once, in order, and among them everything that was acknowledged.
    let revisions: Vec<u64> = seen.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, (first..=*revisions.last().unwrap()).collect::<Vec<u64>>());
    assert!(acknowledged.iter().all(|write| seen.contains(write)), "{acknowledged:?} {seen:?}");
}

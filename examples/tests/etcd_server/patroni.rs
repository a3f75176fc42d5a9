//! A real Patroni with PostgreSQL: it elects its leader through the server's JSON gateway.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::python::python_with;
use super::server::Server;

/// What a step may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two members of one cluster, ended when dropped.
struct Members {
    folder: TempDir,
    python: OsString,
    etcd_port: u16,
    postgres: PathBuf,
    running: [Option<Child>; 2],
    rest_ports: [u16; 2],
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where `initdb` is, as Debian installs it.
fn postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<_> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    folders.retain(|bin| bin.join("initdb").exists());
    folders.sort();
    folders.pop()
}

/// PostgreSQL does not run as root: there a user namespace has another name for it.
fn as_somebody() -> Option<Vec<&'static str>> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Some(Vec::new());
    }
    let other = vec!["unshare", "--user", "--map-user=1000", "--map-group=1000"];
    let there = Command::new(other[0]).args(&other[1..]).arg("true").status();
    there.is_ok_and(|status| status.success()).then_some(other)
}

impl Members {
    fn start(etcd_port: u16, python: OsString, postgres: PathBuf) -> Self {
        let folder = TempDir::new().unwrap();
        let rest_ports = [free_port(), free_port()];
        let mut members =
            Self { folder, python, etcd_port, postgres, running: [None, None], rest_ports };
        for member in 0..2 {
            members.run(member);
        }
        members
    }

    fn data(&self, member: usize) -> PathBuf {
        self.folder.path().join(format!("data{member}"))
    }

    fn config(&self, member: usize) -> String {
        let (rest, folder) = (self.rest_ports[member], self.folder.path().display());
        let (port, etcd, bin) = (free_port(), self.etcd_port, self.postgres.display());
        format!(
            "\
scope: trestle
name: member{member}
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}'}}
etcd3: {{host: '127.0.0.1:{etcd}'}}
bootstrap:
  dcs: {{ttl: 10, loop_wait: 1, retry_timeout: 3}}
  initdb: [{{encoding: UTF8}}, no-sync]
postgresql:
  listen: 127.0.0.1:{port}
  connect_address: 127.0.0.1:{port}
  data_dir: {folder}/data{member}
  bin_dir: {bin}
  pgpass: {folder}/pgpass{member}
  authentication:
    replication: {{username: replicator, password: secret}}
    superuser: {{username: postgres, password: secret}}
  parameters: {{unix_socket_directories: '{folder}', fsync: 'off'}}
  pg_hba: ['host all all 127.0.0.1/32 md5', 'host replication all 127.0.0.1/32 md5', 'local all all trust']
"
        )
    }

    fn run(&mut self, member: usize) {
        let config = self.folder.path().join(format!("member{member}.yml"));
        std::fs::write(&config, self.config(member)).unwrap();
        let log = File::create(self.folder.path().join(format!("log{member}"))).unwrap();
        let mut words: Vec<OsString> =
            as_somebody().unwrap_or_default().into_iter().map(Into::into).collect();
        words.extend([self.python.clone(), "-m".into(), "patroni".into(), config.into()]);
        let child = Command::new(&words[0])
            .args(&words[1..])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running[member] = Some(child);
    }

    /// Kills a member's Patroni and its PostgreSQL.
    fn kill(&mut self, member: usize) {
        let Some(mut patroni) = self.running[member].take() else { return };
        let _ended_already = patroni.kill();
        let _reaped = patroni.wait();
        let Ok(pid_file) = std::fs::read_to_string(self.data(member).join("postmaster.pid")) else {
            return;
        };
        // At once, but so that it takes its processes and its memory with it.
        if let Some(pid) = pid_file.lines().next() {
            let _ended_already = Command::new("kill").args(["-QUIT", pid]).status();
        }
    }

    /// Asks a member's Patroni: the status, and the answer if it is JSON.
    fn ask(&self, member: usize, path: &str) -> io::Result<(u16, Value)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.rest_ports[member]))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.unwrap_or(0), serde_json::from_str(body).unwrap_or_default()))
    }

    /// What the cluster looks like to a member: role and state of each.
    fn seen_by(&self, member: usize) -> [(String, String); 2] {
        let cluster = self.ask(member, "/cluster").map_or(Value::Null, |(_, cluster)| cluster);
        [0, 1].map(|other| {
            let name = format!("member{other}");
            let members = cluster["members"].as_array().into_iter().flatten();
            let found = members.into_iter().find(|told| told["name"] == *name);
            let field = |field: &str| {
                let told = found.and_then(|told| told[field].as_str());
                told.unwrap_or_default().to_owned()
            };
            (field("role"), field("state"))
        })
    }

    fn leads(&self, member: usize) -> bool {
        self.ask(member, "/primary").is_ok_and(|(status, _)| status == 200)
    }

    /// Waits until something can be seen.
    fn until<T>(&self, what: &str, see: impl Fn(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(seen) = see(self) {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let log = |member| {
            let path = self.folder.path().join(format!("log{member}"));
            std::fs::read_to_string(path).unwrap_or_default()
        };
        panic!("{what} was not seen; the members said:\n{}\n\n{}", log(0), log(1));
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for member in 0..2 {
            self.kill(member);
        }
    }
}

#[test]
fn patroni_elects_a_leader_keeps_it_over_a_restart_and_replaces_it() {
    let Some(python) = python_with("patroni") else { return };
    let required = std::env::var_os("TRESTLE_REQUIRE_SERVERS").is_some();
    let (Some(postgres), Some(_)) = (postgres(), as_somebody()) else {
        assert!(!required, "PostgreSQL, and somebody to run it, are required");
        eprintln!("SKIPPED: there is no PostgreSQL, or nobody but root to run it");
        return;
    };
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[]);
    let etcd_port: u16 = server.url.rsplit(':').next().unwrap().parse().unwrap();
    let mut members = Members::start(etcd_port, python, postgres);

    let leader = members.until("a leader", |all| [0, 1].into_iter().find(|one| all.leads(*one)));
    let other = 1 - leader;
    members.until("a replica that streams", |all| {
        let [first, second] = all.seen_by(leader);
        let (led, follows) = if leader == 0 { (first, second) } else { (second, first) };
        (led.0 == "leader" && follows == ("replica".to_owned(), "streaming".to_owned()))
            .then_some(())
    });
    let timeline = |all: &Members, member: usize| {
        all.ask(member, "/patroni").ok().and_then(|(_, told)| told["timeline"].as_u64())
    };
    let before = members.until("a timeline", |all| timeline(all, leader));

    // A server that was restarted knows who leads, and the watches and leases go on.
    let url = server.url.clone();
    server.terminate();
    let server = Server::start_at(&url, data.path());
    let held = |server: &Server| {
        let leader = server.json(&["get", "/service/trestle/leader"]);
        leader["kvs"][0]["lease"].as_i64()
    };
    let lease = held(&server).unwrap();
    let renewed = || {
        let told = server.json(&["lease", "timetolive", &format!("{lease:x}")]);
        told["ttl"].as_i64().unwrap()
    };
    // More than a lease's time later it still leads.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(12) {
        assert!(renewed() > 0);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(held(&server), Some(lease));
    members.until("the same leader", |all| all.leads(leader).then_some(()));
    assert_eq!(timeline(&members, leader), Some(before));

    members.kill(leader);
    members.until("another leader", |all| all.leads(other).then_some(()));
    members.until("a timeline of its own", |all| timeline(all, other).filter(|new| *new > before));
}

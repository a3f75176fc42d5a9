//! An etcd of one member as a child process.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Client, Outcome};

/// How long a start may take: it loads the whole database.
const START: Duration = Duration::from_secs(600);

/// A running etcd, killed when dropped. What it has acknowledged is on disk by then.
pub struct Etcd {
    child: Child,
    address: SocketAddr,
}

impl Etcd {
    /// Starts the `etcd` of `PATH` on the data in `directory` and waits until it answers.
    /// `None`, said loudly, if there is no such program.
    ///
    /// # Errors
    /// If it does not start, or if it is missing and `TRESTLE_REQUIRE_SERVERS` is 1.
    pub async fn start(directory: &Path, options: &[&str]) -> Outcome<Option<Self>> {
        Self::start_program(Path::new("etcd"), directory, options).await
    }

    /// The same with any `program` that takes etcd's flags.
    ///
    /// # Errors
    /// As those of [`start`](Self::start).
    pub async fn start_program(
        program: &Path,
        directory: &Path,
        options: &[&str],
    ) -> Outcome<Option<Self>> {
        let (client, peer) = (free_port()?, free_port()?);
        let peer = format!("http://{peer}");
        let url = format!("http://{client}");
        let log = File::create(directory.join("etcd.log"))?;
        let spawned = Command::new(program)
            .arg("--data-dir")
            .arg(directory.join("etcd"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--logger", "zap"])
            .args(["--quota-backend-bytes", "8589934592"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return missing(program),
            Err(error) => return Err(error.into()),
        };
        let mut etcd = Self { child, address: client };
        etcd.wait_until_it_answers().await?;
        Ok(Some(etcd))
    }

    async fn wait_until_it_answers(&mut self) -> Outcome<()> {
        let answers = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return Err(format!("etcd ended with {status}: see etcd.log").into());
                }
                if let Ok(mut client) = Client::connect(self.address).await
                    && client.get(b"ready").await.is_ok()
                {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START, answers).await?
    }

    /// Where it serves clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // Both fail only for a process that has ended by itself.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn missing(program: &Path) -> Outcome<Option<Etcd>> {
    let program = program.display();
    if std::env::var_os("TRESTLE_REQUIRE_SERVERS").is_some_and(|value| value == "1") {
        return Err(format!("no `{program}`, and TRESTLE_REQUIRE_SERVERS is 1").into());
    }
    eprintln!("SKIPPED: no `{program}`: nothing to compare with");
    Ok(None)
}

/// A port that was free a moment ago.
fn free_port() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

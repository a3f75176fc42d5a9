//! The example's process.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The example's binary, which `cargo test` builds beside the tests.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("examples/etcd-server");
    assert!(binary.exists(), "{} is missing: run `cargo build --examples`", binary.display());
    binary
}

pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// Runs until dropped, and is ready when this returns.
    pub(crate) fn start(data_dir: &Path, flags: &[&str]) -> Self {
        Self::start_with("http", data_dir, flags)
    }

    pub(crate) fn start_with(scheme: &str, data_dir: &Path, flags: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::at(format!("{scheme}://127.0.0.1:{port}"), data_dir, flags)
    }

    /// One where another was before.
    pub(crate) fn start_at(url: &str, data_dir: &Path) -> Self {
        Self::at(url.to_owned(), data_dir, &[])
    }

    fn at(url: String, data_dir: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready =
            lines.by_ref().map(Result::unwrap).find(|l| l.contains("ready to serve client"));
        assert!(ready.is_some(), "the server ended before it was ready");
        // What it says later must find a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    pub(crate) fn etcdctl(&self, args: &[&str]) -> Output {
        Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            // With a scheme, the old client asks for an authority that is none.
            .args(["--endpoints", self.url.trim_start_matches("http://")])
            .args(args)
            .output()
            .expect("etcdctl runs")
    }

    /// What a command prints when it succeeds.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.etcdctl(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["-w", "json"]].concat())).unwrap()
    }

    /// Ends it as an operator does, and waits for the end.
    pub(crate) fn terminate(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Whether `etcdctl` is there; said loudly if not, and a failure where servers are required.
pub(crate) fn etcdctl_is_there() -> bool {
    let there = Command::new("etcdctl").arg("version").output().is_ok();
    assert!(
        there || std::env::var_os("TRESTLE_REQUIRE_SERVERS").is_none(),
        "etcdctl is required and not installed"
    );
    if !there {
        eprintln!("SKIPPED: etcdctl is not installed");
    }
    there
}

//! The full stack as a user runs it: the program, its flags, its mistakes and its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use kv_journal::{Config, FileConfig, FileJournal, KeyRange, RangeRequest, Store};
use tempfile::TempDir;

/// The example's binary, which `cargo test` builds beside the tests.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("examples/full-stack");
    assert!(binary.exists(), "{} is missing: run `cargo build --examples`", binary.display());
    binary
}

/// A folder with a small image, so that no test builds one from the machine's files.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        for i in 0..8_u8 {
            let content: Vec<u8> =
                (0..200_000_u32).map(|n| (n * 7 / 3).to_le_bytes()[0] ^ i).collect();
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, format!("usr/bin/tool-{i}"), &content[..]).unwrap();
        }
        let layer = archive.into_inner().unwrap().finish().unwrap();
        fs::write(folder.path().join("layer.tar.gz"), layer).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    /// A small run with this image and these further arguments.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(["--nodes", "10"]).args(args);
        if !args.contains(&"--image") {
            command.arg("--image").arg(self.path("layer.tar.gz"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// A run that must fail: its exit code and the one line that says why.
    fn refused(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<_> =
            stderr.lines().filter(|line| line.starts_with("full-stack: ")).collect();
        assert_eq!(lines.len(), 1, "one line says why: {stderr}");
        (output.status.code(), lines[0].to_owned())
    }
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_keeps_every_invariant_and_says_so() {
    let bench = Bench::new();
    let out = bench.path("out.json");
    let output = bench.run(&["--pods-count", "120", "--json", out.to_str().unwrap()]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let table = String::from_utf8(output.stdout).unwrap();
    for part in ["kv-journal", "watch-cache", "binpack", "lazy-blob", "dns-cache", "service level"]
    {
        assert!(table.contains(part), "{part} is missing: {table}");
    }
    let report = json(&out);
    assert_eq!((&report["violations"], &report["pods"]), (&0.into(), &120.into()));
    assert!(report["nodes"].as_u64().unwrap() >= 10);
    assert!(report["cost_per_hour"].as_f64().unwrap() > 0.0);
    for slo in report["slo"].as_array().unwrap() {
        let keys = ["name", "value", "limit", "unit", "met"];
        assert!(keys.iter().all(|key| !slo[key].is_null()), "{slo}");
    }
    let (sent, size) = (&report["image_bytes_fetched"], &report["image_bytes"]);
    assert!(sent.as_u64().unwrap() > 0 && size.as_u64().unwrap() > 0);
    assert!(report["dns_hit_ratio"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_trace_and_a_catalogue_are_taken_from_files() {
    let Ok(data) = std::env::var("TRESTLE_DATA") else {
        eprintln!("SKIPPED: set TRESTLE_DATA to the folder with openb_pod_list_default.csv");
        return;
    };
    let bench = Bench::new();
    let trace = fs::read_to_string(Path::new(&data).join("openb_pod_list_default.csv")).unwrap();
    let head: String = trace.split_inclusive('\n').take(151).collect();
    let pods = bench.file("pods.csv", &head);
    let catalogue = Path::new(&data).join("aws_instance_types.csv");
    let out = bench.path("out.json");
    let output = bench.run(&[
        "--pods",
        &pods,
        "--catalog",
        catalogue.to_str().unwrap(),
        "--json",
        out.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((&json(&out)["violations"], &json(&out)["pods"]), (&0.into(), &150.into()));
}

#[test]
fn a_wrong_flag_is_one_line() {
    let bench = Bench::new();
    let cases: [(&[&str], &str); 4] = [
        (&["--nodse", "5"], "--nodse"),
        (&["--pods-count", "many"], "many"),
        (&["--dns-listen", "here"], "here"),
        (&["--pods", "a.csv", "--pods-count", "5"], "--pods-count"),
    ];
    for (args, named) in cases {
        let (code, line) = bench.refused(args);
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains(named), "{line}");
    }
}

#[test]
fn a_missing_or_malformed_file_is_named() {
    let bench = Bench::new();
    let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,\
                  deletion_time,scheduled_time\n";
    let bad_pods =
        bench.file("bad-pods.csv", &format!("{header}p-0,lots,1,0,0,,LS,Running,0,0,0\n"));
    let no_pods = bench.file("no-pods.csv", header);
    let bad_types = bench.file("bad-types.csv", "name,price\nm7i.large,cheap\n");
    let bad_image = bench.file("bad-image.tar.gz", "this is no gzip");
    let cases = [
        ("--pods", "none.csv", "none.csv"),
        ("--pods", &bad_pods, "lots"),
        ("--pods", &no_pods, "no-pods.csv"),
        ("--catalog", "none.csv", "none.csv"),
        ("--catalog", &bad_types, "bad-types.csv"),
        ("--image", "none.tar.gz", "none.tar.gz"),
        ("--image", &bad_image, "bad-image.tar.gz"),
        ("--data-dir", &bad_image, "bad-image.tar.gz"),
        ("--audit-log", "/none/audit", "/none/audit"),
    ];
    for (flag, value, named) in cases {
        let (code, line) = bench.refused(&[flag, value]);
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains(named), "{flag} {value}: {line}");
    }
}

#[test]
fn a_busy_port_is_named() {
    let bench = Bench::new();
    let registry = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dns = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for (flag, address) in
        [("--registry-listen", registry.local_addr()), ("--dns-listen", dns.local_addr())]
    {
        let address = address.unwrap().to_string();
        let (code, line) = bench.refused(&[flag, &address]);
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains(&address), "{line}");
    }
}

#[test]
fn a_data_dir_in_use_is_refused() {
    let bench = Bench::new();
    let folder = bench.path("data");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _held = runtime.block_on(FileJournal::open(&folder, FileConfig::default())).unwrap();
    let (code, line) = bench.refused(&["--data-dir", folder.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains(folder.to_str().unwrap()), "{line}");
}

/// A tmpfs of one MiB at a folder, unmounted at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(folder: PathBuf) -> Option<Self> {
        fs::create_dir_all(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&folder);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }

    /// What an operator does when the disk is full.
    fn make_room(&self) {
        let mut remount = Command::new("mount");
        let remounted = remount.args(["-o", "remount,size=64m"]).arg(&self.0).status().unwrap();
        assert!(remounted.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_run_and_loses_nothing_acknowledged() {
    let bench = Bench::new();
    let Some(disk) = Tmpfs::mount(bench.path("small")) else {
        eprintln!("SKIPPED: mounting a tmpfs is not allowed here, so no disk was filled");
        return;
    };
    let (data, audit) = (disk.0.display().to_string(), bench.path("audit"));
    let args =
        ["--data-dir", &data, "--audit-log", audit.to_str().unwrap(), "--pods-count", "20000"];
    let (code, line) = bench.refused(&args);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.to_lowercase().contains("full") || line.contains("No space"), "{line}");
    disk.make_room();
    assert!(acknowledged_writes_are_there(&disk.0, &audit) > 0);
}

#[test]
fn kill_9_loses_no_acknowledged_write_and_the_next_run_goes_on() {
    let bench = Bench::new();
    let (data, audit) = (bench.path("data"), bench.path("audit"));
    let [data_dir, audit_log] = [&data, &audit].map(|path| path.display().to_string());
    let args = ["--data-dir", &data_dir, "--audit-log", &audit_log, "--pods-count", "600"];
    // 10 nodes, 200 services, then pods, bindings and states: in the middle of all of it.
    let mut child = bench.command(&args).spawn().unwrap();
    wait_for_lines(&mut child, &audit, 700);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(acknowledged_writes_are_there(&data, &audit) >= 700);

    let out = bench.path("out.json");
    let mut again = args.to_vec();
    again.extend(["--json", out.to_str().unwrap()]);
    let output = bench.run(&again);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((&json(&out)["violations"], &json(&out)["pods"]), (&0.into(), &600.into()));
    acknowledged_writes_are_there(&data, &audit);
}

#[test]
fn ctrl_c_stops_cleanly() {
    let bench = Bench::new();
    let (temporary, audit) = (bench.path("tmp"), bench.path("audit"));
    fs::create_dir(&temporary).unwrap();
    let args = ["--audit-log", audit.to_str().unwrap(), "--pods-count", "100000"];
    let mut child = bench.command(&args).env("TMPDIR", &temporary).spawn().unwrap();
    wait_for_lines(&mut child, &audit, 300);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "the temporary folder is removed");
}

/// Waits until the run has acknowledged so many writes.
fn wait_for_lines(child: &mut Child, audit: &Path, count: usize) {
    loop {
        let lines = fs::read_to_string(audit).map_or(0, |log| log.lines().count());
        if lines >= count {
            return;
        }
        if let Some(status) = child.try_wait().unwrap() {
            let mut stderr = String::new();
            BufReader::new(child.stderr.take().unwrap()).lines().for_each(|line| {
                stderr += &line.unwrap();
                stderr.push('\n');
            });
            panic!("the run ended after {lines} writes with {status}: {stderr}");
        }
        std::thread::yield_now();
    }
}

/// Opens the journal and finds each write of the audit log at its revision. Returns how many.
fn acknowledged_writes_are_there(journal: &Path, audit: &Path) -> usize {
    let log = fs::read_to_string(audit).unwrap();
    let mut writes = BTreeMap::new();
    for line in log.lines().filter(|line| !line.is_empty()) {
        let (revision, key) = line.split_once(' ').expect("a line is a revision and a key");
        writes.insert(revision.parse::<u64>().unwrap(), key.to_owned());
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let journal = FileJournal::open(journal, FileConfig::default()).await.unwrap();
        let (store, driver) = Store::open(Arc::new(journal), Config::default()).await.unwrap();
        for (revision, key) in &writes {
            let at = RangeRequest::new(KeyRange::key(key.clone())).at(*revision);
            let found = store.range(at).unwrap().kvs;
            let found = found.first().map(kv_journal::KeyValue::mod_revision);
            assert_eq!(found, Some(*revision), "{key} at revision {revision}");
        }
        drop(store);
        driver.await.unwrap();
    });
    std::io::stdout().flush().unwrap();
    writes.len()
}

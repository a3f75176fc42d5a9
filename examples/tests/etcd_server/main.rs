//! The example as a user runs it: started with etcd's flags, driven by etcd's own `etcdctl`, and by
//! programs that were written for etcd.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod patroni;
mod python;
mod server;

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use server::{Server, binary, etcdctl_is_there};

#[test]
fn etcdctl_drives_the_server() {
    if !etcdctl_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--name", "one", "--max-txn-ops=64"]);
    assert_eq!(server.ok(&["put", "a", "1"]), "OK\n");
    assert_eq!(server.ok(&["put", "b", "2"]), "OK\n");
    assert_eq!(server.ok(&["get", "a", "--print-value-only"]), "1\n");
    assert_eq!(server.ok(&["put", "a", "3", "--prev-kv"]), "OK\na\n1\n");
    assert_eq!(server.json(&["get", "", "--prefix"])["count"], 2);
    assert_eq!(server.ok(&["get", "a", "--rev=2", "--print-value-only"]), "1\n");
    assert_eq!(server.ok(&["get", "a", "z", "--order=DESCEND", "--keys-only"]), "b\n\na\n\n");

    let lease = server.json(&["lease", "grant", "600"]);
    let id = format!("{:x}", lease["ID"].as_i64().unwrap());
    server.ok(&["put", "leased", "x", "--lease", &id]);
    assert!(server.ok(&["lease", "keep-alive", "--once", &id]).contains("TTL(600)"));
    assert!(server.ok(&["lease", "timetolive", "--keys", &id]).contains("attached keys([leased])"));
    assert!(server.ok(&["lease", "list"]).contains(&id));
    assert!(server.ok(&["lease", "revoke", &id]).contains("revoked"));
    assert_eq!(server.ok(&["get", "leased"]), "");

    assert!(server.ok(&["endpoint", "health"]).is_empty());
    let status = server.json(&["endpoint", "status"]);
    assert_eq!(status[0]["Status"]["version"], "3.7.0");
    assert_eq!(server.json(&["member", "list"])["members"][0]["name"], "one");
    assert!(server.ok(&["alarm", "list"]).is_empty());
    assert!(server.ok(&["defrag"]).contains("Finished"));
    assert_eq!(server.ok(&["compaction", "3"]), "compacted revision 3\n");
    let again = server.etcdctl(&["compaction", "3"]);
    assert!(!again.status.success());
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("etcdserver: mvcc: required revision has been compacted"), "{said}");
    assert_eq!(server.ok(&["del", "", "--prefix"]), "2\n");
    server.terminate();
}

#[test]
fn a_restart_keeps_everything_and_a_snapshot_restores_it_elsewhere() {
    if !etcdctl_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        server.ok(&["put", key, value]);
    }
    let before = server.json(&["get", "", "--prefix"])["kvs"].clone();
    let snapshot = folder.path().join("saved.db");
    server.ok(&["snapshot", "save", snapshot.to_str().unwrap()]);
    server.terminate();

    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.json(&["get", "", "--prefix"])["kvs"], before);
    server.terminate();

    let elsewhere = TempDir::new().unwrap();
    let restore = ["--restore", snapshot.to_str().unwrap()];
    let server = Server::start(elsewhere.path(), &restore);
    assert_eq!(server.json(&["get", "", "--prefix"])["kvs"], before);
    assert_eq!(server.ok(&["get", "a", "--rev=2", "--print-value-only"]), "1\n");
}

#[test]
fn etcdctl_manages_users_and_the_server_enforces_what_they_may() {
    if !etcdctl_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let flags = ["--bcrypt-cost=4", "--auth-token=simple", "--auth-token-ttl=60"];
    let server = Server::start(folder.path(), &flags);
    server.ok(&["user", "add", "root:secret"]);
    server.ok(&["user", "add", "alice:hers"]);
    server.ok(&["role", "add", "reader"]);
    server.ok(&["role", "grant-permission", "reader", "read", "shared/", "--prefix"]);
    server.ok(&["user", "grant-role", "alice", "reader"]);
    server.ok(&["put", "shared/a", "1"]);
    // etcdctl gives root its role first.
    assert_eq!(server.ok(&["auth", "enable"]), "Authentication Enabled\n");
    let root = |args: &[&'static str]| [&["--user", "root:secret"], args].concat();
    let alice = |args: &[&'static str]| [&["--user", "alice:hers"], args].concat();
    let said = |args: &[&str]| {
        let output = server.etcdctl(args);
        assert!(!output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&["get", "shared/a"]).contains("user name is empty"));
    assert_eq!(server.ok(&alice(&["get", "shared/a", "--print-value-only"])), "1\n");
    assert!(said(&alice(&["put", "shared/a", "2"])).contains("permission denied"));
    assert!(said(&["--user", "alice:wrong", "get", "a"]).contains("invalid user ID or password"));
    assert_eq!(server.ok(&root(&["user", "list"])), "alice\nroot\n");
    assert_eq!(server.ok(&root(&["role", "list"])), "reader\nroot\n");
    assert!(server.ok(&root(&["role", "get", "reader"])).contains("shared/"));
    server.ok(&root(&["role", "revoke-permission", "reader", "shared/", "--prefix"]));
    assert!(said(&alice(&["get", "shared/a"])).contains("permission denied"));
    server.ok(&root(&["user", "revoke-role", "alice", "reader"]));
    server.ok(&root(&["user", "delete", "alice"]));
    server.ok(&root(&["role", "delete", "reader"]));
    server.ok(&root(&["auth", "disable"]));
    assert_eq!(server.ok(&["get", "shared/a", "--print-value-only"]), "1\n");
    server.terminate();
}

/// Runs `openssl` in a folder.
fn openssl(folder: &Path, args: &[&str]) {
    let output = Command::new("openssl").current_dir(folder).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
}

/// An authority, `ca`, and one certificate of it for each name.
fn certificates(folder: &Path, names: &[&str]) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"];
    let own = ["req", "-x509", "-days", "2", "-subj", "/CN=ca"];
    openssl(folder, &[&own[..], &key, &["ca.key", "-out", "ca.pem"]].concat());
    for name in names {
        let file = |end: &str| format!("{name}.{end}");
        let (key_file, request, signed) = (file("key"), file("csr"), file("pem"));
        let subject = format!("/CN={name}");
        let ask = ["req", "-subj", &subject];
        openssl(folder, &[&ask[..], &key, &[&key_file, "-out", &request]].concat());
        let uses = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";
        std::fs::write(folder.join("ext"), uses).unwrap();
        let sign = ["x509", "-req", "-days", "2", "-CA", "ca.pem", "-CAkey", "ca.key"];
        let files = ["-CAcreateserial", "-extfile", "ext", "-in", &request, "-out", &signed];
        openssl(folder, &[&sign[..], &files].concat());
    }
}

#[test]
fn clients_must_show_a_certificate_of_the_trusted_authority() {
    if !etcdctl_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    certificates(folder.path(), &["server", "client"]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (chain, key, authority) = (path("server.pem"), path("server.key"), path("ca.pem"));
    let files = ["--cert-file", &chain, "--key-file", &key, "--trusted-ca-file", &authority];
    let flags = [&files[..], &["--client-cert-auth", "--bcrypt-cost=4"]].concat();
    let data_dir = folder.path().join("data");
    let server = Server::start_with("https", &data_dir, &flags);
    let (own, own_key) = (path("client.pem"), path("client.key"));
    let shown = ["--cacert", &authority, "--cert", &own, "--key", &own_key];
    assert_eq!(server.ok(&[&shown[..], &["put", "a", "1"]].concat()), "OK\n");
    // The name in the certificate is a user's.
    for args in [
        &["user", "add", "root:secret"][..],
        &["user", "add", "client", "--no-password"],
        &["role", "add", "r"],
        &["role", "grant-permission", "r", "read", "a"],
        &["user", "grant-role", "client", "r"],
        &["auth", "enable"],
    ] {
        server.ok(&[&shown[..], args].concat());
    }
    assert_eq!(server.ok(&[&shown[..], &["get", "a", "--print-value-only"]].concat()), "1\n");
    let denied = server.etcdctl(&[&shown[..], &["put", "a", "2"]].concat());
    let denied = String::from_utf8(denied.stderr).unwrap();
    assert!(denied.contains("permission denied"), "{denied}");
    let hidden = ["--cacert", &authority, "--command-timeout", "1s", "get", "a"];
    assert!(!server.etcdctl(&hidden).status.success());
    drop(server);

    let mixed = ["--cert-file", &chain, "--key-file", &own_key];
    let listen = ["--listen-client-urls", "https://127.0.0.1:0", "--data-dir"];
    let data_dir = data_dir.display().to_string();
    let said = refused(&[&mixed[..], &listen, &[&data_dir]].concat());
    assert!(said.contains("the server's certificate and key"), "{said}");
}

/// How a start ends that cannot succeed.
fn refused(args: &[&str]) -> String {
    let output = Command::new(binary()).args(args).output().unwrap();
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_start_that_cannot_succeed_says_why() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let data_dir = folder.path().to_str().unwrap();
    let listen = ["--data-dir", data_dir, "--listen-client-urls"];
    let second = refused(&[&listen[..], &["http://127.0.0.1:0"]].concat());
    assert!(second.contains("data folder") && second.contains("is open elsewhere"), "{second}");
    let busy = refused(&[&listen[..], &[&server.url]].concat());
    assert!(busy.contains("listen on"), "{busy}");
    drop(server);

    let damaged = folder.path().join("damaged.db");
    std::fs::write(&damaged, [0; 544]).unwrap();
    let elsewhere = TempDir::new().unwrap();
    let new = elsewhere.path().to_str().unwrap();
    let start = ["--data-dir", new, "--listen-client-urls", "http://127.0.0.1:0"];
    let restored = refused(&[&start[..], &["--restore", damaged.to_str().unwrap()]].concat());
    assert!(restored.contains("SHA-256"), "{restored}");
    for (flags, why) in [
        (&["--listen-client-urls", "https://127.0.0.1:0"][..], "--cert-file"),
        (&["--listen-client-urls", "127.0.0.1:2379"], "scheme"),
        (&["--auto-compaction-retention", "soon"], "no duration"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--client-cert-auth"], "--trusted-ca-file"),
    ] {
        let said = refused(flags);
        assert!(said.contains(why), "{flags:?}: {said}");
    }
}

#[test]
fn flags_about_peers_are_taken_and_said_to_be_ignored() {
    let folder = TempDir::new().unwrap();
    let flags = ["--listen-peer-urls", "http://127.0.0.1:1", "--initial-cluster=a=http://b:1"];
    let switches = ["--pre-vote", "--experimental-initial-corrupt-check=true"];
    let server = Server::start(folder.path(), &[&flags[..], &switches].concat());
    drop(server);
    let output = Command::new(binary())
        .args(flags)
        .args(["--auto-compaction-retention", "soon"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("ignored") && said.contains("--listen-peer-urls"), "{said}");
}

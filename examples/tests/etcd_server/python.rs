//! Clients from `PyPI`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::server::Server;

/// A Python that has a package: the one that `TRESTLE_PYTHON` names, or `python3`.
pub(crate) fn python_with(package: &str) -> Option<OsString> {
    let named = std::env::var_os("TRESTLE_PYTHON");
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let imported = Command::new(&python).args(["-c", &format!("import {package}")]).output();
    let has_it = imported.is_ok_and(|output| output.status.success());
    assert!(has_it || named.is_none(), "{} has no {package}", python.display());
    if !has_it {
        eprintln!("SKIPPED: python3 has no {package}");
    }
    has_it.then_some(python)
}

/// With gRPC's C core below: transactions, leases, watches and locks by others' code.
#[test]
fn pythons_client_runs_its_own_recipes() {
    let Some(python) = python_with("etcd3") else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/etcd_server/python_client.py");
    let port = server.url.rsplit(':').next().unwrap();
    let output = Command::new(python).arg(script).arg(port).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    server.terminate();
}

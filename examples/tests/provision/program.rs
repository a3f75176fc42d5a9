//! The example's process, and a folder for its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The example's binary, which `cargo test` builds beside the tests.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("examples/provision");
    assert!(binary.exists(), "{} is missing: run `cargo build --examples`", binary.display());
    binary
}

/// A folder of files to plan from.
pub(crate) struct Bench {
    folder: TempDir,
}

/// How a run ended and what it said.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and returns its path as an argument.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    pub(crate) fn command(args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(args: &[&str]) -> Ran {
        let output = Self::command(args).output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A run that ends with this code, and the JSON that it writes.
    pub(crate) fn planned(&self, code: i32, args: &[&str]) -> (Value, Ran) {
        let out = self.path("out.json").display().to_string();
        let ran = Self::run(&[args, &["--json", &out]].concat());
        assert_eq!(ran.code, Some(code), "{}\n{}", ran.stdout, ran.stderr);
        (json(&self.path("out.json")), ran)
    }
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The instance types that are launched, in order.
pub(crate) fn launched(plan: &Value) -> Vec<&str> {
    let nodes = plan["nodes"].as_array().unwrap().iter();
    let launched = nodes.filter(|node| node.get("launch").is_some());
    launched.map(|node| node["instance_type"].as_str().unwrap()).collect()
}

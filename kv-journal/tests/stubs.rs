//! The committed stubs of the etcd v3 API are what its definitions in `proto/` give. With
//! `TRESTLE_WRITE_STUBS=1` they are written anew; no protoc is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;

const DEFINITIONS: [&str; 11] = [
    "auth.proto",
    "cluster.proto",
    "election.proto",
    "header.proto",
    "kv.proto",
    "lease.proto",
    "lock.proto",
    "maintenance.proto",
    "mvcc.proto",
    "roles.proto",
    "watch.proto",
];

#[test]
fn stubs_are_generated_from_the_definitions() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed_dir = crate_dir.join("src/etcd_api/stubs");
    let generated = generate(&crate_dir.join("proto"));
    if std::env::var_os("TRESTLE_WRITE_STUBS").is_some() {
        for (name, content) in &generated {
            std::fs::write(committed_dir.join(name), content).unwrap();
        }
    }
    let committed = contents(&committed_dir);
    assert_eq!(
        generated.keys().collect::<Vec<_>>(),
        committed.keys().collect::<Vec<_>>(),
        "set TRESTLE_WRITE_STUBS=1 to write them"
    );
    for (name, content) in generated {
        assert!(committed[&name] == content, "{name} differs: set TRESTLE_WRITE_STUBS=1");
    }
}

/// Every generated file, by its name, and the descriptors that the JSON gateway works with.
fn generate(definitions: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut set = protox::compile(DEFINITIONS, [definitions]).unwrap();
    for file in &mut set.file {
        file.source_code_info = None;
    }
    let descriptors = set.encode_to_vec();
    nested_transactions_as_bytes(&mut set);
    let out = tempfile::tempdir().unwrap();
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    config.extern_path(".mvccpb", "crate::etcd_api::stored");
    config.extern_path(".etcdserverpb.WatchResponse", "crate::etcd_api::stored::WatchResponse");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .build_transport(false)
        .codec_path("crate::etcd_api::Codec")
        .compile_fds_with_config(set, config)
        .unwrap();
    let mut generated = contents(out.path());
    generated.insert("descriptors.bin".to_owned(), descriptors);
    generated
}

/// On the wire a message is its bytes with a length before them, so this changes nothing there. A
/// transaction inside a transaction is then decoded by whoever counts how deep they nest, and not
/// by recursion on a stranger's word.
fn nested_transactions_as_bytes(set: &mut FileDescriptorSet) {
    let messages = set.file.iter_mut().flat_map(|file| &mut file.message_type);
    let nested = messages
        .filter(|message| matches!(message.name(), "RequestOp" | "ResponseOp"))
        .flat_map(|message| &mut message.field)
        .filter(|field| field.name().ends_with("_txn"));
    let mut changed = 0;
    for field in nested {
        field.set_type(Type::Bytes);
        field.type_name = None;
        changed += 1;
    }
    assert_eq!(changed, 2);
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    };
    paths.map(read).collect()
}

//! Who may read, and over what.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tempfile::TempDir;
use watch_cache::{
    CurrentRevision, ErrorKind, EtcdConfig, EtcdProgress, EtcdSource, Source, SourceEvent,
};

use super::server::{Etcd, base64, field, run, source_of};

/// An etcd with the user `reader`, who may read what is under `/a/`, and `root`'s token.
async fn with_users() -> Option<(Etcd, String)> {
    let etcd = Etcd::start().await?;
    etcd.put("/a/1", "v").await;
    let range = format!("\"key\":\"{}\",\"range_end\":\"{}\"", base64(b"/a/"), base64(b"/a0"));
    for (path, body) in [
        ("user/add", r#"{"name":"root","password":"all"}"#),
        ("role/add", r#"{"name":"root"}"#),
        ("user/grant", r#"{"user":"root","role":"root"}"#),
        ("user/add", r#"{"name":"reader","password":"some"}"#),
        ("role/add", r#"{"name":"reads"}"#),
        ("role/grant", &format!(r#"{{"name":"reads","perm":{{"permType":"READ",{range}}}}}"#)),
        ("user/grant", r#"{"user":"reader","role":"reads"}"#),
        ("enable", "{}"),
    ] {
        let answer = etcd.gateway.post(&format!("/v3/auth/{path}"), body).await;
        assert!(answer.contains("header"), "{path}: {answer}");
    }
    let token = token(&etcd).await;
    Some((etcd, token))
}

async fn token(etcd: &Etcd) -> String {
    let login = r#"{"name":"root","password":"all"}"#;
    field(&etcd.gateway.post("/v3/auth/authenticate", login).await, "token")
}

async fn put_as(etcd: &Etcd, token: &str, key: &str) -> u64 {
    let body = format!("{{\"key\":\"{}\"}}", base64(key.as_bytes()));
    let answer = etcd.gateway.post_as(token, "/v3/kv/put", &body).await;
    field(&answer, "revision").parse().unwrap()
}

fn reader(etcd: &Etcd, user: &str, password: &str, progress: EtcdProgress) -> EtcdSource {
    let mut config = EtcdConfig::new([etcd.url()]);
    config.login = Some((user.to_owned(), password.to_owned()));
    config.progress = progress;
    source_of(config)
}

fn prefix() -> Bytes {
    Bytes::from_static(b"/a/")
}

#[tokio::test]
async fn a_user_reads_what_it_may_and_a_wrong_password_says_so() {
    let Some((etcd, root)) = with_users().await else { return };
    let source = reader(&etcd, "reader", "some", EtcdProgress::Requested);
    let listing = source.list(&prefix(), None).await.unwrap();
    let mut events = source.watch(&prefix(), listing.revision).await.unwrap();
    let written = put_as(&etcd, &root, "/a/2").await;
    let SourceEvent::Revision(told) = events.next().await.unwrap().unwrap() else {
        panic!("no revision")
    };
    assert_eq!((told.revision, source.current_revision().await.unwrap()), (written, written));

    for (user, password) in [("reader", "wrong"), ("nobody", "some")] {
        let source = reader(&etcd, user, password, EtcdProgress::ByVersion);
        let errors = [
            source.list(&prefix(), None).await.unwrap_err(),
            source.watch(&prefix(), 1).await.err().unwrap(),
            source.current_revision().await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("authentication failed"), "{error}");
        }
    }
    let nobody = etcd.source();
    let error = nobody.list(&prefix(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("give a login"), "{error}");
    let error = source.watch(&"/b/".into(), 1).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[tokio::test]
async fn a_watch_of_all_keys_names_what_it_needs() {
    let Some((etcd, _)) = with_users().await else { return };
    let source = reader(&etcd, "reader", "some", EtcdProgress::AllKeys);
    let listing = source.list(&prefix(), None).await.unwrap();
    let error = source.watch(&prefix(), listing.revision).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("let the user read all keys"), "{error}");
    let root = reader(&etcd, "root", "all", EtcdProgress::AllKeys);
    assert!(root.watch(&prefix(), listing.revision).await.is_ok());
}

#[tokio::test]
async fn a_token_that_is_no_longer_known_is_renewed() {
    let Some((mut etcd, _)) = with_users().await else { return };
    let source = reader(&etcd, "reader", "some", EtcdProgress::Requested);
    let current = source.list(&prefix(), None).await.unwrap().revision;
    // etcd keeps its tokens in memory.
    etcd.kill();
    etcd.restart().await;
    let mut events = source.watch(&prefix(), current).await.unwrap();
    let root = token(&etcd).await;
    let written = put_as(&etcd, &root, "/a/2").await;
    let told = events.next().await.unwrap().unwrap();
    assert!(matches!(told, SourceEvent::Revision(told) if told.revision == written));
}

/// A CA, and a certificate and key for each of a server and a client, in PEM files.
fn certificates(folder: &Path) -> Option<()> {
    let openssl = |args: &str| run(folder, "openssl", &args.split(' ').collect::<Vec<_>>());
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout \
         ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE",
    )?;
    for (name, alternative) in [("server", "DNS:etcd.test"), ("client", "DNS:client.test")] {
        let extensions = format!("subjectAltName={alternative}\nbasicConstraints=CA:FALSE\n");
        std::fs::write(folder.join("extensions"), extensions).unwrap();
        openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key \
             -out {name}.csr"
        ))?;
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile \
             extensions -out {name}.pem"
        ))?;
    }
    Some(())
}

#[tokio::test]
async fn certificates_are_shown_and_checked() {
    let folder = TempDir::new().unwrap();
    let Some(()) = certificates(folder.path()) else { return };
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pem = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let args = [
        ("--cert-file", path("server.pem")),
        ("--key-file", path("server.key")),
        ("--trusted-ca-file", path("ca.pem")),
        ("--client-cert-auth", "true".to_owned()),
    ];
    let args = args.map(|(flag, value)| format!("{flag}={value}"));
    let Some(etcd) = Etcd::start_with("https", &args).await else { return };

    let mut config = EtcdConfig::new([etcd.url()]);
    config.ca_pem = Some(pem("ca.pem"));
    config.identity_pem = Some((pem("client.pem"), pem("client.key")));
    config.server_name = Some("etcd.test".into());
    let source = source_of(config.clone());
    while source.current_revision().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(source.list(&prefix(), None).await.unwrap().revision, 1);

    let mut other_name = config.clone();
    other_name.server_name = None;
    let mut other_ca = config.clone();
    other_ca.ca_pem = Some(pem("client.pem"));
    let mut no_identity = config;
    no_identity.identity_pem = None;
    for refused in [other_name, other_ca, no_identity] {
        let error = source_of(refused).current_revision().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[test]
fn settings_that_cannot_be_used_say_what_to_do() {
    let refused = |change: fn(&mut EtcdConfig), advice: &str| {
        let mut config = EtcdConfig::new(["https://127.0.0.1:2379"]);
        change(&mut config);
        let error = EtcdSource::new(config, drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(advice), "{error}");
    };
    refused(|config| config.endpoints.clear(), "name at least one");
    refused(|config| config.endpoints = vec!["127.0.0.1:2379".into()], "write it like");
    refused(|config| config.endpoints = vec!["ftp://127.0.0.1:2379".into()], "write it like");
    refused(|config| config.endpoints = vec!["http://127.0.0.1".into()], "write it like");
    refused(|_| {}, "give ca_pem");
    refused(|config| config.ca_pem = Some(b"no".to_vec()), "no certificate in PEM");
    refused(|config| config.server_name = Some("not a name".into()), "give server_name");
    refused(|config| config.login = Some((String::new(), "p".into())), "name one");
    refused(|config| config.page_objects = 0, "page_objects is 0: set it to 1..=1048576");
    refused(|config| config.request_timeout = Duration::ZERO, "request_timeout is 0ns");
    let mut config = EtcdConfig::new(["http://127.0.0.1:2379"]);
    config.login = Some(("reader".into(), "secret".into()));
    assert!(!format!("{config:?}").contains("secret"));
}

//! The JSON gateway beside etcd's own.

use kv_journal::etcd_server::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::etcd::Etcd;
use super::peer;

/// An answer whose body is still to come.
struct Answered {
    status: u16,
    chunked: bool,
    len: usize,
    stream: BufReader<TcpStream>,
}

async fn send(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Answered {
    let headers = format!("{headers}Content-Length: {}\r\n", body.len());
    exchange(port, &format!("{method} {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n{body}")).await
}

/// Sends the first chunk of a request.
async fn send_part(port: u16, path: &str, body: &str) -> Answered {
    let headers = "Host: here\r\nTransfer-Encoding: chunked\r\n";
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    exchange(port, &format!("POST {path} HTTP/1.1\r\n{headers}\r\n{chunk}")).await
}

async fn exchange(port: u16, request: &str) -> Answered {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let (mut chunked, mut len) = (false, 0);
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        let lower = line.trim_end().to_ascii_lowercase();
        chunked |= lower == "transfer-encoding: chunked";
        if let Some(given) = lower.strip_prefix("content-length: ") {
            len = given.parse().unwrap();
        }
        if lower.is_empty() {
            return Answered { status, chunked, len, stream };
        }
    }
}

impl Answered {
    /// The next chunk as text; empty at the end.
    async fn chunk(&mut self) -> String {
        assert!(self.chunked);
        let mut size = String::new();
        self.stream.read_line(&mut size).await.unwrap();
        let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
        self.stream.read_exact(&mut chunk).await.unwrap();
        chunk.truncate(chunk.len() - 2);
        String::from_utf8(chunk).unwrap()
    }

    async fn text(&mut self) -> String {
        if !self.chunked {
            let mut text = vec![0; self.len];
            self.stream.read_exact(&mut text).await.unwrap();
            return String::from_utf8(text).unwrap();
        }
        let mut text = String::new();
        loop {
            let chunk = self.chunk().await;
            if chunk.is_empty() {
                return text;
            }
            text.push_str(&chunk);
        }
    }

    /// The next line of a stream.
    async fn line(&mut self) -> Value {
        let mut text = String::new();
        while !text.ends_with('\n') {
            let chunk = self.chunk().await;
            assert!(!chunk.is_empty(), "the stream has ended after {text:?}");
            text.push_str(&chunk);
        }
        anonymous(serde_json::from_str(&text).unwrap())
    }
}

pub(crate) async fn get(port: u16, path: &str) -> String {
    let mut answered = send(port, "GET", path, "", "").await;
    assert_eq!(answered.status, 200, "{path}");
    answered.text().await
}

pub(crate) async fn post(port: u16, path: &str, body: &str) -> (u16, Value) {
    let mut answered = send(port, "POST", path, "", body).await;
    let text = answered.text().await;
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} {body}: {text:?}"));
    // Older gateways had 412 for what others say with 400.
    let status = if answered.status == 412 { 400 } else { answered.status };
    (status, anonymous(value))
}

/// Without what two clusters have of their own, and what later gateways have beside.
fn anonymous(mut value: Value) -> Value {
    for place in ["", "/result", "/error"] {
        if let Some(fields) = value.pointer_mut(place).and_then(Value::as_object_mut) {
            fields.remove("details");
            // The sentence alone tells what is wrong with JSON.
            if let Some(header) = fields.get_mut("header").and_then(Value::as_object_mut) {
                header.retain(|name, _| name == "revision");
            }
        }
    }
    value
}

/// Calls, one after the other, of every shape.
const CALLS: &[(&str, &str)] = &[
    ("kv/put", r#"{"key":"YQ==","value":"MQ=="}"#),
    ("kv/put", r#"{"key":"YQ==","value":"Mg==","prev_kv":true}"#),
    ("kv/put", r#"{"key":"Yg==","value":"Mw==","lease":"77"}"#),
    ("lease/grant", r#"{"TTL":"600","ID":77}"#),
    ("kv/put", r#"{"key":"Yg==","value":"Mw==","lease":"77"}"#),
    ("kv/range", r#"{"key":"YQ=="}"#),
    ("kv/range", r#"{"key":"YQ==","range_end":"eg==","sort_order":"DESCEND","sort_target":"KEY"}"#),
    ("kv/range", r#"{"key":"YQ==","range_end":"eg==","limit":1,"keys_only":false}"#),
    ("kv/range", r#"{"key":"YQ==","range_end":"eg==","count_only":true}"#),
    ("kv/range", r#"{"key":"YQ==","revision":"99"}"#),
    ("kv/range", "{}"),
    ("kv/range", ""),
    (
        "kv/txn",
        r#"{"compare":[{"result":"EQUAL","target":"VERSION","key":"YQ==","version":"2"}],
        "success":[{"request_put":{"key":"YQ==","value":"Yg=="}}],
        "failure":[{"request_range":{"key":"YQ=="}}]}"#,
    ),
    (
        "kv/txn",
        r#"{"compare":[{"result":"GREATER","target":"CREATE","key":"YQ==","create_revision":"9"}],
        "success":[{"request_delete_range":{"key":"YQ=="}}],
        "failure":[{"request_range":{"key":"YQ=="}},{"request_txn":{"success":[{"request_range":{"key":"Yg=="}}]}}]}"#,
    ),
    ("kv/txn", r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}"#),
    ("kv/deleterange", r#"{"key":"YQ==","prev_kv":true}"#),
    ("kv/compaction", r#"{"revision":"3"}"#),
    ("kv/compaction", r#"{"revision":"3"}"#),
    ("kv/range", r#"{"key":"YQ==","revision":"2"}"#),
    ("kv/lease/leases", "{}"),
    ("lease/leases", "{}"),
    ("kv/lease/revoke", r#"{"ID":"77"}"#),
    ("lease/revoke", r#"{"ID":"77"}"#),
    ("lease/timetolive", r#"{"ID":"77","keys":true}"#),
    ("maintenance/defragment", "{}"),
    ("auth/authenticate", r#"{"name":"a","password":"b"}"#),
    ("auth/enable", "{}"),
    ("auth/user/add", r#"{"name":"a","password":"b"}"#),
    ("auth/user/add", r#"{"name":"a","password":"b"}"#),
    ("auth/user/list", "{}"),
    ("auth/role/add", r#"{"name":"r"}"#),
    (
        "auth/role/grant",
        r#"{"name":"r","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="}}"#,
    ),
    ("auth/role/get", r#"{"role":"r"}"#),
    ("auth/user/grant", r#"{"user":"a","role":"r"}"#),
    ("auth/user/get", r#"{"name":"a"}"#),
];

#[tokio::test]
async fn calls_are_answered_as_etcds_gateway_answers_them() {
    let Some(etcd) = Etcd::start() else { return };
    let own = peer::port_of(ServerConfig::default()).await;
    for version in ["v3", "v3beta"] {
        for (path, body) in CALLS {
            let path = format!("/{version}/{path}");
            let told = post(etcd.port(), &path, body).await;
            assert_eq!(
                post(own, &path, body).await,
                told,
                "{path} {body}: the server's on the left"
            );
        }
    }
    for (method, path) in
        [("GET", "/v3/kv/range"), ("POST", "/v3/kv/nothing"), ("PUT", "/v3/kv/put")]
    {
        let told = send(etcd.port(), method, path, "", "{}").await.status;
        assert_eq!(send(own, method, path, "", "{}").await.status, told, "{method} {path}");
    }
    for wrong in ["{", "[]", r#"{"key":1}"#, r#"{"key":"%"}"#, r#"{"limit":"x"}"#] {
        let mut told = send(etcd.port(), "POST", "/v3/kv/range", "", wrong).await;
        let mut said = send(own, "POST", "/v3/kv/range", "", wrong).await;
        assert_eq!(said.status, told.status, "{wrong}");
        let code = |text: &str| serde_json::from_str::<Value>(text).unwrap()["code"].clone();
        assert_eq!(code(&said.text().await), code(&told.text().await), "{wrong}");
    }
}

#[tokio::test]
async fn a_watch_streams_a_line_for_each_message() {
    let Some(etcd) = Etcd::start() else { return };
    let own = peer::port_of(ServerConfig::default()).await;
    let mut seen = Vec::new();
    for port in [own, etcd.port()] {
        let create = r#"{"create_request":{"key":"YQ==","range_end":"Yg==","prev_kv":true}}"#;
        let mut watch = send(port, "POST", "/v3/watch", "", create).await;
        let mut lines = vec![json!(watch.status), watch.line().await];
        for value in ["MQ==", "Mg=="] {
            let put = format!(r#"{{"key":"YQ==","value":"{value}"}}"#);
            post(port, "/v3/kv/put", &put).await;
            lines.push(watch.line().await);
        }
        post(port, "/v3/kv/deleterange", r#"{"key":"YQ=="}"#).await;
        lines.push(watch.line().await);
        seen.push(lines);
    }
    assert_eq!(seen[0], seen[1], "the server's on the left");
    assert_eq!(seen[0][2]["result"]["events"][0]["kv"]["value"], "MQ==");
}

#[tokio::test]
async fn what_fails_in_a_stream_is_told_in_a_line() {
    let own = peer::port_of(ServerConfig::default()).await;
    let mut watch = send_part(own, "/v3/watch", r#"{"create_request":{"key":"YQ=="}}"#).await;
    assert_eq!(watch.line().await["result"]["created"], true);
    let wrong = r#"{"create_request":1}"#;
    let chunk = format!("{:x}\r\n{wrong}\r\n", wrong.len());
    watch.stream.write_all(chunk.as_bytes()).await.unwrap();
    let last = watch.line().await;
    assert_eq!(last["error"]["grpc_code"], 3, "{last}");
    assert_eq!(last["error"]["http_code"], 400, "{last}");
    assert_eq!(watch.chunk().await, "", "nothing follows");

    // What goes wrong before there is anything to tell is the answer.
    let mut refused = send(own, "POST", "/v3/watch", "", "[").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().await.contains("\"grpc_code\":3"));
}

#[tokio::test]
async fn requests_of_a_stream_may_come_little_by_little() {
    let own = peer::port_of(ServerConfig::default()).await;
    let mut stream = TcpStream::connect(("127.0.0.1", own)).await.unwrap();
    let head = "POST /v3/lease/keepalive HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    post(own, "/v3/lease/grant", r#"{"TTL":"600","ID":"7"}"#).await;
    for part in [r#"{"I"#, r#"D":"7"}{"ID""#, r#":"8"}"#] {
        let chunk = format!("{:x}\r\n{part}\r\n", part.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while text.matches("\"result\"").count() < 2 {
        let read = stream.read(&mut bytes).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    assert!(text.contains("\"TTL\":\"600\""), "{text}");
}

#[tokio::test]
async fn a_token_comes_in_the_authorization_header() {
    let mut config = ServerConfig::default();
    config.bcrypt_cost = ServerConfig::BCRYPT_COST.min;
    let own = peer::port_of(config).await;
    let put = r#"{"key":"YQ==","value":"MQ=="}"#;
    for (path, body) in [
        ("auth/user/add", r#"{"name":"root","password":"x"}"#),
        ("auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("auth/enable", "{}"),
    ] {
        assert_eq!(post(own, &format!("/v3/{path}"), body).await.0, 200, "{path}");
    }
    let (status, refused) = post(own, "/v3/kv/put", put).await;
    assert_eq!((status, &refused["message"]), (400, &json!("etcdserver: user name is empty")));
    let login = r#"{"name":"root","password":"x"}"#;
    let (_, answer) = post(own, "/v3/auth/authenticate", login).await;
    let token = answer["token"].as_str().unwrap();
    for header in
        [format!("Authorization: {token}\r\n"), format!("Grpc-Metadata-Token: {token}\r\n")]
    {
        assert_eq!(send(own, "POST", "/v3/kv/put", &header, put).await.status, 200);
    }
    let stranger = send(own, "POST", "/v3/kv/put", "Authorization: x.1\r\n", put).await;
    assert_eq!(stranger.status, 401);
}

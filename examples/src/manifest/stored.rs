//! How an object is stored, and sent as it is.
//!
//! A stored object has no resource version: that is the revision that wrote it, which is known only
//! when it is written. It begins with its metadata, so that the version's place is known, and what
//! is sent is the stored bytes with the version between.

use serde_json::{Map, Value};

/// What every stored object begins with. The version is put in after it.
const HEAD: &[u8] = br#"{"metadata":{"#;

/// The key of an object, or with an empty name the prefix of its namespace.
#[must_use]
pub fn key(plural: &str, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("/registry/{plural}/{namespace}/{name}"),
        None => format!("/registry/{plural}/{name}"),
    }
}

/// The bytes to store of an object that has metadata with a name.
#[must_use]
pub fn encode(object: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    if let Some(Value::Object(metadata)) = object.get("metadata") {
        let kept = metadata.iter().filter(|(name, _)| *name != "resourceVersion");
        entries(&mut bytes, kept, false);
    }
    bytes.push(b'}');
    entries(&mut bytes, object.iter().filter(|(name, _)| *name != "metadata"), true);
    bytes.push(b'}');
    bytes
}

fn entries<'a>(
    bytes: &mut Vec<u8>,
    entries: impl Iterator<Item = (&'a String, &'a Value)>,
    mut comma: bool,
) {
    for (name, value) in entries {
        if std::mem::replace(&mut comma, true) {
            bytes.push(b',');
        }
        bytes.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
        bytes.push(b':');
        bytes.extend_from_slice(value.to_string().as_bytes());
    }
}

/// Adds what is sent of a stored object to `out`: its bytes, with the resource version between.
/// What was not stored by [`encode`] is sent without one.
pub fn send(value: &[u8], revision: u64, out: &mut Vec<u8>) {
    let Some(rest) = value.strip_prefix(HEAD) else {
        out.extend_from_slice(value);
        return;
    };
    out.extend_from_slice(HEAD);
    out.extend_from_slice(br#""resourceVersion":""#);
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(if rest.starts_with(b"}") { b"\"" } else { b"\"," });
    out.extend_from_slice(rest);
}

/// A stored object; none if the bytes are none.
#[must_use]
pub fn decode(value: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("{value} is no object") };
        map
    }

    #[test]
    fn what_is_sent_is_what_was_stored_with_its_version() {
        for metadata in [
            json!({"name": "a", "labels": {"app": "web \"x\""}, "resourceVersion": "1"}),
            json!({"resourceVersion": "1"}),
        ] {
            let mut object = map(json!({"kind": "Pod", "metadata": metadata, "ä\"": [1, null]}));
            let stored = encode(&object);
            let mut sent = Vec::new();
            send(&stored, 77, &mut sent);
            object["metadata"]["resourceVersion"] = "77".into();
            assert_eq!(map(serde_json::from_slice(&sent).unwrap()), object);
            assert_eq!(encode(&decode(&sent).unwrap()), stored, "the version is not stored");
        }
        let mut sent = Vec::new();
        send(b"[1]", 7, &mut sent);
        assert_eq!(sent, b"[1]");
    }
}

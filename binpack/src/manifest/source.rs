//! Files, and the documents in them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{json, yaml};
use crate::error::{Error, ErrorKind, Result};
use crate::table::MAX_FILE_BYTES;

/// One object as it was written.
pub(super) struct Document {
    /// Where it is, such as `pods.yaml document 3`.
    pub(super) at: String,
    /// What it says.
    pub(super) value: Value,
}

/// The documents of a file that is read from `input`; `name` tells it from others.
pub(super) fn read(input: impl Read, name: Option<&str>) -> Result<Vec<Document>> {
    let prefix = name.map(|name| format!("{name} ")).unwrap_or_default();
    let refused = |problem: String| {
        let message = format!("{prefix}can't be read: {problem}");
        Error::new(ErrorKind::Invalid, message.trim_start().to_owned())
    };
    let mut bytes = Vec::new();
    let mut bounded = input.take(MAX_FILE_BYTES + 1);
    bounded.read_to_end(&mut bytes).map_err(|error| unreadable(name, error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refused(format!("it is longer than {MAX_FILE_BYTES} bytes, split it")));
    }
    let text = str::from_utf8(&bytes).map_err(|_| refused("it is not UTF-8, convert it".into()))?;
    let values = parse(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(refused)?;
    let mut documents = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        flatten(Document { at: format!("{prefix}document {}", index + 1), value }, &mut documents);
    }
    Ok(documents)
}

/// What begins like JSON is JSON, unless it is only YAML's flow style.
fn parse(text: &str) -> Result<Vec<Value>, String> {
    if !text.trim_start().starts_with(['{', '[']) {
        return yaml::documents(text);
    }
    json::documents(text).or_else(|problem| {
        let flow = yaml::documents(text).map_err(|_| problem)?;
        Ok(flow.into_iter().flat_map(elements).collect())
    })
}

fn elements(value: Value) -> Vec<Value> {
    if let Value::Array(values) = value { values } else { vec![value] }
}

/// Takes lists apart: `List`, and those of one kind such as `PodList`, whose items may leave out
/// what they are.
fn flatten(document: Document, all: &mut Vec<Document>) {
    let Document { at, value } = document;
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some(item_kind) = kind.strip_suffix("List").map(str::to_owned) else {
        if !value.is_null() {
            all.push(Document { at, value });
        }
        return;
    };
    let version = value.get("apiVersion").cloned();
    let items = match value {
        Value::Object(mut entries) if entries.get("items").is_some_and(Value::is_array) => {
            entries.remove("items").map(elements).unwrap_or_default()
        }
        other => {
            all.push(Document { at, value: other });
            return;
        }
    };
    for (index, mut value) in items.into_iter().enumerate() {
        if let (Value::Object(entries), false) = (&mut value, item_kind.is_empty()) {
            entries.entry("kind").or_insert_with(|| item_kind.clone().into());
            if let Some(version) = &version {
                entries.entry("apiVersion").or_insert_with(|| version.clone());
            }
        }
        flatten(Document { at: format!("{at} item {}", index + 1), value }, all);
    }
}

/// The documents of a file, or of the YAML and JSON files in a folder, by name.
pub(super) fn open(path: &Path) -> Result<Vec<Document>> {
    let name = path.display().to_string();
    let failed = |error| unreadable(Some(&name), error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return read(File::open(path).map_err(failed)?, Some(&name));
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(failed)?;
    files.retain(|file| {
        let known = |end: &std::ffi::OsStr| ["yaml", "yml", "json"].iter().any(|e| *e == end);
        file.extension().is_some_and(known) && !file.is_dir()
    });
    files.sort();
    let mut documents = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let open = File::open(&file).map_err(|error| unreadable(Some(&name), error))?;
        documents.append(&mut read(open, Some(&name))?);
    }
    Ok(documents)
}

fn unreadable(name: Option<&str>, error: io::Error) -> Error {
    let name = name.unwrap_or("the input");
    let (kind, problem) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "is not found: correct the path"),
        _ => (ErrorKind::Unavailable, "can't be read: see whether it is there and open to you"),
    };
    Error::new(kind, format!("{name} {problem}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(text: &str) -> Vec<(String, Value)> {
        let documents = read(text.as_bytes(), None).expect("well formed");
        documents.into_iter().map(|document| (document.at, document.value)).collect()
    }

    #[test]
    fn lists_are_taken_apart() {
        let text = "---\nkind: List\nitems:\n- kind: Pod\n- kind: PodList\n  apiVersion: v1\n  items: [{a: 1}]\n---\n---\nkind: Node\n";
        let expected = [
            ("document 1 item 1".to_owned(), json!({"kind": "Pod"})),
            (
                "document 1 item 2 item 1".to_owned(),
                json!({"a": 1, "kind": "Pod", "apiVersion": "v1"}),
            ),
            ("document 3".to_owned(), json!({"kind": "Node"})),
        ];
        assert_eq!(of(text), expected);
    }

    #[test]
    fn json_and_the_flow_style_are_told_apart() {
        let pod = ("document 1".to_owned(), json!({"kind": "Pod"}));
        for text in
            ["{\"kind\": \"Pod\"}", "{kind: Pod}", "\u{feff}[{kind: Pod}]", " [{\"kind\":\"Pod\"}]"]
        {
            assert_eq!(of(text), std::slice::from_ref(&pod), "{text}");
        }
        let twice = [pod.clone(), ("document 2".to_owned(), pod.1.clone())];
        assert_eq!(of("{\"kind\": \"Pod\"}\n{\"kind\": \"Pod\"}"), twice);
        assert_eq!(of("{\"kind\": \"Pod\"}\n---\n{\"kind\": \"Pod\"}"), twice);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let refused =
            |bytes: &[u8]| read(bytes, Some("x.yaml")).map(|_| ()).expect_err("malformed");
        assert_eq!(
            refused(b"\xff\xfe").to_string(),
            "x.yaml can't be read: it is not UTF-8, convert it"
        );
        assert!(
            refused(b"a: 1\na: 1\n")
                .to_string()
                .starts_with("x.yaml can't be read: line 2, column 4")
        );
        let error = open(Path::new("no/such/file.yaml")).map(|_| ()).expect_err("not there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

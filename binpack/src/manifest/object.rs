//! What all objects have: a kind, a name and a place in a file.

use std::fmt::{self, Display};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::decode::{List, Strings, given};
use super::source::Document;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Input;

/// The longest name of an object.
const MAX_NAME: usize = 253;

/// Which object an error is about: `pods.yaml document 3, Deployment default/web`.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    at: String,
    kind: String,
    name: String,
}

impl Origin {
    /// What is in a place, of a kind, with a name.
    pub(super) fn new(at: String, kind: &str, name: &str) -> Self {
        Self { at, kind: kind.into(), name: name.into() }
    }

    /// An error about a field of it.
    pub(super) fn wrong(&self, field: impl Display, problem: impl Display) -> Error {
        Error::new(ErrorKind::Invalid, format!("{self}: {field} {problem}"))
    }

    /// Whether what was made of it is well formed.
    pub(super) fn check(&self, made: &Input) -> Result<()> {
        made.check().map_err(|error| Error::new(error.kind(), format!("{self}: {error}")))
    }

    /// What kind of object it is.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// The object's name, with its namespace if it is in one.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The object's fields; those that `T` does not have are read past.
    pub(super) fn decode<T: DeserializeOwned>(&self, value: &Value) -> Result<T> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let said = error.inner().to_string();
            let path = match error.path().to_string() {
                path if path == "." => String::new(),
                path => format!("{path} "),
            };
            let hint = if said.ends_with("expected a string") { ": quote it" } else { "" };
            let said = if let Some(problem) = said.strip_prefix("invalid ") {
                format!("has an invalid {problem}{hint}")
            } else if let Some(field) = said.strip_prefix("missing field ") {
                format!("has no {field}: write it")
            } else if let Some(value) = said.strip_prefix("unknown variant ") {
                format!("is {value}")
            } else {
                said
            };
            Error::new(ErrorKind::Invalid, format!("{self}: {path}{said}"))
        })
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", self.at, self.kind, self.name)
    }
}

/// `metadata`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) labels: Strings,
    pub(super) annotations: Strings,
    owner_references: List<Owner>,
    pub(super) deletion_timestamp: Option<IgnoredAny>,
}

/// Who made an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Owner {
    pub(super) kind: String,
    pub(super) name: String,
    controller: Option<bool>,
}

impl Meta {
    /// The object that manages this one.
    pub(super) fn controller(&self) -> Option<&Owner> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }
}

/// An object before its fields are read.
pub(super) struct Object {
    pub(super) origin: Origin,
    /// The group of its API, empty for the core's.
    pub(super) group: String,
    version: String,
    pub(super) meta: Meta,
    value: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Header {
    api_version: Option<String>,
    kind: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    metadata: Option<Meta>,
}

impl Object {
    /// Reads what kind of object a document is, and its metadata.
    pub(super) fn of(document: Document) -> Result<Self> {
        let Document { at, value } = document;
        let mut origin = Origin { at, kind: "object".into(), name: "without a kind".into() };
        let header: Header = origin.decode(&value)?;
        let (Some(kind), Some(version)) =
            (given(header.kind.as_ref()), given(header.api_version.as_ref()))
        else {
            let problem = "are not both given: name what it is, such as v1 and Pod";
            return Err(origin.wrong("apiVersion and kind", problem));
        };
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let (group, version) = (group.to_owned(), version.to_owned());
        origin.kind = kind.into();
        "without a name".clone_into(&mut origin.name);
        Ok(Self { origin, group, version, meta: Meta::default(), value })
    }

    /// The version of its API, to tell it from one that is not read.
    pub(super) fn api(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether its API has one of these versions.
    pub(super) fn expect_version(&self, known: &[&str]) -> Result<()> {
        if known.contains(&self.version.as_str()) {
            return Ok(());
        }
        let problem = format!(
            "is {}, and {} is what can be read: convert it",
            self.api(),
            known.join(" or ")
        );
        Err(self.origin.wrong("apiVersion", problem))
    }

    /// Reads the metadata of an object in a namespace, or of one of the whole cluster.
    pub(super) fn identify(&mut self, namespaced: bool) -> Result<()> {
        let metadata: Metadata = self.origin.decode(&self.value)?;
        self.meta = metadata.metadata.unwrap_or_default();
        if self.meta.name.is_none() {
            // Kubernetes would add five random letters.
            let prefix = given(self.meta.generate_name.as_ref());
            self.meta.name = prefix.map(|prefix| format!("{prefix}{}", digits(&self.origin.at)));
        }
        let name = given(self.meta.name.as_ref()).unwrap_or_default().to_owned();
        self.origin.name =
            if namespaced { format!("{}/{name}", self.namespace()) } else { name.clone() };
        self.check_name("metadata.name", &name)?;
        if namespaced {
            self.check_name("metadata.namespace", self.namespace())?;
        }
        Ok(())
    }

    fn check_name(&self, field: &str, name: &str) -> Result<()> {
        let known =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if name.is_empty() {
            return Err(self.origin.wrong(field, "is not given: name it"));
        }
        if name.len() > MAX_NAME || !name.bytes().all(known) {
            let problem = format!("is {name:?}: write at most {MAX_NAME} of a-z, 0-9, - and .");
            return Err(self.origin.wrong(field, problem));
        }
        Ok(())
    }

    /// Its namespace.
    pub(super) fn namespace(&self) -> &str {
        given(self.meta.namespace.as_ref()).unwrap_or("default")
    }

    /// Its name within its namespace.
    pub(super) fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    /// Its name in the whole cluster: with the namespace if it is in one.
    pub(super) fn id(&self) -> Arc<str> {
        self.origin.name.as_str().into()
    }

    /// Its fields beside the metadata.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T> {
        self.origin.decode(&self.value)
    }
}

/// The numbers of a place: no other object of the file has the same.
fn digits(at: &str) -> String {
    let numbers = at.split_once("document ").map_or(at, |(_, numbers)| numbers);
    numbers
        .split(' ')
        .filter(|word| word.bytes().all(|b| b.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Result<Object> {
        Object::of(Document { at: "x.yaml document 2 item 7".into(), value })
    }

    fn identified(value: Value) -> Result<Object> {
        let mut object = object(value)?;
        object.identify(true)?;
        Ok(object)
    }

    #[test]
    fn an_object_says_what_and_where_it_is() {
        let web =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        let web = identified(web).expect("well formed");
        assert_eq!(web.origin.to_string(), "x.yaml document 2 item 7, Deployment default/web");
        assert_eq!((&*web.group, web.api(), &*web.id()), ("apps", "apps/v1".into(), "default/web"));
        assert!(web.expect_version(&["v1"]).is_ok());
        assert_eq!(
            web.expect_version(&["v2"]).expect_err("another").to_string(),
            "x.yaml document 2 item 7, Deployment default/web: apiVersion is apps/v1, and v2 is what can be read: convert it"
        );
        let job = json!({"apiVersion": "v1", "kind": "Job", "metadata": {"generateName": "train-", "namespace": "ml"}});
        assert_eq!(&*identified(job).expect("well formed").id(), "ml/train-2-7");
    }

    #[test]
    fn objects_without_kind_or_with_strange_names_are_refused() {
        let said = |value| identified(value).map(|_| ()).expect_err("malformed").to_string();
        assert!(said(json!({"kind": "Pod"})).contains("apiVersion and kind are not both given"));
        assert!(said(json!([1])).starts_with("x.yaml document 2 item 7, object without a kind: "));
        let named =
            |name: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
        assert!(said(named(json!(null))).ends_with("metadata.name is not given: name it"));
        assert!(said(named(json!("a/b"))).contains("metadata.name is \"a/b\": write at most"));
        assert_eq!(
            said(named(json!(5))),
            "x.yaml document 2 item 7, Pod without a name: metadata.name has an invalid type: integer `5`, expected a string: quote it"
        );
    }
}

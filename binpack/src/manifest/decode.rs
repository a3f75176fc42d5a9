//! How fields are read: `null` is the same as absent, as it is to Kubernetes.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};

use crate::model::Labels;

/// A list, empty where it is absent.
#[derive(Debug, Clone)]
pub(super) struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<Vec<T>>::deserialize(deserializer).map(|items| Self(items.unwrap_or_default()))
    }
}

/// Labels or annotations, empty where they are absent. A value that is `null` is the empty text.
#[derive(Debug, Clone, Default)]
pub(super) struct Strings(BTreeMap<String, String>);

impl Strings {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// These and others, which replace those of the same key.
    pub(super) fn with<'a>(&self, others: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all = self.0.clone();
        all.extend(others.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
        Self(all)
    }

    pub(super) fn labels(&self) -> Labels {
        self.iter().map(|(key, value)| (Arc::from(key), Arc::from(value))).collect()
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?;
        let each = |(key, value): (String, Option<String>)| (key, value.unwrap_or_default());
        Ok(Self(entries.unwrap_or_default().into_iter().map(each).collect()))
    }
}

/// The text, unless it is absent or empty, which mean the same to Kubernetes.
pub(super) fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Fields {
        list: List<u8>,
        strings: Strings,
    }

    #[test]
    fn null_is_absent_and_a_null_value_is_empty() {
        for value in [json!({}), json!({"list": null, "strings": null})] {
            let fields = Fields::deserialize(value).expect("well formed");
            assert!(fields.list.is_empty() && fields.strings.iter().next().is_none());
        }
        let value = json!({"list": [1], "strings": {"a": null, "b": "c"}});
        let fields = Fields::deserialize(value).expect("well formed");
        assert_eq!((&*fields.list, fields.strings.get("a")), (&[1][..], Some("")));
        assert!(Fields::deserialize(json!({"strings": {"a": true}})).is_err());
        assert!(Fields::deserialize(json!({"list": [null]})).is_err());
    }
}

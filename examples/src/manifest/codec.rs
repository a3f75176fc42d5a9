//! The fields and labels of an object, found without decoding it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use watch_cache::{Codec, Encoded};

/// Fields are paths with dots, as `spec.nodeName`; `metadata.name` and `metadata.namespace` are in
/// the key. Labels are in `metadata.labels`. Text, numbers and booleans have a value.
///
/// ```
/// use trestle_examples::manifest::JsonCodec;
/// use watch_cache::{Codec, Encoded};
///
/// let value = br#"{"metadata":{"labels":{"app":"web"}},"spec":{"nodeName":"n1"}}"#;
/// let pod = Encoded { key: b"/registry/pods/default/a", value };
/// assert_eq!(JsonCodec.label(pod, "app").as_deref(), Some(&b"web"[..]));
/// assert_eq!(JsonCodec.field(pod, "spec.nodeName").as_deref(), Some(&b"n1"[..]));
/// assert_eq!(JsonCodec.field(pod, "metadata.namespace").as_deref(), Some(&b"default"[..]));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonCodec;

impl Codec for JsonCodec {
    fn field<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
        match name {
            "metadata.name" => Some(Cow::Borrowed(place(object.key)?.1)),
            "metadata.namespace" => Some(Cow::Borrowed(place(object.key)?.0?)),
            path => find(object.value, &path.split('.').collect::<Vec<_>>()).map(bytes),
        }
    }

    fn label<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
        find(object.value, &["metadata", "labels", name]).map(bytes)
    }
}

/// The namespace, where there is one, and the name in a key.
fn place(key: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let mut parts = key.strip_prefix(b"/registry/")?.split(|byte| *byte == b'/').skip(1);
    match (parts.next(), parts.next()) {
        (Some(namespace), Some(name)) => Some((Some(namespace), name)),
        (Some(name), None) => Some((None, name)),
        _ => None,
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// The value at a path of names in JSON. It reads up to there and skips what is beside the path.
#[must_use]
pub fn find<'a>(json: &'a [u8], path: &[&str]) -> Option<Cow<'a, str>> {
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    // It stops with an error where the value is found.
    let _stopped = At { path, found: &mut found }.deserialize(&mut deserializer);
    found
}

/// What is left of a path, from a value on.
struct At<'p, 'f, 'a> {
    path: &'p [&'p str],
    found: &'f mut Option<Cow<'a, str>>,
}

impl<'a> At<'_, '_, 'a> {
    fn take<E: Error>(self, value: Cow<'a, str>) -> Result<(), E> {
        if self.path.is_empty() {
            *self.found = Some(value);
        }
        Err(stop())
    }
}

/// Nothing that comes after this is on the path.
fn stop<E: Error>() -> E {
    E::custom("")
}

impl<'a> DeserializeSeed<'a> for At<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for At<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a value")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let Some((first, rest)) = self.path.split_first() else { return Err(stop()) };
        while let Some(is_it) = map.next_key_seed(Is(first))? {
            if is_it {
                map.next_value_seed(At { path: rest, found: self.found })?;
                return Err(stop());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, value: &'a str) -> Result<(), E> {
        self.take(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.take(Cow::Owned(value.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.take(Cow::Borrowed(if value { "true" } else { "false" }))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.take(Cow::Owned(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.take(Cow::Owned(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.take(Cow::Owned(value.to_string()))
    }
}

/// Whether a name is this one.
struct Is<'p>(&'p str);

impl<'a> DeserializeSeed<'a> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_value_is_found_where_its_path_leads() {
        let json = json!({
            "metadata": {"name": "a", "labels": {"app": "web", "k8s.io/x": "q\"\u{e4}", "n": 3}},
            "spec": {"nodeName": "n1", "deep": [{"nodeName": "n2"}], "on": true, "half": 0.5},
            "status": null,
            "nodeName": {"spec": "wrong"},
        });
        let json = json.to_string();
        for (path, value) in [
            (&["metadata", "name"][..], Some("a")),
            (&["metadata", "labels", "app"], Some("web")),
            (&["metadata", "labels", "k8s.io/x"], Some("q\"\u{e4}")),
            (&["metadata", "labels", "n"], Some("3")),
            (&["metadata", "labels", "none"], None),
            (&["metadata", "labels"], None),
            (&["spec", "nodeName"], Some("n1")),
            (&["spec", "on"], Some("true")),
            (&["spec", "half"], Some("0.5")),
            (&["spec", "deep"], None),
            (&["spec", "deep", "nodeName"], None),
            (&["spec", "nodeName", "more"], None),
            (&["status"], None),
            (&["other"], None),
        ] {
            assert_eq!(find(json.as_bytes(), path).as_deref(), value, "{path:?}");
        }
        let borrowed = find(json.as_bytes(), &["spec", "nodeName"]).unwrap();
        assert!(matches!(borrowed, Cow::Borrowed(_)));
        for wrong in ["", "[]", "{\"a\":", "{\"a\"}", "nope", "{\"a\":{\"b\":\"\\u12\"}}", "\u{1}"]
        {
            assert_eq!(find(wrong.as_bytes(), &["a", "b"]), None, "{wrong}");
        }
        let deep = format!("{}{}", "{\"x\":".repeat(10_000), "}".repeat(10_000));
        assert_eq!(find(deep.as_bytes(), &["a"]), None, "no overflow of the stack");
    }

    #[test]
    fn what_is_after_the_value_is_not_read() {
        let cut = br#"{"metadata":{"labels":{"app":"web"#;
        assert_eq!(find(cut, &["metadata", "labels", "app"]), None);
        let cut = br#"{"metadata":{"labels":{"app":"web""#;
        assert_eq!(find(cut, &["metadata", "labels", "app"]).as_deref(), Some("web"));
    }

    #[test]
    fn names_are_in_the_key() {
        let field = |key: &str, name: &str| {
            let object = Encoded { key: key.as_bytes(), value: b"{}" };
            let found = JsonCodec.field(object, name);
            found.map(|found| String::from_utf8(found.into_owned()).unwrap())
        };
        assert_eq!(field("/registry/pods/d/a", "metadata.name").as_deref(), Some("a"));
        assert_eq!(field("/registry/pods/d/a", "metadata.namespace").as_deref(), Some("d"));
        assert_eq!(field("/registry/nodes/a", "metadata.name").as_deref(), Some("a"));
        assert_eq!(field("/registry/nodes/a", "metadata.namespace"), None);
        assert_eq!(field("/other/nodes/a", "metadata.name"), None);
        assert_eq!(field("/registry/nodes", "metadata.name"), None);
    }

    #[test]
    fn it_agrees_with_a_whole_decoder() {
        let json = include_bytes!("pod.json");
        let whole: Value = serde_json::from_slice(json).unwrap();
        for path in [&["spec", "nodeName"][..], &["metadata", "uid"], &["status", "phase"]] {
            let value = path.iter().fold(&whole, |value, name| &value[*name]);
            assert_eq!(find(json, path).as_deref(), value.as_str(), "{path:?}");
        }
    }
}

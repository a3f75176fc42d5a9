//! What the server checks and fills in of an object.

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::resources::Resource;
use super::status::Failure;

pub(crate) type Object = Map<String, Value>;

/// The longest name, a DNS subdomain (RFC 1123).
const NAME_MAX: usize = 253;
/// The longest beginning of a generated name that is kept, and what is added to it, as in
/// Kubernetes.
const GENERATED_MAX: usize = 58;
const GENERATED_CHARS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const GENERATED_LEN: usize = 5;

/// An object as a client sent it, of the right kind and at the right place. Its metadata is there.
pub(crate) fn parse(
    resource: &Resource,
    namespace: Option<&str>,
    body: &[u8],
) -> Result<Object, Failure> {
    let object: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("the object is no JSON: {error}")))?;
    check(resource, namespace, object)
}

/// The same of what was parsed before.
pub(crate) fn check(
    resource: &Resource,
    namespace: Option<&str>,
    object: Value,
) -> Result<Object, Failure> {
    let Value::Object(mut object) = object else {
        return Err(Failure::bad_request("the body is no object"));
    };
    let api_version = resource.api_version();
    for (field, expected) in [("apiVersion", &*api_version), ("kind", resource.kind)] {
        let found = object.entry(field).or_insert_with(|| expected.into());
        if *found != *expected {
            return Err(Failure::bad_request(format!(
                "{field} in the data ({found}) does not match the expected one ({expected})"
            )));
        }
    }
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(metadata) = metadata else {
        return Err(Failure::bad_request("metadata is no object"));
    };
    check_metadata(resource, metadata)?;
    if let Some(namespace) = namespace {
        let found = metadata.entry("namespace").or_insert_with(|| namespace.into());
        if *found != *namespace {
            return Err(Failure::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the \
                 request: {found}"
            )));
        }
    } else {
        metadata.remove("namespace");
    }
    Ok(object)
}

/// What is text is text, and labels and annotations are maps of text.
fn check_metadata(resource: &Resource, metadata: &Object) -> Result<(), Failure> {
    let text = ["name", "generateName", "namespace", "uid", "resourceVersion"];
    for field in text.into_iter().filter(|field| metadata.contains_key(*field)) {
        if !metadata[field].is_string() {
            return Err(wrong(resource, metadata, field, "it must be a string"));
        }
    }
    for field in ["labels", "annotations"] {
        let map = match metadata.get(field) {
            None | Some(Value::Null) => continue,
            Some(map) => map.as_object(),
        };
        if !map.is_some_and(|map| map.values().all(Value::is_string)) {
            return Err(wrong(resource, metadata, field, "it must be a map of strings"));
        }
    }
    Ok(())
}

fn wrong(resource: &Resource, metadata: &Object, field: &str, problem: &str) -> Failure {
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    Failure::invalid(resource.kind, name, &format!("metadata.{field}"), problem)
}

/// A field of the metadata that is text and not empty.
pub(crate) fn text<'a>(object: &'a Object, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// Sets a field of the metadata, or takes it out.
pub(crate) fn set(object: &mut Object, field: &str, value: Option<Value>) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else { return };
    match value {
        Some(value) => metadata.insert(field.to_owned(), value),
        None => metadata.remove(field),
    };
}

/// Whether something is left to be done before the object may go.
pub(crate) fn has_finalizers(object: &Object) -> bool {
    let finalizers = object.get("metadata").and_then(|metadata| metadata.get("finalizers"));
    finalizers.and_then(Value::as_array).is_some_and(|all| !all.is_empty())
}

/// Fills in what a new object gets.
pub(crate) fn fill_in(object: &mut Object) -> Result<(), Failure> {
    set(object, "uid", Some(uid()?.into()));
    set(object, "creationTimestamp", Some(now()?.into()));
    for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"]
    {
        set(object, field, None);
    }
    Ok(())
}

/// The name that an object has, or a new one with the beginning that it asks for.
pub(crate) fn name(resource: &Resource, object: &Object) -> Result<String, Failure> {
    let name = match (text(object, "name"), text(object, "generateName")) {
        (Some(name), _) => name.to_owned(),
        (None, Some(base)) => generated(base)?,
        (None, None) => {
            let problem = "Required value: name or generateName is required";
            return Err(Failure::invalid(resource.kind, "", "metadata.name", problem));
        }
    };
    check_name(resource, &name)?;
    Ok(name)
}

/// Names and namespaces are DNS subdomains, which cannot be mistaken in a key.
pub(crate) fn check_name(resource: &Resource, name: &str) -> Result<(), Failure> {
    let outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        part.bytes().all(|byte| outer(byte) || byte == b'-')
            && part.bytes().next().is_some_and(outer)
            && part.bytes().last().is_some_and(outer)
    };
    if name.len() <= NAME_MAX && name.split('.').all(is_part) {
        return Ok(());
    }
    let problem = format!("Invalid value: {name:?}: it must be a lowercase RFC 1123 subdomain");
    Err(Failure::invalid(resource.kind, name, "metadata.name", &problem))
}

fn generated(base: &str) -> Result<String, Failure> {
    let end = base.char_indices().map(|(at, char)| at + char.len_utf8());
    let end = end.take_while(|end| *end <= GENERATED_MAX).last().unwrap_or(0);
    let mut name = base[..end].to_owned();
    for byte in random::<GENERATED_LEN>()? {
        name.push(GENERATED_CHARS[usize::from(byte) % GENERATED_CHARS.len()].into());
    }
    Ok(name)
}

/// A random identifier (RFC 9562, version 4).
fn uid() -> Result<String, Failure> {
    let mut bytes = random::<16>()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]];
    Ok(parts.map(<[String]>::concat).join("-"))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(Failure::internal)?;
    Ok(bytes)
}

/// The time in whole seconds.
pub(crate) fn now() -> Result<String, Failure> {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).map_err(Failure::internal)?;
    now.format(&Rfc3339).map_err(Failure::internal)
}

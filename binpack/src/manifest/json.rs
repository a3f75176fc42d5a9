//! JSON: one object, several after another, or an array of them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The values of a file. The elements of an array count as values of their own.
///
/// # Errors
///
/// The line, the column and what is wrong there.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Strict>() {
        match value.map_err(|error| error.to_string())?.0 {
            Value::Array(values) => all.extend(values),
            value => all.push(value),
        }
    }
    Ok(all)
}

/// A value without a key that is given twice, of which other readers keep the last in silence.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} is given twice")));
            }
            let Strict(value) = access.next_value()?;
            entries.insert(key, value);
        }
        Ok(entries.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_arrays_and_streams() {
        assert_eq!(
            documents("{\"a\": [1, -2, 0.5, null, true]}"),
            Ok(vec![json!({"a": [1, -2, 0.5, null, true]})])
        );
        assert_eq!(
            documents("[{}, {\"b\": \"c\"}]\n{}"),
            Ok(vec![json!({}), json!({"b": "c"}), json!({})])
        );
    }

    #[test]
    fn keys_given_twice_and_deep_nesting_are_refused() {
        let said = documents("{\"a\": 1,\n \"a\": 2}").expect_err("twice");
        assert!(said.starts_with("the key \"a\" is given twice at line 2"), "{said}");
        assert!(documents(&"[".repeat(100_000)).is_err());
        assert!(documents("{\"a\": 1").is_err());
    }
}

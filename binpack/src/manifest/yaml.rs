//! YAML, read as Kubernetes' clients read it.
//!
//! The parser gives events; here they become the values that JSON has, because a Kubernetes object
//! is JSON and YAML only a way to write it. Scalars without quotes are resolved by the rules of
//! YAML 1.1 as sigs.k8s.io/yaml keeps them: `yes` and `on` are booleans, `010` is octal. Only `y`
//! and `n` are text here: Kubernetes takes them for booleans and then refuses them as a name.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

/// The deepest nesting: objects of Kubernetes stay below half of it.
const MAX_DEPTH: usize = 64;

/// The most bytes that aliases may add to a file, so that a few lines don't become gigabytes.
const MAX_COPIED_BYTES: usize = 64 << 20;

/// What a value takes beside its text, about.
const VALUE_BYTES: usize = 32;

/// The documents of a file; one without content is `null`.
///
/// # Errors
///
/// The line, the column and what is wrong there.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| at(error.marker(), error.info()))?;
        builder.take(event).map_err(|problem| at(&span.start, &problem))?;
    }
    Ok(builder.documents)
}

fn at(place: &Marker, problem: &str) -> String {
    format!("line {}, column {}: {problem}", place.line(), place.col() + 1)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    copied: usize,
}

/// A collection whose end has not been read.
enum Open {
    Sequence { anchor: usize, items: Vec<Value> },
    Mapping(Mapping),
}

#[derive(Default)]
struct Mapping {
    anchor: usize,
    entries: Map<String, Value>,
    /// The key whose value comes next.
    key: Option<Key>,
    merged: Vec<Value>,
}

enum Key {
    Name(String),
    /// `<<`, whose value's entries are added where the mapping has no such key.
    Merge,
}

struct Anchored {
    value: Value,
    bytes: usize,
    depth: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                if self.is_merge(&text, style, tag.as_deref()) {
                    return Ok(());
                }
                let value = scalar(&text, style, tag.as_deref())?;
                self.finish(value, anchor)?;
            }
            Event::Alias(anchor) => {
                let value = self.copy(anchor)?;
                self.finish(value, 0)?;
            }
            Event::SequenceStart(anchor, tag) => {
                expect_tag(tag.as_deref(), "seq")?;
                self.enter(Open::Sequence { anchor, items: Vec::new() })?;
            }
            Event::MappingStart(anchor, tag) => {
                expect_tag(tag.as_deref(), "map")?;
                self.enter(Open::Mapping(Mapping { anchor, ..Mapping::default() }))?;
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence { anchor, items }) => {
                    self.finish(Value::Array(items), anchor)?;
                }
                Some(Open::Mapping(mapping)) => {
                    let anchor = mapping.anchor;
                    self.finish(mapping.close()?, anchor)?;
                }
                None => return Err("a collection ends that did not begin: correct it".into()),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn enter(&mut self, open: Open) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.open.push(open);
        Ok(())
    }

    /// Whether this is the key `<<` of a mapping, which is then noted.
    fn is_merge(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> bool {
        match self.open.last_mut() {
            Some(Open::Mapping(mapping))
                if mapping.key.is_none()
                    && text == "<<"
                    && style == ScalarStyle::Plain
                    && tag.is_none() =>
            {
                mapping.key = Some(Key::Merge);
                true
            }
            _ => false,
        }
    }

    /// Puts a complete value where it belongs.
    fn finish(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            let (bytes, depth) = measure(&value);
            self.count_copied(bytes)?;
            self.anchors.insert(anchor, Anchored { value: value.clone(), bytes, depth });
        }
        match self.open.last_mut() {
            None => self.documents.push(value),
            Some(Open::Sequence { items, .. }) => items.push(value),
            Some(Open::Mapping(mapping)) => mapping.add(value)?,
        }
        Ok(())
    }

    fn copy(&mut self, anchor: usize) -> Result<Value, String> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err("the alias means itself or another document: write the value out".into());
        };
        let (value, bytes) = (anchored.value.clone(), anchored.bytes);
        if self.open.len() + anchored.depth > MAX_DEPTH {
            return Err(too_deep());
        }
        self.count_copied(bytes)?;
        Ok(value)
    }

    fn count_copied(&mut self, bytes: usize) -> Result<(), String> {
        self.copied = self.copied.saturating_add(bytes);
        if self.copied > MAX_COPIED_BYTES {
            return Err(format!(
                "anchors and aliases add more than {MAX_COPIED_BYTES} bytes: write less with them"
            ));
        }
        Ok(())
    }
}

impl Mapping {
    fn add(&mut self, value: Value) -> Result<(), String> {
        match self.key.take() {
            None => self.key = Some(Key::Name(key_name(value)?)),
            Some(Key::Merge) => self.merged.push(value),
            Some(Key::Name(key)) => {
                if self.entries.contains_key(&key) {
                    return Err(format!("the key {key:?} is given twice: remove one"));
                }
                self.entries.insert(key, value);
            }
        }
        Ok(())
    }

    fn close(mut self) -> Result<Value, String> {
        for merged in self.merged {
            let all = if let Value::Array(all) = merged { all } else { vec![merged] };
            for one in all {
                let Value::Object(entries) = one else {
                    return Err("<< merges no mapping: give it one, or a list of them".into());
                };
                for (key, value) in entries {
                    self.entries.entry(key).or_insert(value);
                }
            }
        }
        Ok(Value::Object(self.entries))
    }
}

fn too_deep() -> String {
    format!("it is nested deeper than {MAX_DEPTH}: no Kubernetes object is")
}

/// The text by which JSON knows a key.
fn key_name(value: Value) -> Result<String, String> {
    match value {
        Value::String(name) => Ok(name),
        Value::Bool(key) => Ok(key.to_string()),
        Value::Number(key) => Ok(key.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err("a key is no text: is this a template that has not been rendered?".into())
        }
    }
}

fn measure(value: &Value) -> (usize, usize) {
    let of_all = |values: &mut dyn Iterator<Item = &Value>| {
        values.map(measure).fold((0, 0), |(bytes, depth), (b, d)| (bytes + b, d.max(depth)))
    };
    let (bytes, depth) = match value {
        Value::String(text) => (text.len(), 0),
        Value::Array(items) => of_all(&mut items.iter()),
        Value::Object(entries) => {
            let (bytes, depth) = of_all(&mut entries.values());
            (bytes + entries.keys().map(|key| VALUE_BYTES + key.len()).sum::<usize>(), depth)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => (0, 0),
    };
    let nests = usize::from(matches!(value, Value::Array(_) | Value::Object(_)));
    (bytes + VALUE_BYTES, depth + nests)
}

/// The name of a tag of YAML itself, such as `str` of `!!str`.
fn core_tag(tag: &Tag) -> Option<&str> {
    tag.is_yaml_core_schema().then_some(&*tag.suffix)
}

fn expect_tag(tag: Option<&Tag>, name: &str) -> Result<(), String> {
    match tag {
        Some(tag) if core_tag(tag) != Some(name) => Err(foreign(tag)),
        _ => Ok(()),
    }
}

fn foreign(tag: &Tag) -> String {
    format!("the tag {tag} does not belong here: remove it")
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => resolve(text),
            _ => Ok(Value::String(text.to_owned())),
        };
    };
    let value = match core_tag(tag) {
        Some("str") => return Ok(Value::String(text.to_owned())),
        Some("int" | "float" | "bool" | "null") => resolve(text)?,
        _ => return Err(foreign(tag)),
    };
    let agrees = match core_tag(tag) {
        Some("int") => value.is_i64() || value.is_u64(),
        Some("float") => value.is_number(),
        Some("bool") => value.is_boolean(),
        _ => value.is_null(),
    };
    if agrees { Ok(value) } else { Err(foreign(tag)) }
}

/// What a scalar without quotes means.
fn resolve(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Value::Bool(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            Value::Bool(false)
        }
        _ => match text.trim_start_matches(['+', '-']) {
            ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN" => {
                return Err(format!("{text} is no number that JSON has: write another"));
            }
            _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
        },
    })
}

fn number(text: &str) -> Option<Value> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    integer(&text.replace('_', "")).or_else(|| float(text))
}

/// An integer as Go reads it: the base follows from the prefix, and a leading 0 is octal.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixed = |prefix: [&str; 2]| {
        prefix.iter().find_map(|prefix| digits.strip_prefix(prefix)).filter(|d| !d.is_empty())
    };
    let (base, digits) = if let Some(digits) = prefixed(["0x", "0X"]) {
        (16, digits)
    } else if let Some(digits) = prefixed(["0o", "0O"]) {
        (8, digits)
    } else if let Some(digits) = prefixed(["0b", "0B"]) {
        (2, digits)
    } else {
        (if digits.len() > 1 && digits.starts_with('0') { 8 } else { 10 }, digits)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = u64::from_str_radix(digits, base).ok()?;
    if !negative {
        return Some(number.into());
    }
    Some(0_i64.checked_sub_unsigned(number)?.into())
}

/// A decimal number with a point or an exponent. Without a fraction it is the integer, for so it
/// is written in JSON.
fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let well_formed = digits(whole) && digits(fraction) && digits(power);
    if !well_formed || power.is_empty() || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    // Up to 15 digits a double is the integer that was written.
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}").parse::<i64>().ok().map(Value::from);
    }
    serde_json::Number::from_f64(value).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Value {
        let mut all = documents(text).expect("well formed");
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    fn refused(text: &str) -> String {
        documents(text).expect_err("malformed")
    }

    #[test]
    fn documents_become_json() {
        let text = "a: 1\nb: [x, 'y', \"z\"]\n--- # empty\n---\n- {c: null}\n- |\n  two\n  lines\n";
        assert_eq!(
            documents(text).expect("well formed"),
            [
                json!({"a": 1, "b": ["x", "y", "z"]}),
                Value::Null,
                json!([{"c": null}, "two\nlines\n"])
            ]
        );
        assert_eq!(documents(""), Ok(vec![]));
    }

    #[test]
    fn plain_scalars_mean_what_they_mean_to_kubernetes() {
        let text = "[yes, off, y, N, ~, 010, 08, 0x1F, 1_000, -5, +5, 1e3, 0.5, 1.10, 10.0.0.1, 1h, '5', !!str 5,\
                    -0x10, 18446744073709551615, 1e-2, 0b11, --5, 12e]";
        let expected = json!([
            true,
            false,
            "y",
            "N",
            null,
            8,
            8,
            31,
            1000,
            -5,
            5,
            1000,
            0.5,
            1.1,
            "10.0.0.1",
            "1h",
            "5",
            "5",
            -16,
            18_446_744_073_709_551_615_u64,
            0.01,
            3,
            "--5",
            "12e"
        ]);
        assert_eq!(one(text), expected);
        assert_eq!(one("1: a\ntrue: b\n"), json!({"1": "a", "true": "b"}));
        assert!(refused(".nan").contains("no number"));
    }

    #[test]
    fn aliases_and_merges_are_written_out() {
        let text = "base: &b {cpu: 1, memory: 2}\none: *b\ntwo: {<<: *b, cpu: 3}\nthree: {<<: [*b, {x: 1}]}\n";
        let expected = json!({
            "base": {"cpu": 1, "memory": 2},
            "one": {"cpu": 1, "memory": 2},
            "two": {"cpu": 3, "memory": 2},
            "three": {"cpu": 1, "memory": 2, "x": 1},
        });
        assert_eq!(one(text), expected);
    }

    #[test]
    fn mistakes_are_refused_with_their_place() {
        assert_eq!(
            refused("a: 1\na: 2\n"),
            "line 2, column 4: the key \"a\" is given twice: remove one"
        );
        assert!(refused("name: {{ .Values.name }}\n").contains("has not been rendered"));
        assert!(refused("a: !secret x\n").contains("tag"));
        assert!(refused("a: !!int x\n").contains("tag"));
        assert!(refused("a: &x [*x]\n").contains("means itself"));
        assert!(refused("<<: 1\n").contains("merges no mapping"));
        assert!(refused("a: [1\n").starts_with("line "));
    }

    #[test]
    fn bombs_are_refused() {
        let lines = |last: usize, each: &dyn Fn(usize) -> String| {
            let line = |i: usize| format!("a{i}: &a{i} [{}]\n", each(i));
            format!("a0: &a0 [\"0123456789\"]\n{}", (1..last).map(line).collect::<String>())
        };
        let bomb = lines(30, &|i| format!("*a{}, ", i - 1).repeat(9));
        assert!(refused(&bomb).contains("aliases add more than"));
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        assert!(refused(&deep).contains("nested deeper"));
        let chain = lines(80, &|i| format!("*a{}", i - 1));
        assert!(refused(&chain).contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-?:,\\[\\]{}#&*!|>'\"%a-c0-9. \n]{0,80}") {
            for document in documents(&text).unwrap_or_default() {
                prop_assert!(measure(&document).1 <= MAX_DEPTH);
            }
        }

        #[test]
        fn json_is_yaml(numbers in prop::collection::vec(any::<i64>(), 0..5), text in "\\PC{0,20}") {
            let value = json!({"numbers": numbers, "text": text});
            prop_assert_eq!(one(&value.to_string()), value);
        }
    }
}

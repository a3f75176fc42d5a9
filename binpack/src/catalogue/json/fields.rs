//! JSON objects, read strictly: every error names the object and the field.

use std::collections::HashSet;
use std::fmt::{self, Display};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::quantity::quantity;

const TWICE: &str = "is given twice: remove one";

/// The fields of an object that are not read yet.
pub(super) struct Fields<'a> {
    /// The object that errors name, such as `instance type m7i.large`.
    owner: &'a str,
    /// Where in it this is: empty, or such as `capacity.`.
    path: String,
    left: Vec<(String, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which is `path` of `owner`; no path is the owner itself.
    pub(super) fn of(owner: &'a str, path: &str, value: &'a RawValue) -> Result<Self> {
        let read: serde_json::Result<Entries<'a>> = serde_json::from_str(value.get());
        let Ok(Entries(left)) = read else {
            let problem = if path.is_empty() {
                format!("{owner}: is not an object: write {{…}}")
            } else {
                format!("{owner}: {path} is not an object: write {{…}}")
            };
            return Err(Error::new(ErrorKind::Invalid, problem));
        };
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        Ok(Self { owner, path, left })
    }

    /// The same, with errors that name this owner.
    pub(super) fn owned_by(mut self, owner: &'a str) -> Self {
        self.owner = owner;
        self
    }

    /// A field, if it is there.
    pub(super) fn optional(&mut self, name: &str) -> Result<Option<&'a RawValue>> {
        let at = |left: &[(String, _)]| left.iter().position(|(field, _)| field == name);
        let Some(first) = at(&self.left) else { return Ok(None) };
        let (_, value) = self.left.remove(first);
        match at(&self.left) {
            Some(_) => Err(self.wrong(name, TWICE)),
            None => Ok(Some(value)),
        }
    }

    /// A field that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<&'a RawValue> {
        self.optional(name)?.ok_or_else(|| self.wrong(name, "is missing: add it"))
    }

    /// A field that must be there and hold an object.
    pub(super) fn object(&mut self, name: &str) -> Result<Self> {
        let value = self.required(name)?;
        self.fields_of(name, value)
    }

    /// A field that may be there and then holds an object.
    pub(super) fn optional_object(&mut self, name: &str) -> Result<Option<Self>> {
        self.optional(name)?.map(|value| self.fields_of(name, value)).transpose()
    }

    /// A field that must be there and hold an array of objects.
    pub(super) fn objects(&mut self, name: &str) -> Result<Vec<Self>> {
        let value = self.required(name)?;
        let read: serde_json::Result<Vec<&'a RawValue>> = serde_json::from_str(value.get());
        let values = read.map_err(|_| self.wrong(name, "is not an array: write […]"))?;
        let each = values.into_iter().enumerate();
        each.map(|(at, value)| self.fields_of(&format!("{name}[{at}]"), value)).collect()
    }

    /// A field that must be there and hold text that is not empty.
    pub(super) fn name(&mut self, name: &str) -> Result<String> {
        let value = self.required(name)?;
        match self.text(name, value)? {
            text if text.is_empty() => Err(self.wrong(name, "is empty: give a name")),
            text => Ok(text),
        }
    }

    /// The text of a field.
    pub(super) fn text(&self, name: &str, value: &RawValue) -> Result<String> {
        serde_json::from_str(value.get())
            .map_err(|_| self.wrong(name, format!("is {}: write text in quotes", shown(value))))
    }

    /// The number from 0 on of a field.
    pub(super) fn number(&self, name: &str, value: &RawValue) -> Result<u32> {
        serde_json::from_str(value.get()).map_err(|_| {
            self.wrong(name, format!("is {}: write a whole number from 0 on", shown(value)))
        })
    }

    /// The amount of a field, a quantity in quotes or without, in units of which one has
    /// `per_one`.
    pub(super) fn amount(&self, name: &str, value: &RawValue, per_one: u64) -> Result<u64> {
        quantity(&bare(value), per_one).ok_or_else(|| {
            self.wrong(name, format!("is {}: write a quantity, such as \"16Gi\"", shown(value)))
        })
    }

    /// The amount of a field that has no parts.
    pub(super) fn whole_amount(&self, name: &str, value: &RawValue) -> Result<u64> {
        let whole = self.amount(name, value, 1)?;
        if self.amount(name, value, 1_000)? != whole.saturating_mul(1_000) {
            return Err(self.wrong(name, format!("is {}: write whole ones", shown(value))));
        }
        Ok(whole)
    }

    /// All fields that are left.
    pub(super) fn rest(&mut self) -> Result<Vec<(String, &'a RawValue)>> {
        let mut seen = HashSet::new();
        match self.left.iter().find(|(name, _)| !seen.insert(name)) {
            Some((name, _)) => Err(self.wrong(name, TWICE)),
            None => Ok(std::mem::take(&mut self.left)),
        }
    }

    /// Refuses a field that was not read.
    pub(super) fn end(self) -> Result<()> {
        match self.left.first() {
            Some((name, _)) => Err(self.wrong(name, "is not known here: remove it")),
            None => Ok(()),
        }
    }

    /// An error about this field.
    pub(super) fn wrong(&self, name: &str, problem: impl Display) -> Error {
        let Self { owner, path, .. } = self;
        Error::new(ErrorKind::Invalid, format!("{owner}: {path}{name} {problem}"))
    }

    fn fields_of(&self, name: &str, value: &'a RawValue) -> Result<Self> {
        Self::of(self.owner, &format!("{}{name}", self.path), value)
    }
}

/// A number as it is written, or what is in the quotes.
pub(super) fn bare(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

/// The beginning of a value, for an error.
pub(super) fn shown(value: &RawValue) -> String {
    const MOST: usize = 40;
    let text = value.get();
    let cut: String = text.chars().take(MOST).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

/// The fields of an object in their order, those given twice included.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

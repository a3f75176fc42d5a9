//! Field selectors, as Kubernetes has them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::invalid_at;
use crate::error::{Error, ErrorKind, Result};

/// What one field is to be. A field that is not there is the same as one that is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FieldRequirement {
    /// The field has this value: `name=value`.
    Equals(String, String),
    /// The field has another value: `name!=value`.
    NotEquals(String, String),
}

impl FieldRequirement {
    /// The field's name.
    #[must_use]
    pub fn name(&self) -> &str {
        let (Self::Equals(name, _) | Self::NotEquals(name, _)) = self;
        name
    }

    /// Whether a field is as it is to be; none is a field that is not there.
    #[must_use]
    pub fn is_met(&self, value: Option<&[u8]>) -> bool {
        let value = value.unwrap_or_default();
        match self {
            Self::Equals(_, wanted) => value == wanted.as_bytes(),
            Self::NotEquals(_, unwanted) => value != unwanted.as_bytes(),
        }
    }

    /// The one value that the field must be there with, if there is one.
    pub(crate) fn equality(&self) -> Option<&str> {
        match self {
            Self::Equals(_, value) if !value.is_empty() => Some(value),
            _ => None,
        }
    }

    /// What is wrong with it.
    fn check(&self) -> Result<(), String> {
        let name = self.name();
        if name.is_empty() {
            return Err("a field without a name".into());
        }
        if name.contains(SPECIAL) || name.contains("!=") || name.ends_with('!') {
            return Err(format!("{name:?} is no field's name: it must have none of = != , \\"));
        }
        Ok(())
    }
}

/// What stands in a value behind a backslash.
const SPECIAL: [char; 3] = ['\\', ',', '='];

/// A conjunction of requirements on fields: an object is selected if it meets all of them. The
/// empty one selects all.
///
/// Text has the syntax of Kubernetes (`k8s.io/apimachinery/pkg/fields`): requirements separated by
/// commas, each one of `name=value`, `name==value`, `name!=value`; in a value `\`, `,` and `=`
/// stand behind a backslash, and space is part of it. Two selectors with the same requirements are
/// equal, whatever the order they were given in.
///
/// ```
/// use watch_cache::FieldSelector;
///
/// let selector: FieldSelector = r"spec.nodeName==n1,metadata.name!=a\,b".parse()?;
/// assert_eq!(selector.to_string(), r"spec.nodeName=n1,metadata.name!=a\,b");
/// let error = "spec.nodeName".parse::<FieldSelector>().unwrap_err();
/// let message = "field selector at byte 0: \"spec.nodeName\" has none of = == !=";
/// assert_eq!(error.to_string(), message);
/// # Ok::<_, watch_cache::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct FieldSelector {
    /// In order, each once.
    requirements: BTreeSet<FieldRequirement>,
}

impl FieldSelector {
    /// Of these requirements.
    ///
    /// # Errors
    ///
    /// `Invalid` if a name is empty or has characters with a meaning in the text.
    pub fn new(requirements: impl IntoIterator<Item = FieldRequirement>) -> Result<Self> {
        let requirements: BTreeSet<_> = requirements.into_iter().collect();
        let mut checked = requirements.iter().map(FieldRequirement::check);
        checked
            .find(Result::is_err)
            .unwrap_or(Ok(()))
            .map_err(|found| Error::new(ErrorKind::Invalid, format!("field selector: {found}")))?;
        Ok(Self { requirements })
    }

    /// The requirements, in order.
    pub fn requirements(&self) -> impl Iterator<Item = &FieldRequirement> {
        self.requirements.iter()
    }

    /// Whether there is no requirement.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl FromStr for FieldSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut requirements = BTreeSet::new();
        let mut at = 0;
        for term in terms(text) {
            if !term.is_empty() {
                requirements.insert(requirement(term, at)?);
            }
            at += term.len() + 1;
        }
        Ok(Self { requirements })
    }
}

/// What is between the commas that no backslash is before.
fn terms(text: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |char| {
        let before = escaped;
        escaped = char == '\\' && !before;
        char == ',' && !before
    })
}

fn requirement(term: &str, at: usize) -> Result<FieldRequirement> {
    let missing = || invalid_at(FIELDS, at, format!("{term:?} has none of = == !="));
    let operator = term.find('=').ok_or_else(missing)?;
    let (name, rest) = term.split_at(operator);
    let rest = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')).unwrap_or_default();
    let requirement = match name.strip_suffix('!') {
        // After `!=` another sign is part of the value.
        Some(name) => {
            let value = term.get(operator + 1..).unwrap_or_default();
            FieldRequirement::NotEquals(name.to_owned(), unescape(value, term, at)?)
        }
        None => FieldRequirement::Equals(name.to_owned(), unescape(rest, term, at)?),
    };
    requirement.check().map_err(|found| invalid_at(FIELDS, at, found))?;
    Ok(requirement)
}

/// The value that text at the end of a term stands for.
fn unescape(text: &str, term: &str, at: usize) -> Result<String> {
    let begin = at + term.len() - text.len();
    let mut value = String::with_capacity(text.len());
    let mut chars = text.char_indices();
    while let Some((offset, char)) = chars.next() {
        let here = begin + offset;
        match char {
            '\\' => match chars.next() {
                Some((_, char)) if SPECIAL.contains(&char) => value.push(char),
                _ => return Err(invalid_at(FIELDS, here, "a backslash before none of \\ , =")),
            },
            ',' | '=' => {
                return Err(invalid_at(FIELDS, here, format!("'{char}' without a backslash")));
            }
            char => value.push(char),
        }
    }
    Ok(value)
}

const FIELDS: &str = "field selector";

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.requirements.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, sign, value) = match self {
            Self::Equals(name, value) => (name, "=", value),
            Self::NotEquals(name, value) => (name, "!=", value),
        };
        write!(f, "{name}{sign}")?;
        for char in value.chars() {
            let escape = if SPECIAL.contains(&char) { "\\" } else { "" };
            write!(f, "{escape}{char}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<FieldSelector> {
        text.parse()
    }

    #[test]
    fn requirements_mean_what_they_mean_in_kubernetes() {
        for (text, value, met) in [
            ("a=1", Some("1"), true),
            ("a=1", Some("2"), false),
            ("a=1", None, false),
            ("a=", Some(""), true),
            ("a=", None, true),
            ("a=", Some("1"), false),
            ("a!=1", Some("2"), true),
            ("a!=1", Some("1"), false),
            ("a!=1", None, true),
            ("a!=", None, false),
            ("a!=", Some(""), false),
            ("a!=", Some("1"), true),
        ] {
            let selector = parse(text).unwrap();
            let requirement = selector.requirements().next().unwrap();
            assert_eq!(requirement.is_met(value.map(str::as_bytes)), met, "{text} of {value:?}");
        }
    }

    #[test]
    fn text_is_read_as_kubernetes_reads_it() {
        let equals = |name: &str, value: &str| FieldRequirement::Equals(name.into(), value.into());
        let not = |name: &str, value: &str| FieldRequirement::NotEquals(name.into(), value.into());
        for (text, expected) in [
            ("", vec![]),
            (",,", vec![]),
            ("x=a,,y==b", vec![equals("x", "a"), equals("y", "b")]),
            ("x=", vec![equals("x", "")]),
            ("x= a ", vec![equals("x", " a ")]),
            ("x!=a", vec![not("x", "a")]),
            (r"x=a\,b,y=\=\\", vec![equals("x", "a,b"), equals("y", r"=\")]),
            (r"x=a\\,y=b", vec![equals("x", r"a\"), equals("y", "b")]),
            (r"x!=\=a", vec![not("x", "=a")]),
            (r"x=!a", vec![equals("x", "!a")]),
            (r"x!y=a", vec![equals("x!y", "a")]),
        ] {
            assert_eq!(parse(text).unwrap(), FieldSelector::new(expected).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, at, found) in [
            ("x", 0, "\"x\" has none"),
            ("x=a,y", 4, "\"y\" has none"),
            ("x=a=b", 3, "'=' without"),
            ("x===a", 3, "'=' without"),
            ("x!==a", 3, "'=' without"),
            (r"y=b,x=a\b", 7, "a backslash"),
            (r"x=a\", 3, "a backslash"),
            ("=a", 0, "a field without a name"),
            (r"a\,b=c", 0, "\"a\\\\,b\" is no field's name"),
            ("x!!=a", 0, "\"x!\" is no field's name"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let begins = format!("field selector at byte {at}: {found}");
            assert!(error.to_string().starts_with(&begins), "{text}: {error}");
        }
        FieldSelector::new([FieldRequirement::Equals("a,b".into(), String::new())]).unwrap_err();
    }

    proptest! {
        #[test]
        fn text_round_trips(
            all in prop::collection::vec(("[a-zA-Z.]{1,6}", any::<bool>(), any::<String>()), 0..5),
        ) {
            let all = all.into_iter().map(|(name, equals, value)| {
                let of = if equals { FieldRequirement::Equals } else { FieldRequirement::NotEquals };
                of(name, value)
            });
            let selector = FieldSelector::new(all).unwrap();
            prop_assert_eq!(parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a!=,\\\\\\PC]{0,16}") {
            if let Ok(selector) = parse(&text) {
                prop_assert_eq!(parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}

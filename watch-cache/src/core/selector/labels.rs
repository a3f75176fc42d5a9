//! Label selectors, as Kubernetes has them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::invalid_at;
use super::lexer::{Lexer, Token};
use crate::error::{Error, ErrorKind, Result};

/// The longest name of a label after its prefix, and the longest value, in bytes.
const NAME_MAX: usize = 63;
/// The longest prefix of a label's name (RFC 1123, a subdomain).
const PREFIX_MAX: usize = 253;

/// What one label is to be. What a label is compared with is text; a label of other bytes is equal
/// to none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LabelRequirement {
    /// The label is there, with one of these values: `name=value`, `name in (a,b)`.
    In(String, BTreeSet<String>),
    /// The label is not there, or has none of these values: `name!=value`, `name notin (a,b)`.
    NotIn(String, BTreeSet<String>),
    /// The label is there, with any value: `name`.
    Exists(String),
    /// The label is not there: `!name`.
    DoesNotExist(String),
    /// The label is a number above this one: `name>5`.
    GreaterThan(String, i64),
    /// The label is a number below this one: `name<5`.
    LessThan(String, i64),
}

impl LabelRequirement {
    /// The label is there and has this value.
    pub fn equals(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::In(name.into(), BTreeSet::from([value.into()]))
    }

    /// The label's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::In(name, _)
            | Self::NotIn(name, _)
            | Self::Exists(name)
            | Self::DoesNotExist(name)
            | Self::GreaterThan(name, _)
            | Self::LessThan(name, _) => name,
        }
    }

    /// Whether a label is as it is to be; none is a label that is not there.
    #[must_use]
    pub fn is_met(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::In(_, values) => value.is_some_and(|value| has(values, value)),
            Self::NotIn(_, values) => value.is_none_or(|value| !has(values, value)),
            Self::Exists(_) => value.is_some(),
            Self::DoesNotExist(_) => value.is_none(),
            Self::GreaterThan(_, least) => number(value).is_some_and(|number| number > *least),
            Self::LessThan(_, most) => number(value).is_some_and(|number| number < *most),
        }
    }

    /// The one value that the label must have, if there is one.
    pub(crate) fn equality(&self) -> Option<&str> {
        match self {
            Self::In(_, values) if values.len() == 1 => values.first().map(String::as_str),
            _ => None,
        }
    }

    fn check(&self) -> Result<(), String> {
        check_name(self.name())?;
        match self {
            Self::In(name, values) | Self::NotIn(name, values) => {
                if values.is_empty() {
                    return Err(format!("{name:?} is compared with no value: give one"));
                }
                values.iter().try_for_each(|value| check_value(value))
            }
            Self::GreaterThan(name, bound) | Self::LessThan(name, bound) if *bound < 0 => {
                Err(format!("{name:?} is compared with {bound}, which no label can be"))
            }
            _ => Ok(()),
        }
    }
}

fn has(values: &BTreeSet<String>, value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|value| values.contains(value))
}

fn number(value: Option<&[u8]>) -> Option<i64> {
    std::str::from_utf8(value?).ok()?.parse().ok()
}

/// A conjunction of requirements on labels: an object is selected if it meets all of them. The
/// empty one selects all.
///
/// Text has the syntax of Kubernetes (`k8s.io/apimachinery/pkg/labels`): requirements separated by
/// commas, each one of `name=value`, `name==value`, `name!=value`, `name in (a,b)`, `name notin
/// (a,b)`, `name`, `!name`, `name>5`, `name<5`. Two selectors with the same requirements are equal,
/// whatever the order they were given in.
///
/// ```
/// use watch_cache::LabelSelector;
///
/// let selector: LabelSelector = "tier notin (db), app==web".parse()?;
/// assert_eq!(selector.to_string(), "app=web,tier!=db");
/// let error = "app=web,,tier".parse::<LabelSelector>().unwrap_err();
/// assert_eq!(error.to_string(), "label selector at byte 8: found ',', expected a label's name");
/// # Ok::<_, watch_cache::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LabelSelector {
    /// In order, each once.
    requirements: BTreeSet<LabelRequirement>,
}

impl LabelSelector {
    /// Of these requirements.
    ///
    /// # Errors
    ///
    /// `Invalid` if a name or a value cannot be a label's, there are no values to compare with, or
    /// a number is negative.
    pub fn new(requirements: impl IntoIterator<Item = LabelRequirement>) -> Result<Self> {
        let requirements: BTreeSet<_> = requirements.into_iter().collect();
        let mut checked = requirements.iter().map(LabelRequirement::check);
        checked
            .find(Result::is_err)
            .unwrap_or(Ok(()))
            .map_err(|found| Error::new(ErrorKind::Invalid, format!("label selector: {found}")))?;
        Ok(Self { requirements })
    }

    /// The requirements, in order.
    pub fn requirements(&self) -> impl Iterator<Item = &LabelRequirement> {
        self.requirements.iter()
    }

    /// Whether there is no requirement.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl FromStr for LabelSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut lexer = Lexer::new(text);
        let mut requirements = BTreeSet::new();
        if lexer.peek() != Token::End {
            requirements.insert(requirement(&mut lexer)?);
        }
        while lexer.take_if(Token::Comma) {
            requirements.insert(requirement(&mut lexer)?);
        }
        match lexer.peek() {
            Token::End => Ok(Self { requirements }),
            _ => Err(unexpected(&lexer, "',' or the end")),
        }
    }
}

fn requirement(lexer: &mut Lexer<'_>) -> Result<LabelRequirement> {
    let absent = lexer.take_if(Token::Not);
    let at = lexer.at();
    let name = word(lexer, "a label's name")?;
    let requirement = match lexer.peek() {
        _ if absent => LabelRequirement::DoesNotExist(name),
        Token::Comma | Token::End => LabelRequirement::Exists(name),
        _ => comparison(lexer, name)?,
    };
    requirement.check().map_err(|found| invalid_at(LABELS, at, found))?;
    Ok(requirement)
}

fn comparison(lexer: &mut Lexer<'_>, name: String) -> Result<LabelRequirement> {
    let operator = lexer.peek();
    if !matches!(
        operator,
        Token::Equals
            | Token::NotEquals
            | Token::Greater
            | Token::Less
            | Token::Word("in" | "notin")
    ) {
        return Err(unexpected(lexer, "one of = == != in notin > <"));
    }
    lexer.take();
    Ok(match operator {
        Token::NotEquals => LabelRequirement::NotIn(name, BTreeSet::from([exact(lexer)?])),
        Token::Word("in") => LabelRequirement::In(name, values(lexer)?),
        Token::Word(_) => LabelRequirement::NotIn(name, values(lexer)?),
        Token::Greater => LabelRequirement::GreaterThan(name, bound(lexer)?),
        Token::Less => LabelRequirement::LessThan(name, bound(lexer)?),
        _ => LabelRequirement::equals(name, exact(lexer)?),
    })
}

/// One value, which may be empty.
fn exact(lexer: &mut Lexer<'_>) -> Result<String> {
    match lexer.peek() {
        Token::Comma | Token::End => Ok(String::new()),
        _ => word(lexer, "a value"),
    }
}

fn bound(lexer: &mut Lexer<'_>) -> Result<i64> {
    let at = lexer.at();
    // A sign cannot be in a label's value.
    let text = exact(lexer)?;
    let number = Some(&text).filter(|text| !text.starts_with(['+', '-']));
    number.and_then(|text| text.parse().ok()).ok_or_else(|| {
        invalid_at(LABELS, at, format!("found {text:?}, expected a number for > and <"))
    })
}

/// Values in parentheses, any of which may be empty.
fn values(lexer: &mut Lexer<'_>) -> Result<BTreeSet<String>> {
    if !lexer.take_if(Token::Open) {
        return Err(unexpected(lexer, "'('"));
    }
    let mut values = BTreeSet::new();
    loop {
        values.insert(match lexer.peek() {
            Token::Comma | Token::Close => String::new(),
            _ => word(lexer, "a value, ',' or ')'")?,
        });
        if lexer.take_if(Token::Close) {
            return Ok(values);
        }
        if !lexer.take_if(Token::Comma) {
            return Err(unexpected(lexer, "',' or ')'"));
        }
    }
}

fn word(lexer: &mut Lexer<'_>, expected: &str) -> Result<String> {
    let Token::Word(word) = lexer.peek() else { return Err(unexpected(lexer, expected)) };
    lexer.take();
    Ok(word.to_owned())
}

const LABELS: &str = "label selector";

fn unexpected(lexer: &Lexer<'_>, expected: &str) -> Error {
    let found = lexer.peek().text();
    invalid_at(LABELS, lexer.at(), format!("found {found}, expected {expected}"))
}

/// Of `name` or `prefix/name`, the prefix being a DNS subdomain.
fn check_name(whole: &str) -> Result<(), String> {
    let (prefix, name) = match whole.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, whole),
    };
    if prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
        return Err(format!("{whole:?} is no label's name: what is before '/' must be a DNS name"));
    }
    if name.is_empty() || !is_label_text(name) {
        return Err(format!(
            "{whole:?} is no label's name: it must be 1 to {NAME_MAX} of A-Z a-z 0-9 - _ . and \
             begin and end with a letter or digit"
        ));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), String> {
    if is_label_text(value) {
        return Ok(());
    }
    Err(format!(
        "{value:?} is no label's value: it must be at most {NAME_MAX} of A-Z a-z 0-9 - _ . and \
         begin and end with a letter or digit"
    ))
}

/// Whether text can be a label's value; a name is one that is not empty.
fn is_label_text(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= NAME_MAX
        && text.bytes().all(inner)
        && [text.bytes().next(), text.bytes().last()]
            .into_iter()
            .flatten()
            .all(|end| end.is_ascii_alphanumeric())
}

fn is_subdomain(text: &str) -> bool {
    let outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        part.bytes().all(|byte| outer(byte) || byte == b'-')
            && part.bytes().next().is_some_and(outer)
            && part.bytes().last().is_some_and(outer)
    };
    text.len() <= PREFIX_MAX && text.split('.').all(is_part)
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.requirements.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LabelRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, word, sign, values) = match self {
            Self::Exists(name) => return f.write_str(name),
            Self::DoesNotExist(name) => return write!(f, "!{name}"),
            Self::GreaterThan(name, bound) => return write!(f, "{name}>{bound}"),
            Self::LessThan(name, bound) => return write!(f, "{name}<{bound}"),
            Self::In(name, values) => (name, "in", "=", values),
            Self::NotIn(name, values) => (name, "notin", "!=", values),
        };
        let mut values = values.iter();
        let first = values.next().map_or("", |first| first);
        if values.len() == 0 {
            return write!(f, "{name}{sign}{first}");
        }
        write!(f, "{name} {word} ({first}")?;
        values.try_for_each(|value| write!(f, ",{value}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<LabelSelector> {
        text.parse()
    }

    fn takes(selector: &str, labels: &[(&str, &str)]) -> bool {
        let value = |name: &str| labels.iter().find(|label| label.0 == name).map(|label| label.1);
        let selector = parse(selector).unwrap();
        selector.requirements().all(|each| each.is_met(value(each.name()).map(str::as_bytes)))
    }

    #[test]
    fn requirements_mean_what_they_mean_in_kubernetes() {
        let none: &[(&str, &str)] = &[];
        for (selector, labels, taken) in [
            ("", none, true),
            ("x=a", &[("x", "a")], true),
            ("x=a", &[("x", "b")], false),
            ("x=a", none, false),
            ("x==a", &[("x", "a")], true),
            ("x=", &[("x", "")], true),
            ("x=", none, false),
            ("x!=a", &[("x", "b")], true),
            ("x!=a", &[("x", "a")], false),
            ("x!=a", none, true),
            ("x!=", none, true),
            ("x!=", &[("x", "")], false),
            ("x in (a,b)", &[("x", "b")], true),
            ("x in (a,b)", &[("x", "c")], false),
            ("x in (a,b)", none, false),
            ("x in ()", &[("x", "")], true),
            ("x notin (a,b)", &[("x", "c")], true),
            ("x notin (a,b)", &[("x", "a")], false),
            ("x notin (a,b)", none, true),
            ("x", &[("x", "")], true),
            ("x", none, false),
            ("!x", none, true),
            ("!x", &[("x", "")], false),
            ("x>1", &[("x", "2")], true),
            ("x>1", &[("x", "1")], false),
            ("x>1", &[("x", "two")], false),
            ("x>1", none, false),
            ("x<1", &[("x", "-7")], true),
            ("x<1", &[("x", "1")], false),
            ("x<1", none, false),
            ("x=a,y=b", &[("x", "a"), ("y", "b")], true),
            ("x=a,y=b", &[("x", "a")], false),
            ("x=a,x=b", &[("x", "a")], false),
            ("notin=in,in", &[("notin", "in"), ("in", "x")], true),
            ("in notin (in)", none, true),
        ] {
            assert_eq!(takes(selector, labels), taken, "{selector} of {labels:?}");
        }
    }

    #[test]
    fn text_is_read_as_kubernetes_reads_it() {
        for (text, normal) in [
            ("", ""),
            (" \t\r\n", ""),
            ("y=b,x=a", "x=a,y=b"),
            ("x=a,x=a", "x=a"),
            ("x == a , y != b", "x=a,y!=b"),
            ("x= ,z= ", "x=,z="),
            ("x in (b, a , b)", "x in (a,b)"),
            ("x in (a)", "x=a"),
            ("x in ()", "x="),
            ("x in (,a)", "x in (,a)"),
            ("x in (a,)", "x in (,a)"),
            ("x in (a,,b)", "x in (,a,b)"),
            ("x in (,)", "x="),
            ("x notin (in,notin)", "x notin (in,notin)"),
            ("!x,y", "y,!x"),
            ("x>007,z<5", "x>7,z<5"),
            ("example.com/App_1=v.1", "example.com/App_1=v.1"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), normal);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let long = "x".repeat(64);
        for (text, at, found) in [
            (",", 0, "found ','"),
            ("x,", 2, "found the end"),
            ("x,,y", 2, "found ','"),
            ("x=a||y=b", 0, "\"a||y\" is no label's value"),
            ("x==a==b", 4, "found '='"),
            ("!x=a", 2, "found '='"),
            ("!", 1, "found the end"),
            ("=a", 0, "found '='"),
            ("x a", 2, "found \"a\""),
            ("x in a", 5, "found \"a\""),
            ("x in (a", 7, "found the end"),
            ("x in (a b)", 8, "found \"b\""),
            ("x in (a))", 8, "found ')'"),
            ("x=a b", 4, "found \"b\""),
            ("x=(a)", 2, "found '('"),
            ("x<a", 2, "found \"a\""),
            ("x>", 2, "found \"\""),
            ("x>-1", 2, "found \"-1\""),
            ("a,-x", 2, "\"-x\" is no label's name"),
            ("/x", 0, "\"/x\" is no label's name"),
            ("A.b/x", 0, "\"A.b/x\" is no label's name"),
            ("a/b/c", 0, "\"a/b/c\" is no label's name"),
            ("a/", 0, "\"a/\" is no label's name"),
            ("x=a_", 0, "\"a_\" is no label's value"),
            ("x=ä", 0, "\"ä\" is no label's value"),
            ("x\0", 0, "\"x\\0\" is no label's name"),
            (&long, 0, &format!("{long:?} is no label's name")),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let begins = format!("label selector at byte {at}: {found}");
            assert!(error.to_string().starts_with(&begins), "{text}: {error}");
        }
        for wrong in [
            LabelRequirement::In("x".into(), BTreeSet::new()),
            LabelRequirement::LessThan("x".into(), -1),
            LabelRequirement::equals("x", "a b"),
            LabelRequirement::Exists(String::new()),
        ] {
            LabelSelector::new([wrong]).unwrap_err();
        }
    }

    pub(crate) fn selectors() -> impl Strategy<Value = LabelSelector> {
        let name = "([a-z0-9]{1,3}(\\.[a-z]{1,3})?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,4}[A-Za-z0-9])?";
        let value = "([A-Za-z0-9]([-_.A-Za-z0-9]{0,4}[A-Za-z0-9])?)?";
        let values = || prop::collection::btree_set(value, 1..4);
        let requirement = prop_oneof![
            (name, values()).prop_map(|(name, values)| LabelRequirement::In(name, values)),
            (name, values()).prop_map(|(name, values)| LabelRequirement::NotIn(name, values)),
            name.prop_map(LabelRequirement::Exists),
            name.prop_map(LabelRequirement::DoesNotExist),
            (name, 0..=i64::MAX)
                .prop_map(|(name, bound)| LabelRequirement::GreaterThan(name, bound)),
            (name, 0..=i64::MAX).prop_map(|(name, bound)| LabelRequirement::LessThan(name, bound)),
        ];
        prop::collection::vec(requirement, 0..5).prop_map(|all| LabelSelector::new(all).unwrap())
    }

    proptest! {
        #[test]
        fn text_round_trips(selector in selectors()) {
            prop_assert_eq!(parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a!=,()<> \t\\PC]{0,24}|in|notin") {
            if let Ok(selector) = parse(&text) {
                prop_assert_eq!(parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}

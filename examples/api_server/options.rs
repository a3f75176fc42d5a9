//! The options of a request, as its query has them.

use std::time::Duration;

use watch_cache::{At, ContinueToken, FieldRequirement, FieldSelector, LabelSelector, Selector};

use super::resources::Resource;
use super::status::Failure;

/// What a list or a watch is asked for with.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    pub(crate) limit: Option<usize>,
    pub(crate) continue_token: Option<ContinueToken>,
    pub(crate) version: Version,
    version_match: Option<String>,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) dry_run: bool,
}

/// A resource version that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Version {
    /// None: the newest.
    #[default]
    Unset,
    /// `0`: whatever is there.
    Any,
    At(u64),
}

impl Options {
    pub(crate) fn parse(query: &str) -> Result<Self, Failure> {
        let mut options = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "labelSelector" => options.labels = value.parse()?,
                "fieldSelector" => options.fields = value.parse()?,
                "limit" => options.limit = limit(&value)?,
                "continue" if !value.is_empty() => options.continue_token = Some(value.parse()?),
                "resourceVersion" => options.version = version(&value)?,
                "resourceVersionMatch" if !value.is_empty() => {
                    options.version_match = Some(value.into_owned());
                }
                "watch" => options.watch = is_true(&value),
                "allowWatchBookmarks" => options.bookmarks = is_true(&value),
                "sendInitialEvents" => options.send_initial_events = Some(is_true(&value)),
                "timeoutSeconds" => options.timeout = timeout(&value)?,
                "dryRun" => options.dry_run = !value.is_empty(),
                // As Kubernetes does with what it does not know.
                _ => {}
            }
        }
        Ok(options)
    }

    /// The revision that a list is to show.
    pub(crate) fn at(&self) -> Result<At, Failure> {
        let exact = match self.version_match.as_deref() {
            Some("Exact") => Some(true),
            Some("NotOlderThan") => Some(false),
            None => None,
            Some(_) => return Err(wrong_match("supported values: \"Exact\", \"NotOlderThan\"")),
        };
        if self.send_initial_events.is_some() {
            let problem = "sendInitialEvents is forbidden for list";
            return Err(wrong("sendInitialEvents", problem));
        }
        if self.continue_token.is_some() {
            if exact.is_some() {
                return Err(wrong_match("it is forbidden when continue is provided"));
            }
            if matches!(self.version, Version::At(_)) {
                return Err(Failure::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            return Ok(At::default());
        }
        Ok(match (self.version, exact) {
            (Version::Unset, None) => At::Consistent,
            (Version::Unset, Some(_)) => {
                return Err(wrong_match("it is forbidden unless resourceVersion is provided"));
            }
            (Version::Any, Some(true)) => {
                return Err(wrong_match("\"Exact\" is forbidden for resourceVersion \"0\""));
            }
            (Version::Any, _) => At::Any,
            (Version::At(revision), Some(true)) => At::Exactly(revision),
            // As before there was a match: a page is of the version that is named.
            (Version::At(revision), None) if self.limit.is_some() => At::Exactly(revision),
            (Version::At(revision), _) => At::AtLeast(revision),
        })
    }

    /// Checks what only a watch has.
    pub(crate) fn check_watch(&self) -> Result<(), Failure> {
        match (self.send_initial_events, self.version_match.as_deref()) {
            (None, None) | (Some(_), Some("NotOlderThan")) => Ok(()),
            (None, Some(_)) => {
                Err(wrong_match("it is forbidden for watch unless sendInitialEvents is provided"))
            }
            (Some(_), _) => Err(wrong_match("sendInitialEvents requires NotOlderThan")),
        }
    }

    /// What is selected of a resource.
    pub(crate) fn selector(&self, resource: &Resource) -> Result<Selector, Failure> {
        let mut names = self.fields.requirements().map(FieldRequirement::name);
        if let Some(unknown) = names.find(|name| !resource.fields.contains(name)) {
            return Err(Failure::bad_request(format!(
                "Unable to find {:?} that match field selector {:?}: field label not supported: \
                 {unknown}",
                resource.plural,
                self.fields.to_string(),
            )));
        }
        let mut selector = Selector::default();
        selector.fields = self.fields.clone();
        selector.labels = self.labels.clone();
        Ok(selector)
    }

    /// What a field must be, if the selector says so.
    pub(crate) fn field(&self, wanted: &str) -> Option<&str> {
        self.fields.requirements().find_map(|requirement| match requirement {
            FieldRequirement::Equals(name, value) if name == wanted => Some(&**value),
            _ => None,
        })
    }
}

/// Of the text of a resource version.
pub(crate) fn version(text: &str) -> Result<Version, Failure> {
    match text {
        "" => Ok(Version::Unset),
        "0" => Ok(Version::Any),
        text => {
            let number = text.parse().map(Version::At);
            number.map_err(|_| Failure::bad_request(format!("invalid resource version {text:?}")))
        }
    }
}

fn limit(text: &str) -> Result<Option<usize>, Failure> {
    match text {
        "" | "0" => Ok(None),
        text => match text.parse() {
            Ok(limit) => Ok(Some(limit)),
            Err(_) => Err(Failure::bad_request(format!("invalid limit {text:?}"))),
        },
    }
}

fn timeout(text: &str) -> Result<Option<Duration>, Failure> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(secs) => Ok(Some(Duration::from_secs(secs))),
            Err(_) => Err(Failure::bad_request(format!("invalid timeoutSeconds {text:?}"))),
        },
    }
}

/// As Kubernetes reads it: whatever does not say no.
fn is_true(text: &str) -> bool {
    !(text.eq_ignore_ascii_case("false") || text == "0")
}

fn wrong(field: &str, problem: &str) -> Failure {
    Failure::invalid("ListOptions.meta.k8s.io", "", field, problem)
}

fn wrong_match(problem: &str) -> Failure {
    wrong("resourceVersionMatch", problem)
}

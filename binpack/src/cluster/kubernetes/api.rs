//! Requests to an API server, and what their answers mean.

use std::fmt::Write;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::{KubernetesAnswer, KubernetesClient, KubernetesConfig, KubernetesRequest};
use crate::error::{Error, ErrorKind, Result};

/// More pages than any list has: a server that goes on and on does not end.
const MAX_PAGES: usize = 100_000;
/// As much of what a server says goes into a message.
const MAX_SAID: usize = 500;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// An API server.
pub(super) struct Api {
    client: Arc<dyn KubernetesClient>,
    config: KubernetesConfig,
}

/// What is asked for, in the words of RBAC, for messages.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) verb: &'a str,
    /// Such as `pods/binding` or `nodeclaims.karpenter.sh`.
    pub(super) resource: &'a str,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
}

/// Why a list broke off.
enum Broken {
    /// Its token has expired.
    Expired,
    Failed(Error),
}

impl Api {
    pub(super) fn new(client: Arc<dyn KubernetesClient>, config: KubernetesConfig) -> Self {
        Self { client, config }
    }

    pub(super) fn config(&self) -> &KubernetesConfig {
        &self.config
    }

    /// All objects at a path, or `None` if there is no such resource.
    ///
    /// They come in pages; where a page's token expires before the next one is asked for, all are
    /// asked for at once, as Kubernetes' own clients do.
    pub(super) async fn list(&self, path: &str, resource: &str) -> Result<Option<Vec<Value>>> {
        let right = Right { verb: "list", resource };
        let listed = match self.pages(path, self.config.page_objects, right).await {
            Err(Broken::Expired) => self.pages(path, 0, right).await,
            listed => listed,
        };
        listed.map_err(|broken| match broken {
            Broken::Expired => {
                let message = format!("a list of {resource} expired before its end: retry later");
                Error::new(ErrorKind::Unavailable, message)
            }
            Broken::Failed(error) => error,
        })
    }

    async fn pages(
        &self,
        path: &str,
        limit: usize,
        right: Right<'_>,
    ) -> Result<Option<Vec<Value>>, Broken> {
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..MAX_PAGES {
            let mut query = format!("{path}?limit={limit}");
            if !token.is_empty() {
                let _ = write!(query, "&continue={}", escape(&token));
            }
            let answer = self.send("GET", query, None, Vec::new()).await.map_err(Broken::Failed)?;
            match answer.status {
                200 => {}
                404 if token.is_empty() => return Ok(None),
                410 => return Err(Broken::Expired),
                _ => return Err(Broken::Failed(refused(&answer, right))),
            }
            let page: Page = decode(&answer.body, right).map_err(Broken::Failed)?;
            all.extend(page.items.unwrap_or_default());
            token = page.metadata.token.unwrap_or_default();
            if token.is_empty() {
                return Ok(Some(all));
            }
        }
        let message = format!(
            "a list of {} has more than {MAX_PAGES} pages: raise page_objects",
            right.resource
        );
        Err(Broken::Failed(Error::new(ErrorKind::Invalid, message)))
    }

    /// Creates an object, unless one of its name is there or what it belongs to is gone: the next
    /// state shows it.
    pub(super) async fn create(
        &self,
        path: String,
        object: &Value,
        right: Right<'_>,
    ) -> Result<()> {
        self.write("POST", path, JSON, object, right).await
    }

    /// Changes an object by a merge patch (RFC 7386), unless it is another than was seen, or gone.
    pub(super) async fn patch(&self, path: String, change: &Value, right: Right<'_>) -> Result<()> {
        self.write("PATCH", path, MERGE_PATCH, change, right).await
    }

    async fn write(
        &self,
        method: &'static str,
        path: String,
        media: &'static str,
        body: &Value,
        right: Right<'_>,
    ) -> Result<()> {
        let answer = self.send(method, path, Some(media), body.to_string().into_bytes()).await?;
        match answer.status {
            200..=202 | 404 | 409 => Ok(()),
            _ => Err(refused(&answer, right)),
        }
    }

    async fn send(
        &self,
        method: &'static str,
        path_and_query: String,
        content_type: Option<&'static str>,
        body: Vec<u8>,
    ) -> Result<KubernetesAnswer> {
        let request = KubernetesRequest { method, path_and_query, content_type, body };
        let answer = timeout(self.config.answer_timeout, self.client.send(request)).await;
        answer.map_err(|_| {
            let message = "the API server does not answer: retry later";
            Error::new(ErrorKind::Unavailable, message)
        })?
    }
}

fn decode<T: DeserializeOwned>(body: &[u8], right: Right<'_>) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let Right { verb, resource } = right;
        let (kind, problem) = if error.is_eof() {
            (ErrorKind::Unavailable, "ends in the middle: retry later")
        } else {
            (
                ErrorKind::Invalid,
                "is no list of objects: see what answers in the API server's place",
            )
        };
        Error::new(kind, format!("the answer to {verb} {resource} {problem}")).with_source(error)
    })
}

/// What an answer means that is neither good nor expected.
fn refused(answer: &KubernetesAnswer, right: Right<'_>) -> Error {
    let Right { verb, resource } = right;
    let said = serde_json::from_slice::<Status>(&answer.body).unwrap_or_default().message;
    let said: String = said.chars().take(MAX_SAID).collect();
    let status = answer.status;
    let (kind, advice) = match status {
        401 => (ErrorKind::Invalid, "give the client credentials that the server knows".into()),
        403 => {
            let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
            let rule = format!(
                "grant it by an RBAC rule with apiGroups [{group:?}], resources [{plural:?}], \
                 verbs [{verb:?}]"
            );
            (ErrorKind::Invalid, rule)
        }
        408 | 410 | 429 | 500.. => (ErrorKind::Unavailable, "retry later".into()),
        _ => (ErrorKind::Invalid, "correct what it says".into()),
    };
    let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
    Error::new(kind, format!("{verb} {resource} is answered with {status}{said}: {advice}"))
}

/// A value of a query (RFC 3986, section 2.3).
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Error {
        let answer = KubernetesAnswer { status, body: body.into() };
        refused(&answer, Right { verb: "create", resource: "nodeclaims.karpenter.sh" })
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let forbidden = of(403, r#"{"message": "no"}"#);
        assert_eq!(forbidden.kind(), ErrorKind::Invalid);
        assert_eq!(
            forbidden.to_string(),
            "create nodeclaims.karpenter.sh is answered with 403 (no): grant it by an RBAC rule with \
             apiGroups [\"karpenter.sh\"], resources [\"nodeclaims\"], verbs [\"create\"]"
        );
        for status in [408, 410, 429, 500, 503] {
            assert_eq!(of(status, "<html>").kind(), ErrorKind::Unavailable);
        }
        for status in [301, 400, 401, 422] {
            assert_eq!(of(status, "").kind(), ErrorKind::Invalid);
        }
        assert!(
            of(400, &format!("{{\"message\": {:?}}}", "x".repeat(5_000))).to_string().len() < 700
        );
    }

    #[test]
    fn a_cut_answer_is_asked_for_again_and_nonsense_is_not() {
        let right = Right { verb: "list", resource: "pods" };
        let kind = |body: &str| decode::<Page>(body.as_bytes(), right).err().map(|e| e.kind());
        assert_eq!(kind(r#"{"items": [{"a": "#), Some(ErrorKind::Unavailable));
        assert_eq!(kind("<html>"), Some(ErrorKind::Invalid));
        assert_eq!(kind(r#"{"items": 5}"#), Some(ErrorKind::Invalid));
        assert_eq!(kind(r#"{"items": null}"#), None);
    }

    #[test]
    fn tokens_are_escaped() {
        assert_eq!(escape("aZ09-._~+/= é"), "aZ09-._~%2B%2F%3D%20%C3%A9");
    }
}

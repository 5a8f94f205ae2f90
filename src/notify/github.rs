//! Issues at GitHub, by its REST API. The rules that it follows stand in `docs/channels.md`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel::{Refused, answered, read};
use super::kinds::GithubChannel;
use super::tickets::{Issue, Tracker};
use crate::outgoing::{Answer, Endpoint, Question};

const TIMEOUT: Duration = Duration::from_secs(10);
const HEADERS: [(&str, &str); 2] = [("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")];
/// The label that our issues are found by.
const LABEL: &str = "backout";
const A_PAGE: &str = "100";

pub(super) struct Github {
    api: Endpoint,
    repository: String,
    labels: Vec<String>,
}

impl Github {
    pub(super) fn new(settings: &GithubChannel, api: Endpoint) -> Self {
        let mut labels = vec![LABEL.to_owned()];
        labels.extend(settings.labels.iter().filter(|label| *label != LABEL).cloned());
        Self { api, repository: settings.repository.clone(), labels }
    }

    fn path(&self, rest: &str) -> String {
        format!("repos/{}{rest}", self.repository)
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Refused> {
        let question = Question { headers: &HEADERS, timeout: TIMEOUT, most_bytes: 32 << 20, ..Question::get(path, query) };
        answered(self.api.ask(question).await)
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Result<Answer, Refused> {
        let body = Bytes::from(body.to_string());
        let question = Question { method: Some(method), headers: &HEADERS, timeout: TIMEOUT, ..Question::post_json(path, body) };
        answered(self.api.ask(question).await)
    }

    async fn ours(&self, page: u32) -> Result<(Vec<Issue>, bool), Refused> {
        let page = page.to_string();
        let query = [
            ("labels", LABEL),
            ("state", "all"),
            ("sort", "created"),
            ("direction", "desc"),
            ("per_page", A_PAGE),
            ("page", page.as_str()),
        ];
        let listed: Vec<Listed> = read(Ok(self.get(&self.path("/issues"), &query).await?))?;
        let more = listed.len().to_string() == A_PAGE;
        // The list has pull requests, too.
        Ok((listed.into_iter().filter(|issue| issue.pull_request.is_none()).map(Listed::issue).collect(), more))
    }

    async fn new_issue(&self, title: String, body: String) -> Result<u64, Refused> {
        let body = json!({"title": title, "body": body, "labels": self.labels});
        let created: Listed = read(Ok(self.send(Method::POST, &self.path("/issues"), body).await?))?;
        if !created.labels.iter().any(|label| label.name == LABEL) {
            // Documented: without push access labels are silently dropped.
            let (repository, number) = (&self.repository, created.number);
            tracing::warn!(
                repository,
                number,
                "GitHub dropped the label of an issue: it is not found after a restart; give the token push access"
            );
        }
        Ok(created.number)
    }

    async fn about(&self) -> Result<String, Refused> {
        let repository: Repository = read(Ok(self.get(&self.path(""), &[]).await?))?;
        if !repository.has_issues {
            return Err(Refused::never(format!("the repository `{}` has issues switched off", self.repository)));
        }
        if repository.archived {
            return Err(Refused::never(format!("the repository `{}` is archived", self.repository)));
        }
        let push = repository.permissions.is_some_and(|permissions| permissions.push);
        let labels = if push { "may label issues" } else { "cannot label issues: they are not found after a restart" };
        Ok(format!("the token reads `{}` and {labels}", self.repository))
    }
}

impl Tracker for Github {
    fn list(&self, page: u32) -> BoxFuture<'_, Result<(Vec<Issue>, bool), Refused>> {
        Box::pin(self.ours(page))
    }

    fn read(&self, number: u64) -> BoxFuture<'_, Result<Issue, Refused>> {
        Box::pin(async move {
            let issue: Listed = read(Ok(self.get(&self.path(&format!("/issues/{number}")), &[]).await?))?;
            Ok(issue.issue())
        })
    }

    fn create(&self, title: String, body: String) -> BoxFuture<'_, Result<u64, Refused>> {
        Box::pin(self.new_issue(title, body))
    }

    fn comment(&self, number: u64, text: String) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let path = self.path(&format!("/issues/{number}/comments"));
            self.send(Method::POST, &path, json!({"body": text})).await.map(|_| ())
        })
    }

    fn change(&self, number: u64, body: String, close: bool) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let mut change = json!({"body": body});
            if close {
                change["state"] = json!("closed");
                change["state_reason"] = json!("completed");
            }
            self.send(Method::PATCH, &self.path(&format!("/issues/{number}")), change).await.map(|_| ())
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Refused>> {
        Box::pin(self.about())
    }

    fn limits(&self) -> (usize, usize) {
        (256, 65_536)
    }
}

#[derive(Deserialize)]
struct Listed {
    number: u64,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    pull_request: Option<serde::de::IgnoredAny>,
}

impl Listed {
    fn issue(self) -> Issue {
        // GitHub keeps the line ends of its web form.
        Issue { number: self.number, body: self.body.unwrap_or_default().replace("\r\n", "\n") }
    }
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    has_issues: bool,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

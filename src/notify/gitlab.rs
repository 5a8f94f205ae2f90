//! Issues at GitLab, by its REST API v4. The rules that it follows stand in `docs/channels.md`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel::{Refused, answered, read};
use super::kinds::GitlabChannel;
use super::tickets::{Issue, Tracker};
use crate::outgoing::{Answer, Endpoint, Question};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The label that our issues are found by.
const LABEL: &str = "backout";
const A_PAGE: &str = "100";

pub(super) struct Gitlab {
    api: Endpoint,
    project: String,
    labels: String,
}

impl Gitlab {
    pub(super) fn new(settings: &GitlabChannel, api: Endpoint) -> Self {
        let mut labels = vec![LABEL];
        labels.extend(settings.labels.iter().map(String::as_str).filter(|label| *label != LABEL));
        Self { api, project: settings.project.clone(), labels: labels.join(",") }
    }

    /// A project's path is one segment, with its slashes encoded.
    fn path(&self, rest: &str) -> String {
        format!("projects/{}{rest}", self.project.replace('/', "%2F"))
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Refused> {
        let question = Question { timeout: TIMEOUT, most_bytes: 32 << 20, ..Question::get(path, query) };
        answered(self.api.ask(question).await)
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Result<Answer, Refused> {
        let body = Bytes::from(body.to_string());
        let question = Question { method: Some(method), timeout: TIMEOUT, ..Question::post_json(path, body) };
        answered(self.api.ask(question).await)
    }

    async fn ours(&self, page: u32) -> Result<(Vec<Issue>, bool), Refused> {
        let page = page.to_string();
        let query = [
            ("labels", LABEL),
            ("state", "all"),
            ("scope", "all"),
            ("order_by", "created_at"),
            ("sort", "desc"),
            ("per_page", A_PAGE),
            ("page", page.as_str()),
        ];
        let listed: Vec<Listed> = read(Ok(self.get(&self.path("/issues"), &query).await?))?;
        let more = listed.len().to_string() == A_PAGE;
        Ok((listed.into_iter().map(Listed::issue).collect(), more))
    }

    async fn about(&self) -> Result<String, Refused> {
        let project: Project = read(Ok(self.get(&self.path(""), &[]).await?))?;
        if project.archived {
            return Err(Refused::never(format!("the project `{}` is archived", self.project)));
        }
        if project.issues_access_level.as_deref() == Some("disabled") {
            return Err(Refused::never(format!("the project `{}` has issues switched off", self.project)));
        }
        Ok(format!("the token reads `{}`; whether it may write issues shows with the first", self.project))
    }
}

impl Tracker for Gitlab {
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
        Box::pin(async move {
            let body = json!({"title": title, "description": body, "labels": self.labels});
            let created: Listed = read(Ok(self.send(Method::POST, &self.path("/issues"), body).await?))?;
            Ok(created.iid)
        })
    }

    fn comment(&self, number: u64, text: String) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let path = self.path(&format!("/issues/{number}/notes"));
            self.send(Method::POST, &path, json!({"body": text})).await.map(|_| ())
        })
    }

    fn change(&self, number: u64, body: String, close: bool) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let mut change = json!({"description": body});
            if close {
                change["state_event"] = json!("close");
            }
            self.send(Method::PUT, &self.path(&format!("/issues/{number}")), change).await.map(|_| ())
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Refused>> {
        Box::pin(self.about())
    }

    fn limits(&self) -> (usize, usize) {
        (255, 1_000_000)
    }
}

#[derive(Deserialize)]
struct Listed {
    iid: u64,
    #[serde(default)]
    description: Option<String>,
}

impl Listed {
    fn issue(self) -> Issue {
        Issue { number: self.iid, body: self.description.unwrap_or_default().replace("\r\n", "\n") }
    }
}

#[derive(Deserialize)]
struct Project {
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    issues_access_level: Option<String>,
}

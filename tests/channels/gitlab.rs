//! GitLab. The rules: "Issues API", "Notes API", "Projects API", "REST API" (encoding of paths, pagination) and "Quick actions"
//! (docs.gitlab.com).

use std::sync::Mutex;

use axum::http::Method;
use backout::notify::Probe;
use serde_json::{Value, json};

use crate::server::{Fault, Reply, Request, Rules, lock, rule};
use crate::tracker::{self, Bed, Issue, Kept, inert};
use crate::world::secret;

const TOKEN: &str = "glpat-secret";
const PROJECT: &str = "/api/v4/projects/shop%2Fweb";

/// A project.
#[derive(Default)]
struct Gitlab {
    issues: Mutex<Vec<Issue>>,
}

impl Gitlab {
    fn show(iid: usize, issue: &Issue) -> Value {
        let state = if issue.is_open { "opened" } else { "closed" };
        json!({"id": 1000 + iid, "iid": iid, "title": issue.title, "description": issue.body, "state": state, "labels": issue.labels})
    }

    fn list(&self, request: &Request) -> Result<Reply, String> {
        let per_page: usize = request.query("per_page").parse().map_err(|_| "per_page is a number")?;
        let page: usize = request.query("page").parse().map_err(|_| "page is a number")?;
        rule((1..=100).contains(&per_page), "per_page is at most 100")?;
        rule(["opened", "closed", "all"].contains(&request.query("state")), "state is one of three")?;
        rule(request.query("scope") == "all", "without a scope only our own issues may be listed")?;
        rule(request.query("order_by") == "created_at" && request.query("sort") == "desc", "we look at the newest")?;
        let issues = lock(&self.issues);
        let numbered =
            issues.iter().enumerate().filter(|(_, issue)| issue.labels.iter().any(|label| label == request.query("labels")));
        let mut found: Vec<_> = numbered.map(|(at, issue)| Self::show(at + 1, issue)).collect();
        found.reverse();
        let shown: Vec<Value> = found.into_iter().skip((page - 1) * per_page).take(per_page).collect();
        Ok(Reply::new(200, Value::from(shown)))
    }

    fn create(&self, body: &Value) -> Result<Reply, String> {
        let title = text(body, "title")?;
        rule((1..=255).contains(&title.chars().count()), "title is too long (maximum is 255 characters)")?;
        rule(!title.contains('@') || title.contains("@\u{2060}"), "GitLab mentions whom a title names")?;
        content(&text(body, "description")?)?;
        let labels = text(body, "labels")?.split(',').map(str::to_owned).collect();
        let issue = Issue { title, body: text(body, "description")?, labels, is_open: true, comments: Vec::new() };
        let mut issues = lock(&self.issues);
        issues.push(issue.clone());
        Ok(Reply::new(201, Self::show(issues.len(), &issue)))
    }

    fn about(&self, request: &Request, rest: &str) -> Result<Reply, String> {
        let (iid, notes) = rest.split_once('/').map_or((rest, false), |(iid, rest)| (iid, rest == "notes"));
        let iid: usize = iid.parse().map_err(|_| format!("there is no `{rest}`"))?;
        let mut issues = lock(&self.issues);
        let Some(issue) = issues.get_mut(iid - 1) else { return Ok(Reply::new(404, json!({"message": "404 Not found"}))) };
        let body = request.json();
        match (request.method.as_str(), notes) {
            ("GET", false) => {}
            ("POST", true) => {
                content(&text(&body, "body")?)?;
                issue.comments.push(text(&body, "body")?);
                return Ok(Reply::new(201, json!({"id": 1})));
            }
            ("PUT", false) => {
                content(&text(&body, "description")?)?;
                issue.body = text(&body, "description")?;
                if let Some(event) = body["state_event"].as_str() {
                    rule(["close", "reopen"].contains(&event), "state_event is close or reopen")?;
                    issue.is_open = event == "reopen";
                }
            }
            (method, _) => return Err(format!("no {method} here")),
        }
        Ok(Reply::new(200, Self::show(iid, issue)))
    }
}

fn text(body: &Value, name: &str) -> Result<String, String> {
    body[name].as_str().map(str::to_owned).ok_or(format!("{name} is a text"))
}

fn content(body: &str) -> Result<(), String> {
    rule(!body.is_empty(), "body is missing")?;
    rule(body.chars().count() <= 1_000_000, "is too long (maximum is 1000000 characters)")?;
    inert(body)
}

impl Rules for Gitlab {
    fn answer(&self, request: &Request) -> Result<Reply, String> {
        rule(request.header("authorization") == format!("Bearer {TOKEN}"), "401 Unauthorized")?;
        let rest = request.path.strip_prefix(PROJECT).ok_or(format!("404 Project Not Found: `{}`", request.path))?;
        match (request.method.as_str(), rest) {
            ("GET", "") => Ok(Reply::new(200, json!({"id": 1, "archived": false, "issues_access_level": "enabled"}))),
            ("GET", "/issues") => self.list(request),
            ("POST", "/issues") => self.create(&request.json()),
            (_, rest) => self.about(request, rest.strip_prefix("/issues/").ok_or(format!("there is no `{rest}`"))?),
        }
    }
}

impl Kept for Gitlab {
    fn issues(&self) -> Vec<Issue> {
        lock(&self.issues).clone()
    }

    fn close_by_hand(&self, at: usize) {
        lock(&self.issues)[at].is_open = false;
    }

    fn settings(url: &str, folder: &tempfile::TempDir) -> Value {
        let (token, url) = (secret(folder, "token", TOKEN), format!("{url}/api/v4"));
        json!([{"name": "tickets", "gitlab": {"project": "shop/web", "token_file": token, "api_url": url, "labels": ["sre"]}}])
    }
}

async fn bed() -> Bed<Gitlab> {
    Bed::set(Gitlab::default()).await
}

#[tokio::test]
async fn one_issue_an_incident_updated_and_closed_with_it() {
    tracker::one_issue_an_incident_updated_and_closed_with_it(bed().await).await;
}

#[tokio::test]
async fn an_issue_is_found_again_after_a_restart() {
    tracker::an_issue_is_found_again_after_a_restart(bed().await).await;
}

#[tokio::test]
async fn a_lost_answer_opens_no_second_issue() {
    tracker::a_lost_answer_opens_no_second_issue(bed().await).await;
}

#[tokio::test]
async fn a_ticket_that_nobody_took_is_written_later() {
    tracker::a_ticket_that_nobody_took_is_written_later(bed().await).await;
}

#[tokio::test]
async fn an_issue_that_lists_many_is_closed_with_the_last() {
    tracker::an_issue_that_lists_many_is_closed_with_the_last(bed().await).await;
}

#[tokio::test]
async fn whatever_a_ticket_says_it_fits_and_does_nothing() {
    tracker::whatever_a_ticket_says_it_fits_and_does_nothing(bed().await).await;
}

#[tokio::test]
async fn it_can_be_asked_without_writing() {
    let bed = bed().await;
    let probe = async || bed.world.set.probe().await.remove(0).1;
    assert!(matches!(probe().await, Probe::Usable(_)));
    bed.server.fail([Fault::Answer(Reply::new(200, json!({"archived": true})))]);
    assert!(matches!(probe().await, Probe::Unusable(why) if why.contains("archived")));
    bed.server.fail([Fault::status(401)]);
    assert!(matches!(probe().await, Probe::Unusable(why) if why.contains("401") && !why.contains(TOKEN)));
    assert!(bed.server.requests().iter().all(|request| request.method == Method::GET));
}

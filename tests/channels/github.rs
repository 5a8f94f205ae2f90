//! GitHub. The rules: "REST API endpoints for issues", "… for issue comments", "Getting started with the REST API", "Best practices
//! for using the REST API" and "Rate limits for the REST API" (docs.github.com/rest).

use std::sync::Mutex;

use axum::http::Method;
use backout::notify::Probe;
use backout::ports::Clock;
use serde_json::{Value, json};

use crate::server::{Fault, Reply, Request, Rules, Server, lock, rule};
use crate::tracker::{self, Bed, Issue, Kept, inert};
use crate::world::{secret, ticket};

const TOKEN: &str = "github_pat_secret";
const REPOSITORY: &str = "/repos/shop/web";

/// A repository.
pub(crate) struct Github {
    issues: Mutex<Vec<Issue>>,
    /// Whether the token has push access: without it labels are silently dropped.
    push: bool,
}

impl Default for Github {
    fn default() -> Self {
        Self { issues: Mutex::default(), push: true }
    }
}

impl Github {
    fn show(number: usize, issue: &Issue) -> Value {
        let labels: Vec<Value> = issue.labels.iter().map(|label| json!({"id": 1, "name": label})).collect();
        let state = if issue.is_open { "open" } else { "closed" };
        json!({"number": number, "title": issue.title, "body": issue.body, "state": state, "labels": labels})
    }

    fn list(&self, request: &Request) -> Result<Reply, String> {
        let number = |name: &str, default| if request.query(name).is_empty() { Ok(default) } else { request.query(name).parse() };
        let per_page: usize = number("per_page", 30).map_err(|_| "per_page is a number")?;
        let page: usize = number("page", 1).map_err(|_| "page is a number")?;
        rule((1..=100).contains(&per_page), "per_page is at most 100")?;
        rule(["open", "closed", "all"].contains(&request.query("state")), "state is one of three")?;
        rule(request.query("sort") == "created" && request.query("direction") == "desc", "we look at the newest")?;
        let issues = lock(&self.issues);
        let labelled = |issue: &&(usize, &Issue)| issue.1.labels.iter().any(|label| label == request.query("labels"));
        let numbered = issues.iter().enumerate().map(|(at, issue)| (at + 1, issue));
        let mut found: Vec<_> =
            numbered.filter(|issue| labelled(&issue)).map(|(number, issue)| Self::show(number, issue)).collect();
        found.reverse();
        // The list has pull requests, too, with whatever body.
        let mut shown: Vec<Value> = found.into_iter().skip((page - 1) * per_page).take(per_page).collect();
        shown.insert(0, json!({"number": 99, "body": Value::Null, "labels": [], "pull_request": {"url": "x"}}));
        Ok(Reply::new(200, Value::from(shown)))
    }

    fn create(&self, body: &Value) -> Result<Reply, String> {
        let title = text(body, "title")?;
        rule((1..=256).contains(&title.chars().count()), "title is required, at most 256 characters")?;
        content(&text(body, "body")?)?;
        let labels = body["labels"].as_array().ok_or("labels is an array")?;
        let labels = labels.iter().map(|label| label.as_str().map(str::to_owned).ok_or("labels are texts"));
        let mut labels = labels.collect::<Result<Vec<_>, _>>()?;
        if !self.push {
            labels.clear();
        }
        let issue = Issue { title, body: text(body, "body")?, labels, is_open: true, comments: Vec::new() };
        let mut issues = lock(&self.issues);
        issues.push(issue.clone());
        Ok(Reply::new(201, Self::show(issues.len(), &issue)))
    }

    fn about(&self, request: &Request, rest: &str) -> Result<Reply, String> {
        let (number, comments) = rest.split_once('/').map_or((rest, false), |(number, rest)| (number, rest == "comments"));
        let number: usize = number.parse().map_err(|_| format!("there is no `{rest}`"))?;
        let mut issues = lock(&self.issues);
        let Some(issue) = issues.get_mut(number - 1) else { return Ok(Reply::new(404, json!({"message": "Not Found"}))) };
        let body = request.json();
        match (request.method.as_str(), comments) {
            ("GET", false) => {}
            ("POST", true) => {
                content(&text(&body, "body")?)?;
                issue.comments.push(text(&body, "body")?);
                return Ok(Reply::new(201, json!({"id": 1})));
            }
            ("PATCH", false) => {
                content(&text(&body, "body")?)?;
                issue.body = text(&body, "body")?;
                if let Some(state) = body["state"].as_str() {
                    rule(["open", "closed"].contains(&state), "state is open or closed")?;
                    let reason = body["state_reason"].as_str();
                    rule(
                        reason.is_none_or(|reason| ["completed", "not_planned", "reopened"].contains(&reason)),
                        "a known reason",
                    )?;
                    issue.is_open = state == "open";
                }
            }
            (method, _) => return Err(format!("no {method} here")),
        }
        Ok(Reply::new(200, Self::show(number, issue)))
    }
}

fn text(body: &Value, name: &str) -> Result<String, String> {
    body[name].as_str().map(str::to_owned).ok_or(format!("{name} is a text"))
}

fn content(body: &str) -> Result<(), String> {
    rule(!body.is_empty(), "Body can't be blank")?;
    rule(body.chars().count() <= 65_536, "body is too long (maximum is 65536 characters)")?;
    inert(body)
}

impl Rules for Github {
    fn answer(&self, request: &Request) -> Result<Reply, String> {
        rule(request.header("authorization") == format!("Bearer {TOKEN}"), "Bad credentials")?;
        rule(!request.header("user-agent").is_empty(), "a User-Agent is required")?;
        rule(request.headers.get_all("accept").iter().count() == 1, "one Accept")?;
        rule(request.header("accept") == "application/vnd.github+json", "the recommended Accept")?;
        rule(request.header("x-github-api-version") == "2022-11-28", "a version of the API")?;
        let rest = request.path.strip_prefix(REPOSITORY).ok_or(format!("there is no `{}`", request.path))?;
        match (request.method.as_str(), rest) {
            ("GET", "") => {
                Ok(Reply::new(200, json!({"has_issues": true, "archived": false, "permissions": {"push": self.push}})))
            }
            ("GET", "/issues") => self.list(request),
            ("POST", "/issues") => self.create(&request.json()),
            (_, rest) => self.about(request, rest.strip_prefix("/issues/").ok_or(format!("there is no `{rest}`"))?),
        }
    }

    fn refusal(&self, why: &str) -> Reply {
        Reply::new(422, json!({"message": "Validation Failed", "errors": [why]}))
    }
}

impl Kept for Github {
    fn issues(&self) -> Vec<Issue> {
        lock(&self.issues).clone()
    }

    fn close_by_hand(&self, at: usize) {
        lock(&self.issues)[at].is_open = false;
    }

    fn settings(url: &str, folder: &tempfile::TempDir) -> Value {
        let token = secret(folder, "token", TOKEN);
        json!([{"name": "tickets", "github": {"repository": "shop/web", "token_file": token, "api_url": url, "labels": ["sre"]}}])
    }
}

/// For stories that stand elsewhere.
pub(crate) async fn server() -> (Server<Github>, tempfile::TempDir) {
    (Server::start(Github::default()).await, tempfile::tempdir().expect("a folder"))
}

pub(crate) fn settings(url: &str, folder: &tempfile::TempDir) -> Value {
    Github::settings(url, folder)
}

pub(crate) fn issues(server: &Server<Github>) -> Vec<Issue> {
    server.rules.issues()
}

async fn bed() -> Bed<Github> {
    Bed::set(Github::default()).await
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
async fn the_primary_limit_is_waited_for_by_githubs_own_clock() {
    let bed = bed().await;
    let headers = vec![
        ("date", "Fri, 15 Jan 2027 08:00:00 GMT".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", "1800000020".to_owned()),
    ];
    bed.server.fail([Fault::Answer(Reply { headers, ..Reply::new(403, json!({"message": "API rate limit exceeded"})) })]);
    let started = bed.world.clock.now();
    bed.world.delivered(ticket("i1", 1)).await;
    let waited = bed.world.clock.now().since(started).as_secs();
    assert!(waited >= 20, "{waited} s");
    assert_eq!(bed.server.requests().len(), 3, "refused, listed, created: nothing in between");
}

#[tokio::test]
async fn a_secondary_limit_is_a_minute_of_silence() {
    let bed = bed().await;
    let message = json!({"message": "You have exceeded a secondary rate limit. Please wait a few minutes"});
    bed.server.fail([Fault::Answer(Reply::new(403, message))]);
    let delivery = bed.world.deliver(ticket("i1", 1)).await;
    assert!(delivery.failed[0].1.contains("answered 403"), "{delivery:?}");
    assert_eq!(bed.server.requests().len(), 1);
}

#[tokio::test]
async fn what_the_token_may_not_do_is_said_at_once() {
    let bed = bed().await;
    let message = json!({"message": "Resource not accessible by personal access token"});
    bed.server.fail([Fault::Answer(Reply::new(403, message))]);
    let delivery = bed.world.deliver(ticket("i1", 1)).await;
    assert!(delivery.failed[0].1.contains("Resource not accessible"), "{delivery:?}");
}

#[tokio::test]
async fn it_can_be_asked_without_writing() {
    let bed = bed().await;
    let probe = async || bed.world.set.probe().await.remove(0).1;
    assert!(matches!(probe().await, Probe::Usable(why) if why.contains("may label issues")));
    bed.server.fail([Fault::Answer(Reply::new(200, json!({"has_issues": false})))]);
    assert!(matches!(probe().await, Probe::Unusable(why) if why.contains("switched off")));
    bed.server.fail([Fault::status(404)]);
    assert!(matches!(probe().await, Probe::Unusable(why) if why.contains("404")));
    assert!(bed.server.requests().iter().all(|request| request.method == Method::GET));
    let weak = Bed::set(Github { push: false, ..Github::default() }).await;
    assert!(matches!(weak.world.set.probe().await.remove(0).1, Probe::Usable(why) if why.contains("cannot label")));
}

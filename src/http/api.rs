//! `/api/v1/`: what people ask and say through the command line. Must not know what an incident is: it checks the form of what
//! comes in and hands it to the engine's port.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Shared;
use super::auth::Scope;
use super::body::{self, BodyRules};
use super::error::ApiError;
use crate::model::{Brake, IncidentId, Operation, PauseScope, PlanHash, TargetRef, Time};
use crate::policy::{duration, problem::nearest};
use crate::ports::{IncidentFilter, Question, ReportFormat};

/// The greatest body of a request.
const BODY_LIMIT_BYTES: usize = 64 << 10;

/// The most incidents in one answer.
const INCIDENTS_LIMIT: usize = 1000;

/// What people write is shown to people: long enough for a reason, too short for a flood.
const TEXT_LIMIT_BYTES: usize = 2000;

type Answer = Result<Response, ApiError>;
type App = State<Arc<Shared>>;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/incidents", get(incidents))
        .route("/incidents/{id}", get(incident))
        .route("/incidents/{id}/report", get(report))
        .route("/incidents/{id}/veto", post(veto))
        .route("/incidents/{id}/approve", post(approve))
        .route("/incidents/{id}/acknowledge", post(acknowledge))
        .route("/pauses", get(pauses).post(pause))
        .route("/pauses/{id}", delete(resume))
        .route("/policies", get(policies))
        .route("/status", get(status))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path is not asked in this way")
        })
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "not_found", "no such path in the api"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IncidentsQuery {
    #[serde(default)]
    state: IncidentFilter,
    limit: Option<usize>,
}

async fn incidents(State(shared): App, headers: HeaderMap, query: Result<Query<IncidentsQuery>, QueryRejection>) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    let IncidentsQuery { state, limit } = asked(query)?;
    let limit = limit.unwrap_or(100);
    if !(1..=INCIDENTS_LIMIT).contains(&limit) {
        return Err(ApiError::invalid(format!("`limit` is `{limit}`; expected 1 to {INCIDENTS_LIMIT}")));
    }
    ask(&shared, Question::Incidents { state, limit }).await
}

async fn incident(State(shared): App, headers: HeaderMap, id: Result<Path<String>, PathRejection>) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    ask(&shared, Question::Incident(incident_id(id)?)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportQuery {
    #[serde(default)]
    format: ReportFormat,
}

async fn report(
    State(shared): App,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<ReportQuery>, QueryRejection>,
) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    let ReportQuery { format } = asked(query)?;
    let question = Question::Report { incident: incident_id(id)?, format };
    match (format, shared.control.query(question).await?) {
        (ReportFormat::Markdown, Value::String(text)) => {
            Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response())
        }
        (_, value) => Ok(json(&value)),
    }
}

async fn pauses(State(shared): App, headers: HeaderMap) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    ask(&shared, Question::Pauses).await
}

async fn policies(State(shared): App, headers: HeaderMap) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    ask(&shared, Question::Policies).await
}

async fn status(State(shared): App, headers: HeaderMap) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    ask(&shared, Question::Status).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Veto {
    by: String,
    reason: String,
}

async fn veto(State(shared): App, headers: HeaderMap, id: Result<Path<String>, PathRejection>, body: Body) -> Answer {
    shared.tokens.allow(Scope::Operate, &headers)?;
    let Veto { by, reason } = said(&shared, &headers, body).await?;
    let operation = Operation::Veto { incident: incident_id(id)?, by: text("by", by)?, reason: text("reason", reason)? };
    operate(&shared, operation).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    by: String,
    plan_hash: String,
    #[serde(default)]
    overrides: Vec<String>,
}

async fn approve(State(shared): App, headers: HeaderMap, id: Result<Path<String>, PathRejection>, body: Body) -> Answer {
    shared.tokens.allow(Scope::Operate, &headers)?;
    let Approve { by, plan_hash, overrides } = said(&shared, &headers, body).await?;
    for name in &overrides {
        known_brake(name)?;
    }
    if plan_hash.len() != 16 || !plan_hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::invalid(
            "`plan_hash` is not the hash of a plan; expected 16 hex digits, as the incident shows them",
        ));
    }
    let plan = PlanHash(plan_hash.to_ascii_lowercase());
    operate(&shared, Operation::Approve { incident: incident_id(id)?, plan, by: text("by", by)?, overrides }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledge {
    by: String,
}

async fn acknowledge(State(shared): App, headers: HeaderMap, id: Result<Path<String>, PathRejection>, body: Body) -> Answer {
    shared.tokens.allow(Scope::Operate, &headers)?;
    let Acknowledge { by } = said(&shared, &headers, body).await?;
    operate(&shared, Operation::Acknowledge { incident: incident_id(id)?, by: text("by", by)? }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    scope: PauseKind,
    name: Option<String>,
    reason: String,
    by: String,
    #[serde(rename = "for")]
    span: Option<String>,
    until: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PauseKind {
    Global,
    Namespace,
    Target,
    Policy,
}

async fn pause(State(shared): App, headers: HeaderMap, body: Body) -> Answer {
    shared.tokens.allow(Scope::Operate, &headers)?;
    let pause: Pause = said(&shared, &headers, body).await?;
    let now = shared.clock.now();
    let until = match (&pause.span, &pause.until) {
        (Some(span), None) => now + duration::parse(span).map_err(|problem| ApiError::invalid(format!("`for`: {problem}")))?,
        (None, Some(until)) => Time::parse(until)
            .ok_or_else(|| ApiError::invalid(format!("`until` is `{until}`; expected a time like `2026-03-01T12:00:00Z`")))?,
        _ => return Err(ApiError::invalid("a pause ends: expected either `for`, like `2h`, or `until`, a time")),
    };
    if until <= now {
        return Err(ApiError::invalid("the pause would be over already; expected an end that is to come"));
    }
    let scope = pause_scope(pause.scope, pause.name)?;
    operate(&shared, Operation::Pause { scope, reason: text("reason", pause.reason)?, by: text("by", pause.by)?, until }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeQuery {
    by: String,
}

async fn resume(
    State(shared): App,
    headers: HeaderMap,
    id: Result<Path<u64>, PathRejection>,
    query: Result<Query<ResumeQuery>, QueryRejection>,
) -> Answer {
    shared.tokens.allow(Scope::Operate, &headers)?;
    let ResumeQuery { by } = asked(query)?;
    let Ok(Path(pause)) = id else {
        return Err(ApiError::invalid("the pause is not named by a number; `backout pauses` shows them"));
    };
    operate(&shared, Operation::Resume { pause, by: text("by", by)? }).await
}

async fn ask(shared: &Shared, question: Question) -> Answer {
    Ok(json(&shared.control.query(question).await?))
}

async fn operate(shared: &Shared, operation: Operation) -> Answer {
    Ok(json(&shared.control.operate(operation).await?))
}

fn json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|rejection| ApiError::invalid(rejection.body_text()))
}

/// Reads the body of an operation. It must say that it is JSON: a page in somebody's browser cannot, without being asked first.
async fn said<T: DeserializeOwned>(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<T, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "expected `Content-Type: application/json`",
        ));
    }
    let rules = BodyRules { limit: BODY_LIMIT_BYTES, deadline: shared.body_deadline, budget: None };
    let (bytes, _) = body::read(body, rules).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid(error.to_string()))
}

fn incident_id(id: Result<Path<String>, PathRejection>) -> Result<IncidentId, ApiError> {
    let well_formed =
        |id: &str| id.len() == 13 && id.starts_with('i') && id[1..].bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match id {
        Ok(Path(id)) if well_formed(&id) => Ok(IncidentId(id)),
        _ => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no such incident; expected `i` and 12 hex digits, as `backout incidents` shows them",
        )),
    }
}

/// A text that a person wrote: some, not too much, and nothing that moves a terminal's cursor.
fn text(name: &str, text: String) -> Result<String, ApiError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ApiError::invalid(format!("`{name}` is empty; expected a few words")));
    }
    if text.len() > TEXT_LIMIT_BYTES {
        return Err(ApiError::invalid(format!("`{name}` has {} bytes; expected {TEXT_LIMIT_BYTES} at most", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!("`{name}` has control characters; expected one line of text")));
    }
    Ok(text.to_owned())
}

fn known_brake(name: &str) -> Result<(), ApiError> {
    if Brake::ALL.iter().any(|brake| brake.as_str() == name) {
        return Ok(());
    }
    let hint = nearest(name, Brake::ALL.iter().map(|brake| brake.as_str()));
    let hint = hint.map_or_else(|| "expected the name of a brake".to_owned(), |near| format!("did you mean `{near}`?"));
    Err(ApiError::invalid(format!("there is no brake `{name}` to override; {hint}")))
}

fn pause_scope(kind: PauseKind, name: Option<String>) -> Result<PauseScope, ApiError> {
    let named = |name: Option<String>, what: &str| {
        name.ok_or_else(|| ApiError::invalid(format!("expected `name`, the name of the {what} to pause")))
            .and_then(|name| text("name", name))
    };
    match (kind, name) {
        (PauseKind::Global, None) => Ok(PauseScope::Global),
        (PauseKind::Global, Some(_)) => Err(ApiError::invalid("a global pause has no `name`; leave it out")),
        (PauseKind::Namespace, name) => named(name, "namespace").map(PauseScope::Namespace),
        (PauseKind::Policy, name) => named(name, "policy").map(PauseScope::Policy),
        (PauseKind::Target, name) => {
            let name = named(name, "target")?;
            match name.split_once('/').map(|(namespace, name)| TargetRef::deployment(namespace, name)) {
                Some(Ok(_)) => Ok(PauseScope::Target(name)),
                _ => Err(ApiError::invalid(format!("`{name}` is not a target; expected `namespace/name`"))),
            }
        }
    }
}

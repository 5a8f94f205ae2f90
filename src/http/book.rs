//! `/api/v1/book`, `bad`, `revisions`: what the service remembers, for who judges or asks outside of it. Reads only.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::routing::get;
use serde::Deserialize;

use super::Shared;
use super::api::{Answer, App, ask, asked};
use super::auth::Scope;
use super::error::ApiError;
use crate::model::TargetRef;
use crate::ports::{Question, Recall};

/// Targets in one question: an alert's, with room.
const MOST_TARGETS: usize = 50;
/// No image name or digest is longer.
const MOST_NAME_BYTES: usize = 1000;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/book", get(book)).route("/bad", get(bad)).route("/revisions", get(revisions))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetsQuery {
    /// `namespace/name`, with commas.
    #[serde(default)]
    target: String,
}

/// `GET /api/v1/book?target=shop/web,shop/cart`
async fn book(State(shared): App, headers: HeaderMap, query: Result<Query<TargetsQuery>, QueryRejection>) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    let TargetsQuery { target } = asked(query)?;
    let targets: Vec<TargetRef> = target.split(',').filter(|name| !name.is_empty()).map(named).collect::<Result<_, _>>()?;
    if targets.len() > MOST_TARGETS {
        return Err(ApiError::invalid(format!("`target` names {}; expected {MOST_TARGETS} at most", targets.len())));
    }
    ask(&shared, Question::Recall(Recall::Book(targets))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BadQuery {
    what: String,
}

/// `GET /api/v1/bad?what=registry/shop:1.2`
async fn bad(State(shared): App, headers: HeaderMap, query: Result<Query<BadQuery>, QueryRejection>) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    let BadQuery { what } = asked(query)?;
    if what.is_empty() || what.len() > MOST_NAME_BYTES || what.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ApiError::invalid("`what` is no image and no digest; expected `registry/name:tag` or `sha256:…`"));
    }
    ask(&shared, Question::Recall(Recall::Bad(what))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetQuery {
    target: String,
}

/// `GET /api/v1/revisions?target=shop/web`
async fn revisions(State(shared): App, headers: HeaderMap, query: Result<Query<TargetQuery>, QueryRejection>) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    let TargetQuery { target } = asked(query)?;
    ask(&shared, Question::Recall(Recall::Revisions(named(&target)?))).await
}

/// `namespace/name`, or as reports write it, `deployment/namespace/name`.
fn named(text: &str) -> Result<TargetRef, ApiError> {
    let name = text.strip_prefix("deployment/").unwrap_or(text);
    let target = name.split_once('/').map(|(namespace, name)| TargetRef::deployment(namespace, name));
    target.and_then(Result::ok).ok_or_else(|| ApiError::invalid(format!("`{text}` is not a target; expected `namespace/name`")))
}

//! `/-/log-level`: what is logged, looked at and changed while the service runs. It does not outlive the process.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::api::Answer;
use super::api::said::{self, Words};
use super::auth::{Operator, Reader};
use super::error::ApiError;
use crate::ports::LogLevel;

/// `GET /-/log-level`
pub(super) async fn show(_: Reader, State(shared): State<Arc<Shared>>) -> Answer {
    Ok(level(changeable(&shared)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    level: Words,
    by: Words,
}

/// `PUT /-/log-level`
pub(super) async fn change(
    Operator(identity): Operator,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let Change { level: wanted, by } = said::body(&shared, &headers, body).await?;
    let (wanted, by) = (said::text("level", &wanted)?, said::text("by", &by)?);
    let identity = identity.as_ref().map(ToString::to_string);
    let levels = changeable(&shared)?;
    let before = levels.get();
    // Before and after: one of the two filters may swallow it.
    tracing::warn!(before, wanted, by, identity, "an operator changes the log level");
    levels.set(&wanted).map_err(|why| ApiError::invalid(format!("`level`: {why}")))?;
    tracing::warn!(before, after = levels.get(), by, identity, "log level changed by an operator");
    Ok(level(levels))
}

fn changeable(shared: &Shared) -> Result<&Arc<dyn LogLevel>, ApiError> {
    let fixed = || ApiError::new(StatusCode::NOT_FOUND, "not_found", "what this process logs cannot be changed while it runs");
    shared.log_level.as_ref().ok_or_else(fixed)
}

fn level(levels: &Arc<dyn LogLevel>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json!({ "level": levels.get() }).to_string()).into_response()
}

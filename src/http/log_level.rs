//! `/-/log-level`: what is logged, looked at and changed while the service runs. It does not outlive the process.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::api::{Answer, said, text};
use super::auth::Scope;
use super::error::ApiError;
use crate::ports::LogLevel;

/// `GET /-/log-level`
pub(super) async fn show(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Answer {
    shared.tokens.allow(Scope::Read, &headers)?;
    Ok(level(changeable(&shared)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    level: String,
    by: String,
}

/// `PUT /-/log-level`
pub(super) async fn change(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Answer {
    shared.tokens.allow(Scope::Operate, &headers)?;
    let Change { level: wanted, by } = said(&shared, &headers, body).await?;
    let (wanted, by) = (text("level", wanted)?, text("by", by)?);
    let levels = changeable(&shared)?;
    let before = levels.get();
    // Before and after: one of the two filters may swallow it.
    tracing::warn!(before, wanted, by, "an operator changes the log level");
    levels.set(&wanted).map_err(|why| ApiError::invalid(format!("`level`: {why}")))?;
    tracing::warn!(before, after = levels.get(), by, "log level changed by an operator");
    Ok(level(levels))
}

fn changeable(shared: &Shared) -> Result<&Arc<dyn LogLevel>, ApiError> {
    let fixed = || ApiError::new(StatusCode::NOT_FOUND, "not_found", "what this process logs cannot be changed while it runs");
    shared.log_level.as_ref().ok_or_else(fixed)
}

fn level(levels: &Arc<dyn LogLevel>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json!({ "level": levels.get() }).to_string()).into_response()
}

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
use crate::model::{Operation, Order};
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
    let known_by = identity.as_ref().map(ToString::to_string);
    let levels = changeable(&shared)?;
    let before = levels.get();
    // Before and after: one of the two filters may swallow it.
    tracing::warn!(before, wanted, by, identity = known_by, "an operator changes the log level");
    levels.set(&wanted).map_err(|why| ApiError::invalid(format!("`level`: {why}")))?;
    let after = levels.get();
    tracing::warn!(before, after, by, identity = known_by, "log level changed by an operator");
    // Done first: where the journal takes nothing, more of the log is just what is wanted.
    let operation = Operation::LogLevel { level: after, by };
    if let Err(error) = shared.control.operate(Order { identity, operation }).await {
        tracing::error!(%error, "the change of the log level is not in the journal");
    }
    Ok(level(levels))
}

fn changeable(shared: &Shared) -> Result<&Arc<dyn LogLevel>, ApiError> {
    let fixed = || ApiError::new(StatusCode::NOT_FOUND, "not_found", "what this process logs cannot be changed while it runs");
    shared.log_level.as_ref().ok_or_else(fixed)
}

fn level(levels: &Arc<dyn LogLevel>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json!({ "level": levels.get() }).to_string()).into_response()
}

//! For the machines around us: metrics, probes, reload.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::auth::Operator;
use crate::metrics::CONTENT_TYPE;
use crate::ports::ControlError;

/// `GET /metrics`
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.metrics.inbox_depth.set(i64::try_from(shared.webhook.depth()).unwrap_or(i64::MAX));
    if let Some(before) = &shared.before_scrape {
        before(&shared.metrics);
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], shared.metrics.render()).into_response()
}

/// `GET /-/healthy`: the process answers.
pub(super) async fn healthy() -> &'static str {
    "healthy\n"
}

/// `GET /-/ready`: the journal is replayed, the cluster's cache is filled.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.control.ready() {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

/// `POST /-/reload`: reads the policies again.
pub(super) async fn reload(_: Operator, State(shared): State<Arc<Shared>>) -> Response {
    match shared.control.reload().await {
        Ok(text) => (StatusCode::OK, format!("{}\n", text.trim_end())).into_response(),
        Err(error @ (ControlError::Invalid(_) | ControlError::Conflict(_) | ControlError::NotFound(_))) => {
            (StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")).into_response()
        }
        Err(error @ ControlError::Unavailable(_)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

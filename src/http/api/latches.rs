//! Latches: listing them, and saying that the data was looked at.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use super::said::Words;
use super::{Answer, App, ask, operate, said};
use crate::http::auth::{Operator, Reader};
use crate::http::error::ApiError;
use crate::model::Operation;
use crate::ports::Question;
use crate::ports::answer::{LatchCleared, LatchList};

/// Lists the latches that hold, and those that were cleared and are remembered.
#[utoipa::path(get, path = "/latches", tag = "latches", responses((status = 200, body = LatchList)))]
pub(super) async fn list(_: Reader, State(shared): App) -> Answer {
    ask(&shared, Question::Latches).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Clearing {
    /// Who.
    by: Words,
    /// What was found, and why going back is safe again; it stands in the journal.
    reason: Words,
}

/// Says that somebody looked at the data: what the latch covers may be rolled back again.
#[utoipa::path(
    post, path = "/latches/{id}/clear", tag = "latches", request_body = Clearing,
    params(("id" = u64, Path, description = "The latch's number.")),
    responses((status = 200, body = LatchCleared))
)]
pub(super) async fn clear(
    Operator(identity): Operator,
    State(shared): App,
    id: Result<Path<u64>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let Clearing { by, reason } = said::body(&shared, &headers, body).await?;
    let Ok(Path(latch)) = id else {
        return Err(ApiError::invalid("the latch is not named by a number; `backout latches` shows them"));
    };
    let (by, reason) = (said::text("by", &by)?, said::text("reason", &reason)?);
    operate(&shared, identity, Operation::Clear { latch, by, reason }).await
}

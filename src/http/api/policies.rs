//! The policies in use, and trusting one again.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use super::said::Words;
use super::{Answer, App, ask, operate, said};
use crate::http::auth::{Operator, Reader};
use crate::http::error::Problem;
use crate::model::Operation;
use crate::ports::Question;
use crate::ports::answer::{PolicyList, PolicyRearmed};

/// Lists the policies in use.
#[utoipa::path(get, path = "/policies", tag = "policies", responses((status = 200, body = PolicyList)))]
pub(super) async fn list(_: Reader, State(shared): App) -> Answer {
    ask(&shared, Question::Policies).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rearming {
    /// Which policy.
    policy: Words,
    /// Who.
    by: Words,
    /// Why it is trusted again; it stands in the journal.
    reason: Words,
}

/// Trusts a policy again whose rollbacks were marked wrong: it acts in its own mode from then on.
#[utoipa::path(
    post, path = "/policies/rearm", tag = "policies", request_body = Rearming,
    responses(
        (status = 200, body = PolicyRearmed),
        (status = 409, description = "It is trusted as it is.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rearm(Operator(identity): Operator, State(shared): App, headers: HeaderMap, body: Body) -> Answer {
    let Rearming { policy, by, reason } = said::body(&shared, &headers, body).await?;
    let (policy, by, reason) = (said::text("policy", &policy)?, said::text("by", &by)?, said::text("reason", &reason)?);
    operate(&shared, identity, Operation::Rearm { policy, by, reason }).await
}

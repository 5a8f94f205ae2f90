//! What people say about an incident. Each answer comes when it is durable.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use super::said::Words;
use super::{Answer, App, operate, said};
use crate::http::auth::Operator;
use crate::http::error::ApiError;
use crate::model::{Brake, Operation, PlanHash};
use crate::policy::problem::nearest;
use crate::ports::answer::IncidentTold;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Veto {
    /// Who.
    by: Words,
    /// Why; it stands in the report.
    reason: Words,
}

/// Says no to whatever an incident wants to do.
#[utoipa::path(
    post, path = "/incidents/{id}/veto", tag = "incidents", request_body = Veto,
    params(("id" = String, Path, description = "The incident.", pattern = "^i[0-9a-f]{12}$")),
    responses((status = 200, body = IncidentTold))
)]
pub(super) async fn veto(
    Operator(identity): Operator,
    State(shared): App,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
    body: Body,
) -> Answer {
    let Veto { by, reason } = said::body(&shared, &headers, body).await?;
    let (by, reason) = (said::text("by", &by)?, said::text("reason", &reason)?);
    operate(&shared, identity, Operation::Veto { incident: said::incident(id)?, by, reason }).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    /// Who.
    by: Words,
    /// The hash of the plan that was read.
    #[schema(pattern = "^[0-9a-fA-F]{16}$")]
    plan_hash: String,
    /// Brakes that this approval overrides, by name. None is overridden silently.
    #[serde(default)]
    overrides: Vec<String>,
}

/// Says yes to exactly one plan.
#[utoipa::path(
    post, path = "/incidents/{id}/approve", tag = "incidents", request_body = Approve,
    params(("id" = String, Path, description = "The incident.", pattern = "^i[0-9a-f]{12}$")),
    responses((status = 200, body = IncidentTold))
)]
pub(super) async fn approve(
    Operator(identity): Operator,
    State(shared): App,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
    body: Body,
) -> Answer {
    let Approve { by, plan_hash, overrides } = said::body(&shared, &headers, body).await?;
    for name in &overrides {
        known_brake(name)?;
    }
    if plan_hash.len() != 16 || !plan_hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::invalid(
            "`plan_hash` is not the hash of a plan; expected 16 hex digits, as the incident shows them",
        ));
    }
    let plan = PlanHash(plan_hash.to_ascii_lowercase());
    let (incident, by) = (said::incident(id)?, said::text("by", &by)?);
    operate(&shared, identity, Operation::Approve { incident, plan, by, overrides }).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Acknowledge {
    /// Who.
    by: Words,
}

/// Takes an incident over: its countdown is suspended, its reminders end.
#[utoipa::path(
    post, path = "/incidents/{id}/acknowledge", tag = "incidents", request_body = Acknowledge,
    params(("id" = String, Path, description = "The incident.", pattern = "^i[0-9a-f]{12}$")),
    responses((status = 200, body = IncidentTold))
)]
pub(super) async fn acknowledge(
    Operator(identity): Operator,
    State(shared): App,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
    body: Body,
) -> Answer {
    let Acknowledge { by } = said::body(&shared, &headers, body).await?;
    let operation = Operation::Acknowledge { incident: said::incident(id)?, by: said::text("by", &by)? };
    operate(&shared, identity, operation).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Marking {
    /// Whether the rollback was right.
    mark: Mark,
    /// Who.
    by: Words,
    /// Why; it stands in the report.
    reason: Words,
}

/// What is said of a rollback.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Mark {
    Right,
    Wrong,
}

/// Says of a rollback, made or announced in shadow, that it was right or wrong. The last word counts; the incident may be over.
#[utoipa::path(
    post, path = "/incidents/{id}/mark", tag = "incidents", request_body = Marking,
    params(("id" = String, Path, description = "The incident.", pattern = "^i[0-9a-f]{12}$")),
    responses((status = 200, body = IncidentTold))
)]
pub(super) async fn mark(
    Operator(identity): Operator,
    State(shared): App,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
    body: Body,
) -> Answer {
    let Marking { mark, by, reason } = said::body(&shared, &headers, body).await?;
    let mark = match mark {
        Mark::Right => crate::model::Mark::Right,
        Mark::Wrong => crate::model::Mark::Wrong,
    };
    let (by, reason) = (said::text("by", &by)?, said::text("reason", &reason)?);
    operate(&shared, identity, Operation::Mark { incident: said::incident(id)?, mark, by, reason }).await
}

fn known_brake(name: &str) -> Result<(), ApiError> {
    if Brake::ALL.iter().any(|brake| brake.as_str() == name) {
        return Ok(());
    }
    let hint = nearest(name, Brake::ALL.iter().map(|brake| brake.as_str()));
    let hint = hint.map_or_else(|| "expected the name of a brake".to_owned(), |near| format!("did you mean `{near}`?"));
    Err(ApiError::invalid(format!("there is no brake `{name}` to override; {hint}")))
}

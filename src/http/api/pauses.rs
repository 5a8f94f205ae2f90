//! Standing down for a while, and going on.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::said::{TargetName, Words};
use super::{Answer, App, ask, operate, said};
use crate::http::auth::{Operator, Reader};
use crate::http::error::ApiError;
use crate::model::{Operation, PauseScope};
use crate::ports::Question;
use crate::ports::answer::{PauseBegun, PauseEnded, PauseList};

/// Lists the pauses that hold.
#[utoipa::path(get, path = "/pauses", tag = "pauses", responses((status = 200, body = PauseList)))]
pub(super) async fn list(_: Reader, State(shared): App) -> Answer {
    ask(&shared, Question::Pauses).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPause)]
pub(super) struct Pause {
    /// What is paused.
    scope: PauseKind,
    /// Its name: a namespace, a target as `namespace/name`, or a policy. A global pause has none.
    name: Option<Words>,
    /// Why; it stands in every decision that the pause holds.
    reason: Words,
    /// Who.
    by: Words,
    /// For how long, like `2h` or `1d12h`. Either this or `until`: a pause ends.
    #[serde(rename = "for")]
    span: Option<String>,
    /// Until when.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// What a pause may cover.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PauseKind {
    Global,
    Namespace,
    Target,
    Policy,
}

/// Stands down for a while.
#[utoipa::path(post, path = "/pauses", tag = "pauses", request_body = Pause, responses((status = 200, body = PauseBegun)))]
pub(super) async fn begin(Operator(identity): Operator, State(shared): App, headers: HeaderMap, body: Body) -> Answer {
    let pause: Pause = said::body(&shared, &headers, body).await?;
    let now = shared.clock.now();
    let until = match (&pause.span, &pause.until) {
        (Some(span), None) => now + said::span("for", span)?,
        (None, Some(until)) => said::time("until", until)?,
        _ => return Err(ApiError::invalid("a pause ends: expected either `for`, like `2h`, or `until`, a time")),
    };
    if until <= now {
        return Err(ApiError::invalid("the pause would be over already; expected an end that is to come"));
    }
    let scope = pause_scope(pause.scope, pause.name.as_ref())?;
    let (reason, by) = (said::text("reason", &pause.reason)?, said::text("by", &pause.by)?);
    operate(&shared, identity, Operation::Pause { scope, reason, by, until }).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Resume {
    /// Who.
    #[param(inline)]
    by: Words,
}

/// Ends a pause early.
#[utoipa::path(
    delete, path = "/pauses/{id}", tag = "pauses",
    params(Resume, ("id" = u64, Path, description = "The pause's number.")),
    responses((status = 200, body = PauseEnded))
)]
pub(super) async fn end(
    Operator(identity): Operator,
    State(shared): App,
    id: Result<Path<u64>, PathRejection>,
    query: Result<Query<Resume>, QueryRejection>,
) -> Answer {
    let Resume { by } = said::query(query)?;
    let Ok(Path(pause)) = id else {
        return Err(ApiError::invalid("the pause is not named by a number; `backout pauses` shows them"));
    };
    operate(&shared, identity, Operation::Resume { pause, by: said::text("by", &by)? }).await
}

fn pause_scope(kind: PauseKind, name: Option<&Words>) -> Result<PauseScope, ApiError> {
    let named = |what: &str| {
        let name = name.ok_or_else(|| ApiError::invalid(format!("expected `name`, the name of the {what} to pause")))?;
        said::text("name", name)
    };
    match kind {
        PauseKind::Global if name.is_none() => Ok(PauseScope::Global),
        PauseKind::Global => Err(ApiError::invalid("a global pause has no `name`; leave it out")),
        PauseKind::Namespace => named("namespace").map(PauseScope::Namespace),
        PauseKind::Policy => named("policy").map(PauseScope::Policy),
        PauseKind::Target => {
            let name = named("target")?;
            said::target(&TargetName(name.clone()))?;
            Ok(PauseScope::Target(name))
        }
    }
}
